"""What the rest of the server uses of the media relay, wherever that runs: `RelayService` is a part of this
process, `RemoteRelay` speaks to one of its own. Both pass `tests/contract/test_relay.py`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar, NamedTuple

from twisted.application.service import Service

from crs.relay.allocation import KINDS, Allocation, AllocationTable, Leg
from rtlib import address
from rtlib.address import Address
from rtlib.media.forwarder import FlowCounters, PortCounters


class RelayAway(Exception):
    """The relay's process cannot be asked now; the text says so."""


class LegTicket(NamedTuple):
    """What one party needs to use its leg.

    `peer` is the identifier that the other party's packets carry: 0 for multicast, and while a proxied leg
    has no other end.
    """

    identifier: int
    peer: int
    key: bytes


class RemoteEnd(NamedTuple):
    """The leg of a party on another server: its relay's address, as in that server's `ip` line."""

    host: str
    port: int
    identifier: int


class KindCounters(NamedTuple):
    """Media packets of all allocations of one kind since start (`show relay`)."""

    rx: int = 0
    rx_bytes: int = 0
    tx: int = 0
    tx_bytes: int = 0

    def plus(self, flow: FlowCounters) -> KindCounters:
        """The sum with one leg's counters."""
        return KindCounters(
            self.rx + flow.rx, self.rx_bytes + flow.rx_bytes, self.tx + flow.tx, self.tx_bytes + flow.tx_bytes
        )


@dataclass(frozen=True)
class Statistics:
    """What the relay has done since it was started (`show relay`, metrics)."""

    kinds: Mapping[str, KindCounters] = field(default_factory=dict)
    port: PortCounters = field(default_factory=PortCounters)
    binds: Mapping[str, int] = field(default_factory=dict)
    """Bind packets by outcome."""
    in_use: Mapping[str, int] = field(default_factory=dict)
    """Allocations by kind."""
    offences: Mapping[str, int] = field(default_factory=dict)
    """What strangers did wrong, by kind."""


class Resource(NamedTuple):
    """An allocation (`show relays`). `active` is how many seconds ago it was last active."""

    kind: str
    nodes: int
    active: float
    identifiers: tuple[int, ...]


class Relay(Service, ABC):
    """Hands out legs and takes them back. A group is what owns allocations: a session.

    The table of allocations is here; a subclass serves what is in it.
    """

    survives: ClassVar[bool]
    """Whether media goes on while this process is replaced."""

    def __init__(
        self,
        table: AllocationTable,
        *,
        now: Callable[[], float],
        translate: Callable[[str], str],
    ) -> None:
        """`translate` gives the address to use for a server's public one (manual 4.11)."""
        self.table = table
        self.on_idle: Callable[[int], None] = self.release
        """Told of a group that has been idle; it must release the group."""
        self._now = now
        self._translate = translate

    @property
    @abstractmethod
    def port(self) -> int:
        """The UDP port that clients send to."""

    @property
    def away(self) -> str:
        """Why the relay cannot be reached now, empty while it can."""
        return ""

    @abstractmethod
    async def statistics(self) -> Statistics:
        """What the relay has done. Raises RelayAway."""

    @abstractmethod
    async def resources(self) -> list[Resource]:
        """All allocations. Raises RelayAway."""

    @property
    @abstractmethod
    def last_statistics(self) -> Statistics:
        """The newest that are here without asking; `kinds` may be missing."""

    def allocate(self, group: int, kinds: Sequence[str]) -> list[tuple[LegTicket, LegTicket]]:
        """Two legs for each stream. Raises RelayFull, RelayAway."""
        tickets = []
        for allocation in self._allocate(group, kinds):
            first, second = allocation.legs
            tickets.append((_ticket(first, second), _ticket(second, first)))
        return tickets

    def allocate_proxies(self, group: int, kinds: Sequence[str]) -> list[LegTicket]:
        """One leg for each stream whose other party is on another server: see `connect`. Raises RelayFull."""
        return [_ticket(allocation.legs[0]) for allocation in self._allocate(group, kinds)]

    def connect(self, group: int, identifier: int, remote: RemoteEnd) -> LegTicket:
        """Lead a proxied leg of the group to its other end, and give its ticket with the peer.

        Raises KeyError for a leg that the group has not, RelayFull if it is connected, ValueError for an
        address that cannot be sent to, and for an identifier that is in use here: its server must find
        another one.
        """
        allocation, leg = self._leg(group, identifier)
        if KINDS[allocation.kind].legs != 1:
            raise KeyError(f"the leg {identifier} is not proxied")
        other = self.far_leg(remote)
        self.table.add_leg(allocation, other, self._now())
        self._extended(allocation, other)
        return _ticket(leg, other)

    def far_leg(self, remote: RemoteEnd) -> Leg:
        """The leg of a party on another server. Raises ValueError for an address that cannot be sent to."""
        return Leg(remote.identifier, b"", self._remote_address(remote))

    def allocate_multicast(self, group: int, kind: str = "opaque-multicast") -> None:
        """A stream without nodes, in which everyone will get what one sends. Raises RelayFull, RelayAway."""
        self._allocate(group, [kind])

    def add_node(self, group: int) -> LegTicket:
        """One more leg of the group's multicast stream.

        Raises KeyError for a group that has none, RelayFull if it has `allocation.NODES` nodes.
        """
        [allocation] = self.table.of_group(group)
        leg = self.table.make_leg()
        self.table.add_leg(allocation, leg, self._now())
        self._extended(allocation, leg)
        return _ticket(leg)

    def remove_node(self, group: int, identifier: int) -> None:
        """A leg of the group's multicast stream gets and sends nothing any more, if it was one."""
        try:
            allocation, leg = self._leg(group, identifier)
        except KeyError:
            return
        self.table.remove_leg(allocation, leg)
        self._reduced(allocation, leg)

    def release(self, group: int) -> None:
        """The group's legs forward nothing any more; nothing happens if it has none."""
        released = self.table.release(group)
        if released:
            self._released(group, released)

    def _allocate(self, group: int, kinds: Sequence[str]) -> list[Allocation]:
        if self.away:
            raise RelayAway(self.away)
        made = self.table.allocate(group, kinds, self._now())
        for allocation in made:
            self._added(allocation)
        return made

    def _leg(self, group: int, identifier: int) -> tuple[Allocation, Leg]:
        allocation, leg = self.table.find(identifier) or (None, None)
        if allocation is None or leg is None or allocation.group != group:
            raise KeyError(f"group {group} has no leg {identifier}")
        return allocation, leg

    @abstractmethod
    def _remote_address(self, remote: RemoteEnd) -> Address:
        """Where packets for it go. Raises ValueError."""

    @abstractmethod
    def _added(self, allocation: Allocation) -> None:
        """Serve a new allocation."""

    @abstractmethod
    def _extended(self, allocation: Allocation, leg: Leg) -> None:
        """Serve a leg that an allocation has got."""

    @abstractmethod
    def _reduced(self, allocation: Allocation, leg: Leg) -> None:
        """Do not serve a leg any more that an allocation had."""

    @abstractmethod
    def _released(self, group: int, allocations: list[Allocation]) -> None:
        """Do not serve these any more."""


def remote_address(host: str, port: int, *, ipv6: bool) -> Address:
    """The address of another server's relay for our socket, one of IPv6 or of IPv4. Raises ValueError."""
    result = address.pack(host, port)
    if ipv6 and len(result) == address.IPV4_SIZE:
        return address.pack(f"::ffff:{host}", port)
    if not ipv6 and len(result) == address.IPV6_SIZE:
        raise ValueError(f"{host} cannot be reached: the relay listens on IPv4 only")
    return result


def _ticket(leg: Leg, peer: Leg | None = None) -> LegTicket:
    return LegTicket(leg.identifier, 0 if peer is None else peer.identifier, leg.key)
