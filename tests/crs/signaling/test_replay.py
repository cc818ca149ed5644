"""What is kept of an attachment."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from crs.signaling.replay import MAX_BYTES, MAX_MESSAGES, Replay


@given(st.lists(st.binary(max_size=4), max_size=50), st.integers(0, 60), st.integers(-5, 60))
def test_what_was_not_seen_is_there(messages: list[bytes], seen: int, since: int) -> None:
    replay = Replay(1)
    for each in messages:
        replay.add(each)
    known = replay.seen(seen)
    assert known is (seen <= len(messages))
    first = seen if known else 0
    there = first <= since <= len(messages)
    assert replay.since(since) == (messages[since:] if there else None)


def test_seen_never_goes_back() -> None:
    replay = Replay(1)
    for number in range(5):
        replay.add(bytes([number]))
    assert replay.seen(4) and replay.seen(2)
    assert replay.since(3) is None and replay.since(4) == [b"\4"]


def test_the_oldest_are_given_up() -> None:
    replay = Replay(1)
    for _ in range(MAX_MESSAGES + 3):
        replay.add(b"x")
    assert replay.since(2) is None
    assert replay.since(3) == [b"x"] * MAX_MESSAGES
    replay.add(bytes(MAX_BYTES))
    assert replay.since(MAX_MESSAGES + 2) is None
    assert replay.since(MAX_MESSAGES + 3) == [bytes(MAX_BYTES)]
    replay.add(bytes(MAX_BYTES + 1))
    assert replay.since(MAX_MESSAGES + 4) is None
    assert replay.since(MAX_MESSAGES + 5) == []
