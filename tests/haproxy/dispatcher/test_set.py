"""The dispatch sets (guide 1.2.1, 7.1.16 to 7.1.23)."""

from collections.abc import Iterable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from haproxy.dispatcher.destination import Destination, Rules, State
from haproxy.dispatcher.set import DestinationChanged, DestinationRefused, Dispatcher, PrimaryChanged

EAGER = Rules(up=1)
"""One sign of life is enough."""


def member(dispatcher: Dispatcher, user: str, now: float = 0.0) -> Destination:
    found = dispatcher.registered(user.encode(), f"sip:{user}@host".encode(), None, now)
    assert found is not None
    return found


def both(**settings: Any) -> tuple[Dispatcher, Destination, Destination]:
    dispatcher = Dispatcher(**{"rules": EAGER, **settings})
    return dispatcher, member(dispatcher, "genesis_a"), member(dispatcher, "genesis_b")


def moves(dispatcher: Dispatcher) -> list[tuple[int, int]]:
    events = iter(dispatcher.next_event, None)
    return [(event.previous, event.current) for event in events if isinstance(event, PrimaryChanged)]


def users(destinations: Iterable[Destination]) -> list[str]:
    return [destination.user.decode() for destination in destinations]


@pytest.mark.parametrize(
    ("user", "number"), [(b"genesis", 1), (b"genesis_c", 1), (b"genesis_b-1", 0), (b"5000", None)]
)
def test_the_guides_example_of_prefixes(user: bytes, number: int | None) -> None:
    dispatcher = Dispatcher(primary_user=b"genesis", secondary_user=b"genesis_b")
    assert dispatcher.set_of(user) == number


def test_round_robin_and_the_other_set_behind() -> None:
    dispatcher, _, _ = both()
    member(dispatcher, "genesis_a2")
    assert users(dispatcher.candidates(0.0)) == ["genesis_a", "genesis_a2", "genesis_b"]
    assert users(dispatcher.candidates(0.0)) == ["genesis_a2", "genesis_a", "genesis_b"]


def test_one_of_several_fails() -> None:
    dispatcher, first, _ = both()
    member(dispatcher, "genesis_a2")
    dispatcher.failed(first, "gone", 1.0)
    assert users(dispatcher.candidates(1.0)) == ["genesis_a2", "genesis_b"]
    assert moves(dispatcher) == []


@pytest.mark.parametrize(("persistent", "primary"), [(True, 0), (False, 1)])
def test_recovery(persistent: bool, primary: int) -> None:
    dispatcher, first, _ = both(persistent=persistent)
    dispatcher.failed(first, "gone", 1.0)
    assert dispatcher.primary == 0
    dispatcher.answered(first, 2.0)
    assert dispatcher.primary == primary


def test_persistent_until_the_other_fails() -> None:
    dispatcher, first, second = both()
    dispatcher.failed(first, "gone", 1.0)
    dispatcher.answered(first, 2.0)
    dispatcher.failed(second, "gone", 3.0)
    assert moves(dispatcher) == [(1, 0), (0, 1)]


def test_all_fail_and_the_backup_returns_first() -> None:
    dispatcher, first, second = both()
    dispatcher.failed(second, "gone", 1.0)
    dispatcher.failed(first, "gone", 1.0)
    assert dispatcher.candidates(1.0) == ()
    dispatcher.answered(second, 2.0)
    assert dispatcher.primary == 0


def test_who_registers_first_at_start_is_no_failover() -> None:
    dispatcher = Dispatcher()
    member(dispatcher, "genesis_b")
    assert dispatcher.primary == 0
    member(dispatcher, "genesis_a")
    assert dispatcher.primary == 1


def test_one_lost_probe_is_only_a_doubt() -> None:
    dispatcher, first, _ = both()
    dispatcher.failed(first, "lost", 1.0, certain=False)
    assert (first.state.value, dispatcher.primary) == ("probing", 1)
    dispatcher.failed(first, "lost", 2.0, certain=False)
    assert (first.state.value, dispatcher.primary) == ("inactive", 0)


@pytest.mark.parametrize("call", [True, False])
def test_silence_says_nothing_while_we_lose_what_is_sent_to_us(call: bool) -> None:
    dispatcher, first, _ = both()
    lost = 10.0
    dispatcher.deaf = lambda since: since <= lost

    def silence(asked: float) -> str:
        if call:
            dispatcher.silent(first, "silent", asked + 4.0, asked)
        else:
            dispatcher.failed(first, "silent", asked + 4.0, certain=False, since=asked, kind="OPTIONS")
        return first.state.value

    assert silence(9.0) == "active"
    assert first.history[-1].outcome == "silent; but we have lost datagrams meanwhile, its answer maybe"
    dispatcher.heard(first, 14.0)
    assert silence(14.0) == ("inactive" if call else "probing")


def test_one_that_is_dead_is_found_although_we_go_on_losing_datagrams() -> None:
    dispatcher, first, _ = both()
    dispatcher.deaf = lambda since: True
    for asked in (10.0, 20.0, 30.0):
        dispatcher.silent(first, "silent", asked + 4.0, asked)
        assert first.state.value == "active"
    dispatcher.silent(first, "silent", 44.0, 40.0)
    assert first.state.value == "inactive"


def test_what_the_network_says_counts_although_we_lose_datagrams() -> None:
    dispatcher, first, _ = both()
    dispatcher.deaf = lambda since: True
    dispatcher.failed(first, "gone", 1.0)
    assert first.state.value == "inactive"


def test_who_is_in_doubt_comes_last_in_its_set() -> None:
    dispatcher, first, _ = both()
    member(dispatcher, "genesis_a2")
    dispatcher.failed(first, "lost", 1.0, certain=False)
    for _ in range(2):
        assert users(dispatcher.candidates(1.0)) == ["genesis_a2", "genesis_a", "genesis_b"]


def test_where_nothing_probes_it_is_tried_again_after_the_hold_down() -> None:
    dispatcher, first, _ = both(rules=Rules(hold_down=60.0, probing=False))
    dispatcher.failed(first, "gone", 0.0)
    assert len(dispatcher.candidates(59.0)) == 1
    assert len(dispatcher.candidates(60.0)) == 2
    assert first.state.value == "probing"
    dispatcher.failed(first, "silent", 61.0, certain=False)
    assert first.state.value == "inactive"
    dispatcher.heard(first, 62.0)
    assert first.usable


def test_where_something_probes_time_alone_changes_nothing() -> None:
    dispatcher, first, _ = both()
    dispatcher.failed(first, "gone", 0.0)
    assert len(dispatcher.candidates(1e6)) == 1
    dispatcher.heard(first, 1e6)  # a late answer to an old call
    assert first.state.value == "inactive"


def test_registering_is_a_sign_of_life() -> None:
    dispatcher, first, _ = both(rules=Rules(up=2))
    dispatcher.failed(first, "gone", 1.0)
    assert member(dispatcher, "genesis_a", 2.0) is first
    assert (first.usable, first.successes) == (False, 1)
    dispatcher.answered(first, 2.1)
    assert first.usable


def test_registering_does_not_dispel_a_doubt() -> None:
    dispatcher, first, _ = both()
    dispatcher.failed(first, "answered 503", 1.0, certain=False)
    member(dispatcher, "genesis_a", 2.0)
    assert first.state.value == "probing"


def test_a_call_that_is_answered_dispels_it() -> None:
    dispatcher, first, _ = both()
    dispatcher.failed(first, "lost", 1.0, certain=False)
    dispatcher.heard(first, 2.0)
    assert (first.state, first.reason, first.calls) == (State.ACTIVE, "answered a call", 1)


def test_a_silent_call_decides_unless_something_else_was_answered() -> None:
    dispatcher, first, _ = both()
    dispatcher.silent(first, "does not answer", 4.0, since=0.0)
    assert first.state.value == "inactive"
    dispatcher, first, _ = both()
    dispatcher.heard(first, 2.0)
    dispatcher.silent(first, "does not answer", 4.0, since=1.0)
    assert (first.state, first.failures, first.failed_calls) == (State.ACTIVE, 0, 1)


@pytest.mark.parametrize(("down", "up"), [(1, 1), (3, 1), (1, 3), (3, 4)])
def test_thresholds(down: int, up: int) -> None:
    dispatcher, first, _ = both(rules=Rules(down=down, up=up))
    for count in range(1, down + 1):
        assert first.usable
        dispatcher.failed(first, "lost", float(count), certain=False)
    assert not first.usable
    for count in range(1, up + 1):
        assert not first.usable
        dispatcher.answered(first, 10.0 + count)
    assert first.usable


def test_failures_count_in_a_row() -> None:
    dispatcher, first, _ = both(rules=Rules(down=2))
    for _ in range(5):
        dispatcher.failed(first, "lost", 1.0, certain=False)
        dispatcher.answered(first, 2.0)
    assert first.usable


def test_a_flapping_system_is_held_down_twice_as_long_each_time() -> None:
    dispatcher, first, _ = both(rules=Rules(up=1, hold_down=10.0))
    now, held = 0.0, []
    for _ in range(7):
        dispatcher.failed(first, "gone", now)
        down = now
        while not first.usable:
            now += 1.0
            dispatcher.answered(first, now)
        held.append(now - down)
    assert held == [1.0, 10.0, 20.0, 40.0, 80.0, 160.0, 160.0]
    now += 51.0  # five times the hold-down: it is steady now
    dispatcher.failed(first, "gone", now)
    dispatcher.answered(first, now + 1)
    assert first.usable


def test_a_flapping_system_is_better_than_none() -> None:
    dispatcher, first, second = both(rules=Rules(up=1, hold_down=10.0), persistent=False)
    dispatcher.failed(first, "gone", 0.0)
    dispatcher.answered(first, 1.0)
    dispatcher.failed(first, "gone", 2.0)
    dispatcher.answered(first, 3.0)
    assert (first.usable, dispatcher.primary) == (False, 0)
    dispatcher.failed(second, "gone", 4.0)
    assert (first.usable, dispatcher.primary) == (True, 1)
    assert "not held down" in first.reason
    dispatcher.failed(first, "gone", 5.0)
    assert dispatcher.candidates(5.0) == ()
    dispatcher.answered(first, 6.0)
    assert users(dispatcher.candidates(6.0)) == ["genesis_a"]


def test_evidence_is_kept_and_bounded() -> None:
    dispatcher, first, _ = both()
    dispatcher.answered(first, 1.0, status=404, rtt=0.02)
    last = first.history[-1]
    assert (last.when, last.kind, last.status, last.rtt, last.state) == (
        1.0,
        "OPTIONS",
        404,
        0.02,
        State.ACTIVE,
    )
    for count in range(1000):
        dispatcher.failed(first, "gone", float(count))
    assert len(first.history) <= 100
    assert first.history[-1].outcome == "gone"


def test_leaving() -> None:
    dispatcher, first, _ = both()
    list(iter(dispatcher.next_event, None))
    dispatcher.unregistered(first.uri, first.user, "expired", 1.0)
    event = dispatcher.next_event()
    assert event == DestinationChanged(1, b"sip:genesis_a@host", "active", "removed", "expired")
    assert moves(dispatcher) == [(1, 0)]
    dispatcher.unregistered(first.uri, b"5000", "expired", 1.0)
    assert dispatcher.next_event() is None


def test_limits() -> None:
    dispatcher = Dispatcher(limit=2, size=1)
    member(dispatcher, "genesis_a")
    assert dispatcher.no_room(b"genesis_b", [b"sip:x"]) == ""
    assert "dispatchLimit = 2" in dispatcher.no_room(b"genesis_a2", [b"sip:x", b"sip:y"])
    assert dispatcher.no_room(b"genesis_a2", [b"sip:x", b"sip:x"]) == ""
    member(dispatcher, "genesis_b")
    list(iter(dispatcher.next_event, None))
    reason = dispatcher.no_room(b"genesis_a2", [b"sip:x"])
    assert "2^dispatchSize = 2" in reason
    assert dispatcher.no_room(b"genesis_a", [b"sip:genesis_a@host"]) == ""
    assert dispatcher.no_room(b"5000", [b"sip:x"]) == ""
    assert dispatcher.registered(b"genesis_a2", b"sip:x", None, 0.0) is None
    assert dispatcher.refused == 1
    assert dispatcher.next_event() == DestinationRefused(1, b"genesis_a2", b"sip:x", reason)


@pytest.mark.parametrize("persistent", [True, False])
def test_the_operators_choice_persists(persistent: bool) -> None:
    dispatcher, _, second = both(persistent=persistent)
    dispatcher.set_primary(0, "wanted", 0.0)
    assert (dispatcher.primary, dispatcher.preferred) == (0, 0)
    dispatcher.failed(second, "gone", 1.0)
    dispatcher.answered(second, 2.0)
    assert dispatcher.primary == (1 if persistent else 0)


def test_the_operators_choice_of_a_dead_set_waits_for_it() -> None:
    dispatcher, _, second = both()
    dispatcher.failed(second, "gone", 1.0)
    dispatcher.set_primary(0, "wanted", 0.0)
    assert dispatcher.primary == 1
    dispatcher.answered(second, 2.0)
    assert dispatcher.primary == 0


def test_no_such_set() -> None:
    with pytest.raises(ValueError, match="0 and 1"):
        Dispatcher().set_primary(2, "wanted", 0.0)


def test_another_place_is_another_version() -> None:
    dispatcher, first, _ = both()
    before = dispatcher.version
    dispatcher.registered(first.user, first.uri, None, 1.0)
    assert dispatcher.version == before
    dispatcher.registered(first.user, first.uri, "another connection", 2.0)
    assert dispatcher.version != before


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["register", "leave", "gone", "silent", "heard", "rest", "primary", "call"]),
            st.sampled_from(["genesis_a", "genesis_a2", "genesis_a3", "genesis_b", "genesis_b2"]),
            st.sampled_from([0.0, 1.0, 30.0]),
        ),
        max_size=40,
    ),
    st.booleans(),
)
def test_orders_that_are_kept_are_those_that_would_be_found(
    steps: list[tuple[str, str, float]], probing: bool
) -> None:
    rules = Rules(hold_down=20.0, probing=probing)
    one, other = Dispatcher(rules=rules), Dispatcher(rules=rules)
    now = 0.0
    for what, user, passed in steps:
        now += passed
        other.rules = rules  # which has it forget the orders
        assert users(one.candidates(now)) == users(other.candidates(now))
        for dispatcher in (one, other):
            known = [each for each in dispatcher.members if each.user == user.encode()]
            if what == "register":
                member(dispatcher, user, now)
            elif what == "primary":
                dispatcher.set_primary(len(user) % 2, "wanted", now)
            for each in known:
                if what == "leave":
                    dispatcher.unregistered(each.uri, each.user, "left", now)
                elif what == "gone":
                    dispatcher.failed(each, "gone", now)
                elif what == "silent":
                    dispatcher.failed(each, "silent", now, certain=False)
                elif what == "heard":
                    dispatcher.answered(each, now)
                elif what == "rest":
                    dispatcher.rest(each, 25, now)
                elif what == "call":
                    dispatcher.heard(each, now)
