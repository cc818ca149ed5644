"""The dispatch sets (guide 1.2.1, 7.1.16 to 7.1.23)."""

from typing import Any

import pytest

from haproxy.dispatcher.set import Destination, DestinationChanged, Dispatcher, PrimaryChanged


def member(dispatcher: Dispatcher, user: str, now: float = 0.0) -> Destination:
    found = dispatcher.registered(user.encode(), f"sip:{user}@host".encode(), None, now)
    assert found is not None
    return found


def both(**settings: Any) -> tuple[Dispatcher, Destination, Destination]:
    dispatcher = Dispatcher(**settings)
    return dispatcher, member(dispatcher, "genesis_a"), member(dispatcher, "genesis_b")


def moves(dispatcher: Dispatcher) -> list[tuple[int, int]]:
    events = iter(dispatcher.next_event, None)
    return [(event.previous, event.current) for event in events if isinstance(event, PrimaryChanged)]


def users(destinations: list[Destination]) -> list[str]:
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
    assert dispatcher.candidates(1.0) == []
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


@pytest.mark.parametrize(("hold_down", "count"), [(None, 1), (60.0, 2)])
def test_hold_down_where_nothing_probes(hold_down: float | None, count: int) -> None:
    dispatcher, first, _ = both(hold_down=hold_down)
    dispatcher.failed(first, "gone", 0.0)
    assert len(dispatcher.candidates(59.0)) == 1
    assert len(dispatcher.candidates(60.0)) == count


def test_registering_is_a_sign_of_life() -> None:
    dispatcher, first, _ = both()
    dispatcher.failed(first, "gone", 1.0)
    assert member(dispatcher, "genesis_a", 2.0) is first
    assert first.usable


def test_leaving() -> None:
    dispatcher, first, _ = both()
    list(iter(dispatcher.next_event, None))
    dispatcher.unregistered(first.uri, first.user, "expired")
    event = dispatcher.next_event()
    assert event == DestinationChanged(1, b"sip:genesis_a@host", "active", "removed", "expired")
    assert moves(dispatcher) == [(1, 0)]
    dispatcher.unregistered(first.uri, b"5000", "expired")
    assert dispatcher.next_event() is None


def test_limits() -> None:
    dispatcher = Dispatcher(limit=2, size=1)
    member(dispatcher, "genesis_a")
    assert dispatcher.has_room(b"genesis_b", b"sip:x")
    member(dispatcher, "genesis_b")
    assert not dispatcher.has_room(b"genesis_a2", b"sip:x")
    assert dispatcher.has_room(b"5000", b"sip:x")
    assert dispatcher.registered(b"genesis_a2", b"sip:x", None, 0.0) is None
    assert dispatcher.refused == 1


@pytest.mark.parametrize("persistent", [True, False])
def test_the_operators_choice_persists(persistent: bool) -> None:
    dispatcher, _, second = both(persistent=persistent)
    dispatcher.set_primary(0)
    assert (dispatcher.primary, dispatcher.preferred) == (0, 0)
    dispatcher.failed(second, "gone", 1.0)
    dispatcher.answered(second, 2.0)
    assert dispatcher.primary == (1 if persistent else 0)


def test_the_operators_choice_of_a_dead_set_waits_for_it() -> None:
    dispatcher, _, second = both()
    dispatcher.failed(second, "gone", 1.0)
    dispatcher.set_primary(0)
    assert dispatcher.primary == 1
    dispatcher.answered(second, 2.0)
    assert dispatcher.primary == 0


def test_no_such_set() -> None:
    with pytest.raises(ValueError, match="0 and 1"):
        Dispatcher().set_primary(2)
