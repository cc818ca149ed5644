"""The table of relay allocations: legs with their identifiers, bind keys and bound addresses.

An allocation is one media stream of one group (session), with a leg for each party. A leg is bound
by an authentic bind packet; a newer one moves it (Wi-Fi to LTE, NAT rebinding). Sans-IO.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Final, NamedTuple

from crs.relay import packet
from rtlib.address import Address

IDLE: Final = 120.0
"""Seconds without a packet or bind after which an allocation is given up."""

NODES: Final = 256
"""The most nodes of a multicast allocation."""


class Shape(NamedTuple):
    """How many legs an allocation of some kind is made with, and how many it may get."""

    legs: int
    most: int


KINDS: Final[Mapping[str, Shape]] = {
    "rtp": Shape(2, 2),
    "rtp-proxy": Shape(1, 2),
    "opaque": Shape(2, 2),
    "opaque-proxy": Shape(1, 2),
    "opaque-multicast": Shape(0, NODES),
}
"""A proxy is made with the leg of the party that is here; the other end is on another server."""


class RelayFull(Exception):
    """A limit of crs-relay.conf is reached, or there are no new calls; the text says which."""


class Bind(Enum):
    """What became of a bind packet."""

    bound = "bound"
    moved = "moved"
    repeated = "repeated"
    """The newest bind again, from the same address: its acknowledgement was lost."""
    replayed = "replayed"
    forged = "forged"
    unknown = "unknown"


ACCEPTED: Final = frozenset({Bind.bound, Bind.moved, Bind.repeated})


@dataclass(slots=True, eq=False)
class Leg:
    """One party's end of an allocation. Without a key it is on another server and never bound by packets."""

    identifier: int
    key: bytes = field(repr=False)
    address: Address | None = None
    counter: int = -1


@dataclass(slots=True, eq=False)
class Allocation:
    """One media stream of the group (session) that owns it."""

    group: int
    kind: str
    legs: list[Leg]
    last_active: float

    @property
    def is_multicast(self) -> bool:
        """Whether everyone gets what one sends; else two legs send to each other."""
        return KINDS[self.kind].most > 2

    def peer(self, leg: Leg) -> Leg | None:
        """The other party's leg; None while there is none, and for multicast."""
        if self.is_multicast:
            return None
        return next((other for other in self.legs if other is not leg), None)

    @property
    def bound(self) -> int:
        """How many legs have an address."""
        return sum(leg.address is not None for leg in self.legs)


class AllocationTable:
    """All allocations of this relay.

    `limits` gives the most allocations of each kind, None for no limit; a kind that it lacks
    does not exist here. `entropy(n)` returns n unpredictable bytes.
    """

    def __init__(self, entropy: Callable[[int], bytes], limits: Mapping[str, int | None]) -> None:
        self._entropy = entropy
        self.limits = limits
        self._groups: dict[int, list[Allocation]] = {}
        self._legs: dict[int, tuple[Allocation, Leg]] = {}
        self.counts: Counter[str] = Counter()
        self.binds: Counter[Bind] = Counter()

    def __iter__(self) -> Iterator[Allocation]:
        for group in self._groups.values():
            yield from group

    def __contains__(self, allocation: Allocation) -> bool:
        return allocation in self._groups.get(allocation.group, ())

    def __len__(self) -> int:
        return self.counts.total()

    def allocate(self, group: int, kinds: Sequence[str], now: float) -> list[Allocation]:
        """One allocation for each kind, in order, owned by `group`; all of them or RelayFull."""
        if group in self._groups:
            raise ValueError(f"group {group} has its allocations already")
        self._check_limits(Counter(kinds))
        made = [self._allocate(group, kind, now) for kind in kinds]
        self._groups[group] = made
        self.counts.update(kinds)
        return made

    def insert(self, group: int, kind: str, legs: Sequence[Leg], now: float) -> Allocation:
        """Take over an allocation that was made elsewhere, one more of `group`.

        Limits are a matter of who made it. Raises ValueError if it cannot be of this kind or an identifier is
        in use.
        """
        identifiers = {leg.identifier for leg in legs}
        if len(identifiers) < len(legs) or len(legs) > KINDS[kind].most:
            raise ValueError(f"a relay of type {kind} cannot have these {len(legs)} legs")
        for identifier in identifiers:
            self._check_free(identifier)
        allocation = Allocation(group, kind, list(legs), now)
        self._legs.update((leg.identifier, (allocation, leg)) for leg in legs)
        self._groups.setdefault(group, []).append(allocation)
        self.counts[kind] += 1
        return allocation

    def make_leg(self) -> Leg:
        """A leg with an identifier that is free, for `add_leg`."""
        while True:
            identifier = int.from_bytes(self._entropy(4))
            if identifier != 0 and identifier not in self._legs:
                return Leg(identifier, self._entropy(packet.KEY_SIZE))

    def add_leg(self, allocation: Allocation, leg: Leg, now: float) -> None:
        """One more leg. Raises RelayFull if there are all that may be, ValueError for a taken identifier."""
        most = KINDS[allocation.kind].most
        if len(allocation.legs) >= most:
            raise RelayFull(f"a relay of type {allocation.kind} has at most {most} nodes")
        self._check_free(leg.identifier)
        allocation.legs.append(leg)
        allocation.last_active = now
        self._legs[leg.identifier] = (allocation, leg)

    def remove_leg(self, allocation: Allocation, leg: Leg) -> None:
        """Forget a leg."""
        allocation.legs.remove(leg)
        del self._legs[leg.identifier]

    def of_group(self, group: int) -> list[Allocation]:
        """The group's allocations. KeyError if it has none."""
        return self._groups[group]

    @property
    def groups(self) -> list[int]:
        """All groups that have allocations."""
        return list(self._groups)

    def release(self, group: int) -> list[Allocation]:
        """Forget the group's allocations and return them; empty when it has none."""
        released = self._groups.pop(group, [])
        for allocation in released:
            self.counts[allocation.kind] -= 1
            for leg in allocation.legs:
                del self._legs[leg.identifier]
        return released

    def find(self, identifier: int) -> tuple[Allocation, Leg] | None:
        """The leg with this identifier and its allocation."""
        return self._legs.get(identifier)

    def bind(self, control: packet.Control, source: Address, now: float) -> Bind:
        """Judge a bind packet and, if it is good, bind or move its leg to `source`."""
        outcome = self._judge(control, source)
        self.binds[outcome] += 1
        if outcome in ACCEPTED:
            allocation, leg = self._legs[control.identifier]
            leg.address, leg.counter = source, control.counter
            allocation.last_active = now
        return outcome

    def idle(self, now: float) -> list[int]:
        """The groups none of whose allocations was active for 120 seconds."""
        limit = now - IDLE
        return [
            group
            for group, allocations in self._groups.items()
            if all(allocation.last_active <= limit for allocation in allocations)
        ]

    def _check_limits(self, wanted: Counter[str]) -> None:
        for kind, count in wanted.items():
            if kind not in self.limits:
                raise RelayFull(f"this server has no relays of type {kind}")
            limit = self.limits[kind]
            if limit is not None and self.counts[kind] + count > limit:
                raise RelayFull(f"all {limit} relays of type {kind} are in use")

    def _allocate(self, group: int, kind: str, now: float) -> Allocation:
        allocation = Allocation(group, kind, [], now)
        for _ in range(KINDS[kind].legs):
            leg = self.make_leg()
            allocation.legs.append(leg)
            self._legs[leg.identifier] = (allocation, leg)
        return allocation

    def _check_free(self, identifier: int) -> None:
        if not 0 < identifier <= 0xFFFFFFFF or identifier in self._legs:
            raise ValueError(f"the identifier {identifier} is not free")

    def _judge(self, control: packet.Control, source: Address) -> Bind:
        found = self._legs.get(control.identifier)
        if found is None or control.type is not packet.Type.bind:
            return Bind.unknown
        leg = found[1]
        if not leg.key or not control.is_authentic(leg.key):
            return Bind.forged
        if control.counter < leg.counter:
            return Bind.replayed
        if control.counter == leg.counter:
            return Bind.repeated if source == leg.address else Bind.replayed
        if leg.address is None:
            return Bind.bound
        return Bind.moved if source != leg.address else Bind.bound
