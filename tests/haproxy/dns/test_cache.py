"""How long answers are kept."""

import pytest

from haproxy.dns.cache import AFTER_FAILURE, LONGEST, LONGEST_NEGATIVE, STALE, Cache
from haproxy.dns.record import Answer, Question

Q = Question("a.example", "A")


@pytest.mark.parametrize(
    ("answer", "life"),
    [
        (Answer(("192.0.2.1",), 60.0), 60.0),
        (Answer(("192.0.2.1",), 0.0), 1.0),
        (Answer(("192.0.2.1",), 1e9), LONGEST),
        (Answer((), 30.0), 30.0),
        (Answer((), 1e6), LONGEST_NEGATIVE),
        (Answer(failed=True), AFTER_FAILURE),
    ],
)
def test_lifetimes(answer: Answer, life: float) -> None:
    cache = Cache()
    assert cache.get(Q, 0.0) is None
    cache.put(Q, answer, 100.0)
    assert cache.get(Q, 100.0 + life - 0.01) == answer
    assert cache.get(Q, 100.0 + life) is None


def test_an_old_answer_is_better_than_none() -> None:
    cache, good = Cache(), Answer(("192.0.2.1",), 60.0)
    cache.put(Q, good, 0.0)
    assert cache.put(Q, Answer(failed=True), 61.0) == good
    assert cache.get(Q, 61.0 + AFTER_FAILURE - 1) == good
    assert cache.get(Q, 61.0 + AFTER_FAILURE) is None
    assert cache.put(Q, Answer((), 60.0), 70.0) == Answer((), 60.0)
    cache.put(Q, good, 100.0)
    assert cache.put(Q, Answer(failed=True), 160.0 + STALE).failed


def test_it_is_bounded() -> None:
    cache = Cache(capacity=2)
    for number in range(5):
        cache.put(Question(f"{number}.example", "A"), Answer(("192.0.2.1",), 60.0), 0.0)
    assert len(cache) == 2
    assert cache.evicted == 3
    assert [question.name for question, _ in cache] == ["3.example", "4.example"]
    assert cache.flush() == 2
    assert len(cache) == 0
