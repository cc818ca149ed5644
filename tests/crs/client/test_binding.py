from hypothesis import given
from hypothesis import strategies as st

from crs.client.binding import FIRST_RETRY, REFRESH, SLOWEST_RETRY, Binding
from crs.relay import packet
from crs.relay.packet import Type

KEY = bytes(range(32))
OTHER = bytes(32)


def only(sent: list[bytes]) -> packet.Control:
    assert len(sent) == 1
    control = packet.parse(sent[0])
    assert control is not None
    return control


def acknowledgement(bind: packet.Control, key: bytes = KEY) -> bytes:
    return packet.build(Type.bind_ack, bind.identifier, bind.counter, key)


def test_binds_are_repeated_with_growing_pauses_and_counters() -> None:
    binding = Binding(7, KEY, 0, now=100.0)
    pauses, counters, now = [], [], binding.get_timer()
    for _ in range(8):
        bind = only(binding.to_send(now))
        assert (bind.type, bind.identifier, bind.is_authentic(KEY)) == (Type.bind, 7, True)
        assert binding.to_send(now) == []
        counters.append(bind.counter)
        pauses.append(round(binding.get_timer() - now, 6))
        now = binding.get_timer()
    assert counters == list(range(1, 9))
    assert pauses == [FIRST_RETRY, 0.2, 0.4, 0.8, 1.6, SLOWEST_RETRY, SLOWEST_RETRY, SLOWEST_RETRY]
    assert not binding.bound


def test_a_confirmed_bind_is_refreshed() -> None:
    binding = Binding(7, KEY, 0, now=0.0)
    first = only(binding.to_send(0.0))
    assert binding.receive(acknowledgement(first), 0.05)
    assert binding.bound
    assert binding.get_timer() == 0.05 + REFRESH
    second = only(binding.to_send(0.05 + REFRESH))
    assert second.counter > first.counter
    assert binding.get_timer() == 0.05 + REFRESH + FIRST_RETRY
    assert not binding.receive(acknowledgement(second), 16.0), "it was bound before"
    assert binding.get_timer() == 16.0 + REFRESH


def test_a_late_confirmation_of_an_earlier_bind_counts() -> None:
    binding = Binding(7, KEY, 0, now=0.0)
    first = only(binding.to_send(0.0))
    binding.to_send(0.1)
    assert binding.receive(acknowledgement(first), 0.2)


def test_forgeries_are_ignored() -> None:
    binding = Binding(7, KEY, 0, now=0.0)
    bind = only(binding.to_send(0.0))
    forgeries = [
        acknowledgement(bind, OTHER),
        acknowledgement(bind._replace(identifier=8)),
        acknowledgement(bind._replace(counter=2)),
        acknowledgement(bind._replace(counter=0)),
        bind.data,
        acknowledgement(bind)[:-1],
        b"",
    ]
    assert not any(binding.receive(data, 0.01) for data in forgeries)
    assert not binding.bound
    assert binding.get_timer() == FIRST_RETRY


def test_a_replayed_confirmation_does_not_postpone_the_refresh() -> None:
    binding = Binding(7, KEY, 0, now=0.0)
    data = acknowledgement(only(binding.to_send(0.0)))
    assert binding.receive(data, 0.01)
    assert not binding.receive(data, 14.0)
    assert binding.get_timer() == 0.01 + REFRESH


@given(st.binary(max_size=40))
def test_no_datagram_binds_by_chance(data: bytes) -> None:
    binding = Binding(7, KEY, 0, now=0.0)
    binding.to_send(0.0)
    assert not binding.receive(data, 0.0)


def test_a_restarted_client_counts_on_from_its_clock() -> None:
    earlier = Binding(7, KEY, 1_700_000_000_000, now=0.0)
    later = Binding(7, KEY, 1_700_000_000_900, now=0.0)
    last = [earlier.to_send(earlier.get_timer()) for _ in range(5)][-1]
    assert only(later.to_send(0.0)).counter > only(last).counter
    assert not later.receive(acknowledgement(only(last)), 0.1), "not one of its own"
