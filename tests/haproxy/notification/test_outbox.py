"""The queue of one server: order, bounds, pauses."""

from __future__ import annotations

from haproxy.notification.outbox import LONGEST, RETRY_AFTER, Outbox, Outcome

GOOD = Outcome(204)
BAD = Outcome(500, "500 Internal Server Error")


def test_one_at_a_time_in_order() -> None:
    box = Outbox(lambda: 1.0)
    assert box.due(0.0) is None
    assert box.get_timer() is None
    for body in (b"1", b"2"):
        assert box.put(body)
    assert box.due(0.0) == b"1"
    assert box.due(0.0) is None
    assert box.get_timer() is None
    assert len(box) == 2
    box.ended(GOOD, 0.0)
    assert box.due(0.0) == b"2"
    box.ended(BAD, 5.0)
    box.put(b"3")
    assert box.due(5.9) is None
    assert box.get_timer() == 6.0
    assert box.due(6.0) == b"2"
    box.ended(GOOD, 6.0)
    assert box.due(6.0) == b"3"
    assert (box.sent, box.failed, box.refused, box.dropped) == (2, 1, 0, 0)


def test_pauses_grow_up_to_a_bound_and_begin_anew() -> None:
    for random, share in ((0.0, 0.5), (1.0, 1.0)):
        box, now, pauses = Outbox(lambda random=random: random), 0.0, []  # type: ignore[misc]
        box.put(b"1")
        for _ in range(2000):
            assert box.due(now) is not None
            box.ended(BAD, now)
            due = box.get_timer()
            assert due is not None
            pauses.append(due - now)
            now = due
        assert pauses[:4] == [1.0 * share, 2.0 * share, 4.0 * share, 8.0 * share]
        assert max(pauses) == LONGEST * share
        box.due(now)
        box.ended(GOOD, now)
        box.put(b"2")
        box.due(now)
        box.ended(BAD, now)
        assert box.get_timer() == now + share


def test_the_oldest_go_when_it_is_full_but_not_the_one_under_way() -> None:
    box = Outbox(lambda: 1.0, limit=3)
    for body in (b"1", b"2", b"3"):
        assert box.put(body)
    assert box.due(0.0) == b"1"
    assert not box.put(b"4")
    assert len(box) == 3
    box.ended(GOOD, 0.0)
    delivered = []
    while (due := box.due(0.0)) is not None:
        delivered.append(due)
        box.ended(GOOD, 0.0)
    assert delivered == [b"3", b"4"]
    assert box.dropped == 1


def test_what_a_server_does_not_want_is_not_sent_again() -> None:
    box = Outbox(lambda: 1.0)
    for body in (b"1", b"2"):
        box.put(body)
    box.due(0.0)
    box.ended(Outcome(422, "422 Unprocessable Content"), 0.0)
    assert not box.failing
    assert box.due(0.0) == b"2"
    assert box.refused == 1


def test_a_server_may_ask_for_patience_within_reason() -> None:
    box = Outbox(lambda: 1.0)
    box.put(b"1")
    box.due(0.0)
    box.ended(Outcome(503, "503", retry_after=120.0), 0.0)
    assert box.get_timer() == 120.0
    box.due(120.0)
    box.ended(Outcome(503, "503", retry_after=1e9), 120.0)
    assert box.get_timer() == 120.0 + RETRY_AFTER
    box.hurry()
    assert box.due(121.0) == b"1"


def test_clear() -> None:
    box = Outbox(lambda: 1.0)
    for body in (b"1", b"2", b"3"):
        box.put(body)
    box.due(0.0)
    assert box.clear() == 2
    assert box.dropped == 2
    assert len(box) == 1
