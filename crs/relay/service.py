"""The media relay: the table of allocations, kept true in rtlib's forwarder on one UDP port."""

from __future__ import annotations

import secrets
import socket
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Final, NamedTuple

from twisted.application.service import Service
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall
from twisted.logger import Logger

from crs.relay import packet
from crs.relay.allocation import ACCEPTED, Allocation, AllocationTable, Leg, RelayFull
from rtlib import address
from rtlib.address import Address
from rtlib.media.forwarder import OPAQUE, Audience, Classify, FlowCounters, Forwarder, PortCounters
from rtlib.offence import OffenceLog

log = Logger()

SWEEP: Final = 10.0
"""Seconds between two looks for allocations that nobody uses."""


class LegTicket(NamedTuple):
    """What one party needs to use its leg. `peer` is the other party's identifier, 0 for multicast."""

    identifier: int
    peer: int
    key: bytes


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


class RelayService(Service):
    """Hands out legs, binds them, and releases them; `on_idle(group)` is told of groups nobody uses."""

    def __init__(
        self,
        sock: socket.socket,
        forwarder: Forwarder,
        clock: IReactorTime,
        *,
        limits: Mapping[str, int | None],
        offences: OffenceLog,
        now: Callable[[], float] = time.monotonic,
        entropy: Callable[[int], bytes] = secrets.token_bytes,
    ) -> None:
        """`clock` wakes us; `now` must be the clock of the forwarder's `last_active`."""
        self.port: int = sock.getsockname()[1]
        self.table = AllocationTable(entropy, limits)
        self.refusal = ""
        """Why nobody gets relays now, and so no new call begins; empty while they do."""
        self.on_idle: Callable[[int], None] = self.release
        self._forwarder = forwarder
        self._now = now
        self._offences = offences
        self._ended: dict[str, KindCounters] = dict.fromkeys(limits, KindCounters())
        self._sweep = LoopingCall(self.sweep)
        self._sweep.clock = clock
        self._socket = sock
        self._handle = 0
        self._audiences: dict[Allocation, Audience] = {}

    def startService(self) -> None:
        """Open the port: not before, for a forwarder's thread would not survive twistd's fork."""
        super().startService()
        self._forwarder.on_unmatched = self._unmatched
        self._handle = self._forwarder.open(self._socket, Classify.RELAY)
        self._sweep.start(SWEEP, now=False).addErrback(
            lambda failure: log.failure("the sweep failed", failure)
        )

    def stopService(self) -> Deferred[None] | None:
        """Stop forwarding and close the port."""
        super().stopService()
        if self._sweep.running:
            self._sweep.stop()
        self._forwarder.stop()
        self._socket.close()
        return None

    def allocate(self, group: int, kinds: Sequence[str]) -> list[tuple[LegTicket, LegTicket]]:
        """Two legs for each stream. Raises RelayFull."""
        return [_tickets(allocation) for allocation in self._allocate(group, kinds)]

    def allocate_multicast(self, group: int, kind: str = "opaque-multicast") -> None:
        """A stream without nodes, in which everyone will get what one sends. Raises RelayFull."""
        for allocation in self._allocate(group, [kind]):
            self._audiences[allocation] = self._forwarder.audience()

    def add_node(self, group: int) -> LegTicket:
        """One more leg of the group's multicast stream.

        Raises KeyError for a group that has none, RelayFull if it has `allocation.NODES` nodes.
        """
        _, leg = self.table.add_leg(group, self._now())
        self._forwarder.set_flow(self._handle, leg.identifier, None, [])
        return LegTicket(leg.identifier, 0, leg.key)

    def remove_node(self, group: int, identifier: int) -> None:
        """A leg of the group's multicast stream gets and sends nothing any more, if it was one."""
        allocation = self.table.remove_leg(group, identifier)
        if allocation is not None:
            self._remove_flow(allocation.kind, identifier)
            self._gather(allocation)

    def release(self, group: int) -> None:
        """The group's legs forward nothing any more; nothing happens if it has none."""
        for allocation in self.table.release(group):
            self._audiences.pop(allocation, None)
            for leg in allocation.legs:
                self._remove_flow(allocation.kind, leg.identifier)

    def sweep(self) -> None:
        """Take over from the forwarder who was active, and report the groups that were not."""
        for allocation in self.table:
            for leg in allocation.legs:
                flow = self._forwarder.flow(self._handle, leg.identifier)
                self.table.touch(leg.identifier, flow.last_active)
        for group in self.table.idle(self._now()):
            log.info("the relays of session {group} saw no packet for a long time", group=group)
            self.on_idle(group)

    def counters(self) -> dict[str, KindCounters]:
        """Media packets by kind of relay, of ended and present allocations."""
        totals = dict(self._ended)
        for allocation in self.table:
            for leg in allocation.legs:
                flow = self._forwarder.flow(self._handle, leg.identifier)
                totals[allocation.kind] = totals[allocation.kind].plus(flow)
        return totals

    def port_counters(self) -> PortCounters:
        """All packets of the port."""
        return self._forwarder.port_counters(self._handle)

    def last_active(self, allocation: Allocation) -> float:
        """When a leg of this allocation was last active, on the clock `now`."""
        flows = (self._forwarder.flow(self._handle, leg.identifier) for leg in allocation.legs)
        return max([allocation.last_active, *(flow.last_active for flow in flows)])

    def _unmatched(self, port: int, batch: list[tuple[bytes, Address]]) -> None:
        offences: Counter[tuple[str, Address]] = Counter()
        for data, source in batch:
            control = packet.parse(data)
            if control is None:
                offences[_kind_of(data), source] += 1
            elif not self._bind(control, source):
                offences["refused bind", source] += 1
        for (kind, source), count in offences.items():
            self._offend(kind, source, count)

    def _bind(self, control: packet.Control, source: Address) -> bool:
        """Bind a leg, acknowledge, and let packets flow as far as legs are bound."""
        found = self.table.find(control.identifier)
        before = found[1].address if found else None
        outcome = self.table.bind(control, source, self._now())
        if outcome not in ACCEPTED or found is None:
            return False
        allocation, leg = found
        if leg.address != before:
            self._connect(allocation, leg)
        acknowledgement = packet.build(packet.Type.bind_ack, leg.identifier, leg.counter, leg.key)
        self._forwarder.send(self._handle, acknowledgement, source)
        return True

    def _connect(self, allocation: Allocation, leg: Leg) -> None:
        """Tell the forwarder the address of a leg: packets from there go on, packets to the leg go there."""
        audience = self._audiences.get(allocation)
        if audience is not None:
            self._forwarder.set_speaker(self._handle, leg.identifier, leg.address, audience)
            self._gather(allocation)
            return
        first, second = allocation.legs
        for sender, receiver in ((first, second), (second, first)):
            targets = [] if receiver.address is None else [(self._handle, receiver.address)]
            self._forwarder.set_flow(self._handle, sender.identifier, sender.address, targets)

    def _gather(self, allocation: Allocation) -> None:
        """Tell the forwarder who listens now: one list, however many speak to it."""
        listeners = [(self._handle, leg.address) for leg in allocation.legs if leg.address is not None]
        self._forwarder.set_audience(self._audiences[allocation], listeners)

    def _allocate(self, group: int, kinds: Sequence[str]) -> list[Allocation]:
        if self.refusal:
            raise RelayFull(self.refusal)
        made = self.table.allocate(group, kinds, self._now())
        for allocation in made:
            for leg in allocation.legs:
                self._forwarder.set_flow(self._handle, leg.identifier, None, [])
        return made

    def _remove_flow(self, kind: str, identifier: int) -> None:
        self._ended[kind] = self._ended[kind].plus(self._forwarder.flow(self._handle, identifier))
        self._forwarder.remove_flow(self._handle, identifier)

    def _offend(self, kind: str, source: Address, count: int) -> None:
        host = address.unpack(source)[0]
        logged = self._offences.count(f"relay: {kind}", host, self._now())
        # The first of the batch was counted by the line above.
        self._offences.totals[f"relay: {kind}"] += count - 1
        if logged:
            log.info("{kind} from {source}", kind=kind, source=address.text(source))


def _tickets(allocation: Allocation) -> tuple[LegTicket, LegTicket]:
    first, second = allocation.legs
    return (
        LegTicket(first.identifier, second.identifier, first.key),
        LegTicket(second.identifier, first.identifier, second.key),
    )


def _kind_of(data: bytes) -> str:
    """What a packet that has no flow and is no control packet is called."""
    media = data[:1] and (data[0] >> 6 == 2 or data[0] == OPAQUE)
    return "media without a bound leg" if media else "garbage"
