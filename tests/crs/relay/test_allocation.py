"""The table of allocations."""

from __future__ import annotations

import random

import pytest

from crs.relay import packet
from crs.relay.allocation import IDLE, NODES, Allocation, AllocationTable, Bind, Leg, RelayFull
from crs.relay.packet import Control, Type

HERE, THERE = b"here", b"there"


def table(**limits: int | None) -> AllocationTable:
    return AllocationTable(random.Random(1).randbytes, limits or {"rtp": None})


def bind(leg: Leg, counter: int, key: bytes | None = None) -> Control:
    control = packet.parse(packet.build(Type.bind, leg.identifier, counter, key or leg.key))
    assert control is not None
    return control


def test_legs_are_bound_moved_and_not_replayed() -> None:
    relays = table()
    [allocation] = relays.allocate(1, ["rtp"], 0.0)
    leg, other = allocation.legs
    assert allocation.peer(leg) is other and allocation.peer(other) is leg
    assert relays.bind(bind(leg, 1, bytes(32)), HERE, 1.0) is Bind.forged
    assert relays.bind(bind(leg, 1), HERE, 1.0) is Bind.bound
    assert relays.bind(bind(leg, 1), HERE, 2.0) is Bind.repeated
    assert relays.bind(bind(leg, 1), THERE, 2.0) is Bind.replayed
    assert relays.bind(bind(leg, 2), THERE, 3.0) is Bind.moved
    assert relays.bind(bind(leg, 1), HERE, 4.0) is Bind.replayed
    assert (leg.address, allocation.bound, allocation.last_active) == (THERE, 1, 3.0)
    assert relays.bind(bind(Leg(12345, bytes(32)), 1), HERE, 4.0) is Bind.unknown


def test_an_acknowledgement_does_not_bind() -> None:
    relays = table()
    leg = relays.allocate(1, ["rtp"], 0.0)[0].legs[0]
    acknowledgement = packet.parse(packet.build(Type.bind_ack, leg.identifier, 9, leg.key))
    assert acknowledgement is not None
    assert relays.bind(acknowledgement, HERE, 1.0) is Bind.unknown
    assert leg.address is None


def test_limits_are_all_or_nothing() -> None:
    relays = table(rtp=2, opaque=0)
    relays.allocate(1, ["rtp"], 0.0)
    for kinds in (["rtp", "rtp"], ["opaque"], ["rtp", "opaque"], ["unheard-of"]):
        with pytest.raises(RelayFull):
            relays.allocate(2, kinds, 0.0)
    assert len(relays) == 1
    assert len(relays.release(1)) == 1
    assert relays.release(1) == []
    relays.allocate(2, ["rtp", "rtp"], 0.0)
    assert relays.counts == {"rtp": 2}


def test_identifiers_are_unique_and_never_zero() -> None:
    """Also when the dice insist."""
    throws = iter([bytes(4), b"\0\0\0\1", b"k" * 32, b"\0\0\0\1", b"\0\0\0\2", b"l" * 32])
    relays = AllocationTable(lambda size: next(throws), {"rtp": None})
    legs = relays.allocate(1, ["rtp"], 0.0)[0].legs
    assert [leg.identifier for leg in legs] == [1, 2]


def test_a_group_is_idle_when_all_its_streams_are() -> None:
    relays = table()
    first, second = relays.allocate(1, ["rtp", "rtp"], 0.0)
    first.last_active = 50.0
    assert relays.idle(IDLE) == []
    assert relays.idle(50.0 + IDLE) == [1]
    assert second.last_active == 0.0


def more(relays: AllocationTable, allocation: Allocation) -> Leg:
    leg = relays.make_leg()
    relays.add_leg(allocation, leg, 5.0)
    return leg


def test_multicast_legs_come_and_go() -> None:
    relays = table(**{"opaque-multicast": 1, "rtp": None})
    [allocation] = relays.allocate(1, ["opaque-multicast"], 0.0)
    [pair] = relays.allocate(2, ["rtp"], 0.0)
    assert allocation.legs == []
    with pytest.raises(RelayFull):
        relays.allocate(3, ["opaque-multicast"], 0.0)
    legs = [more(relays, allocation) for _ in range(NODES)]
    assert allocation.last_active == 5.0 and allocation.peer(legs[0]) is None
    with pytest.raises(RelayFull, match="256 nodes"):
        more(relays, allocation)
    with pytest.raises(RelayFull, match="2 nodes"):
        more(relays, pair)
    relays.remove_leg(allocation, legs[0])
    assert relays.bind(bind(legs[0], 1), HERE, 6.0) is Bind.unknown
    assert relays.bind(bind(more(relays, allocation), 1), HERE, 6.0) is Bind.bound
    relays.release(1)
    assert relays.find(legs[1].identifier) is None and len(relays) == 1


def test_a_leg_of_another_server_is_not_bound_by_packets() -> None:
    relays = table(**{"rtp-proxy": None})
    [allocation] = relays.allocate(1, ["rtp-proxy"], 0.0)
    [leg] = allocation.legs
    remote = Leg(leg.identifier ^ 1, b"", THERE)
    relays.add_leg(allocation, remote, 0.0)
    assert allocation.peer(leg) is remote and allocation.bound == 1
    assert relays.bind(bind(remote, 1), HERE, 1.0) is Bind.forged
    assert remote.address == THERE
    with pytest.raises(RelayFull):
        relays.add_leg(allocation, Leg(remote.identifier ^ 2, b""), 0.0)


def test_allocations_made_elsewhere() -> None:
    relays = table(**{"rtp": 2, "opaque-multicast": None})
    legs = [Leg(1, b"1" * 32), Leg(2, b"2" * 32)]
    allocation = relays.insert(1, "rtp", legs, 3.0)
    assert relays.find(2) == (allocation, legs[1]) and relays.of_group(1) == [allocation]
    for kind, wrong in (
        ("rtp", [Leg(1, b"")]),
        ("rtp", [Leg(5, b""), Leg(5, b"")]),
        ("rtp", [Leg(0, b""), Leg(5, b"")]),
        ("rtp", [Leg(number, b"") for number in (5, 6, 7)]),
        ("opaque-multicast", [Leg(1 << 32, b"")]),
    ):
        with pytest.raises(ValueError):
            relays.insert(1, kind, wrong, 3.0)
    relays.insert(1, "rtp", [Leg(3, b""), Leg(4, b"")], 3.0)
    with pytest.raises(RelayFull):
        relays.allocate(2, ["rtp"], 3.0)
    assert relays.groups == [1] and len(relays.release(1)) == 2 and relays.groups == []


def test_a_released_identifier_is_unknown() -> None:
    relays = table()
    leg = relays.allocate(1, ["rtp"], 0.0)[0].legs[0]
    relays.release(1)
    assert relays.find(leg.identifier) is None
    assert relays.bind(bind(leg, 1), HERE, 1.0) is Bind.unknown
