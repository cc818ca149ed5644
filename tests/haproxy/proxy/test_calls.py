"""Which calls are up."""

from haproxy.proxy.calls import LONGEST, Calls


def test_begin_and_end() -> None:
    calls = Calls()
    calls.answered(b"a", 0.0)
    calls.answered(b"a", 1.0)
    calls.answered(b"b", 2.0)
    assert len(calls) == 2
    calls.ended(b"a")
    calls.ended(b"never")
    assert calls.count(3.0) == 1


def test_calls_that_are_too_old_to_be_true() -> None:
    calls = Calls()
    calls.answered(b"a", 0.0)
    calls.answered(b"b", 10.0)
    assert calls.count(LONGEST) == 1
    assert calls.count(LONGEST + 10.0) == 0


def test_it_is_bounded() -> None:
    calls = Calls(most=3)
    for number in range(10):
        calls.answered(b"%d" % number, 0.0)
    assert len(calls) == 3
