"""The media relay inside this process: its table of allocations, kept true in rtlib's forwarder."""

from __future__ import annotations

import secrets
import socket
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Final

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall, deferLater
from twisted.logger import Logger

from crs.relay import packet
from crs.relay.allocation import ACCEPTED, Allocation, AllocationTable, Leg
from crs.relay.interface import KindCounters, Relay, RemoteEnd, Resource, Statistics, remote_address
from rtlib import address
from rtlib.address import Address
from rtlib.media.forwarder import Audience, Classify, FlowCounters, Forwarder
from rtlib.offence import OffenceLog

log = Logger()

SWEEP: Final = 10.0
"""Seconds between two looks for allocations that nobody uses."""

PART: Final = 200
"""Allocations that are surveyed before others get their turn: about a millisecond."""


class RelayService(Relay):
    """Hands out legs, binds them, and releases them."""

    survives = False

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
        translate: Callable[[str], str] = lambda host: host,
    ) -> None:
        """`clock` wakes us; `now` must be the clock of the forwarder's `last_active`."""
        super().__init__(AllocationTable(entropy, limits), now=now, translate=translate)
        self._port: int = sock.getsockname()[1]
        self._forwarder = forwarder
        self._offences = offences
        self._ended: dict[str, KindCounters] = dict.fromkeys(limits, KindCounters())
        self._sweep = LoopingCall(lambda: Deferred.fromCoroutine(self.sweep()))
        self._sweep.clock = clock
        self._clock = clock
        self._socket = sock
        self.is_ipv6: bool = sock.family == socket.AF_INET6
        self._handle = 0
        self.on_bound: Callable[[Sequence[Leg]], None] = lambda legs: None
        """Is told of legs whose bind packets were accepted."""
        self._audiences: dict[Allocation, Audience] = {}

    @property
    def port(self) -> int:
        """The UDP port that clients send to."""
        return self._port

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

    async def statistics(self) -> Statistics:
        """What the relay has done."""
        flows = await self.survey()
        totals = dict(self._ended)
        for allocation, counters in flows.items():
            for each in counters:
                totals[allocation.kind] = totals[allocation.kind].plus(each)
        return replace(self.last_statistics, kinds=totals)

    async def resources(self) -> list[Resource]:
        """All allocations."""
        flows = await self.survey()
        return [self.resource(allocation, counters) for allocation, counters in flows.items()]

    @property
    def last_statistics(self) -> Statistics:
        """What the relay has done until now, without its kinds: those take a survey."""
        return Statistics(
            {},
            self._forwarder.port_counters(self._handle),
            {outcome.value: count for outcome, count in self.table.binds.items()},
            dict(self.table.counts),
            dict(self._offences.totals),
        )

    async def survey(self) -> dict[Allocation, list[FlowCounters]]:
        """The counters of all legs; a part at a time, so that signaling does not wait for all of it.

        What is released meanwhile is not in it, but among those that have ended.
        """
        found: dict[Allocation, list[FlowCounters]] = {}
        everything = list(self.table)
        for start in range(0, len(everything), PART):
            for allocation in everything[start : start + PART]:
                if allocation in self.table and self.running:
                    legs = allocation.legs
                    found[allocation] = [self._forwarder.flow(self._handle, leg.identifier) for leg in legs]
            await deferLater(self._clock, 0)
        return {allocation: counters for allocation, counters in found.items() if allocation in self.table}

    def adopt(self, group: int, kind: str, legs: Sequence[Leg]) -> None:
        """Serve an allocation that was made elsewhere. Raises ValueError."""
        self._added(self.table.insert(group, kind, legs, self._now()))

    def adopt_leg(self, group: int, beside: int, leg: Leg) -> None:
        """Serve a leg that was made elsewhere, of the group's allocation that has the leg `beside` or, for 0,
        of the only one. Raises KeyError, RelayFull, ValueError.
        """
        allocation = self._leg(group, beside)[0] if beside else self.table.of_group(group)[0]
        self.table.add_leg(allocation, leg, self._now())
        self._extended(allocation, leg)

    def resource(self, allocation: Allocation, flows: Sequence[FlowCounters]) -> Resource:
        """An allocation as it is now, with the counters of its legs."""
        active = max([allocation.last_active, *(flow.last_active for flow in flows)])
        identifiers = tuple(leg.identifier for leg in allocation.legs)
        return Resource(allocation.kind, allocation.bound, self._now() - active, identifiers)

    async def sweep(self) -> None:
        """Take over from the forwarder who was active, and report the groups that were not."""
        for allocation, flows in (await self.survey()).items():
            for flow in flows:
                allocation.last_active = max(allocation.last_active, flow.last_active)
        for group in self.table.idle(self._now()):
            log.info("the relays of session {group} saw no packet for a long time", group=group)
            self.on_idle(group)

    def _remote_address(self, remote: RemoteEnd) -> Address:
        return remote_address(self._translate(remote.host), remote.port, ipv6=self.is_ipv6)

    def _added(self, allocation: Allocation) -> None:
        if allocation.is_multicast:
            self._audiences[allocation] = self._forwarder.audience()
            for leg in allocation.legs:
                self._connect(allocation, leg)
        else:
            for leg in allocation.legs:
                self._direct(leg, allocation.peer(leg))

    def _extended(self, allocation: Allocation, leg: Leg) -> None:
        self._connect(allocation, leg)

    def _reduced(self, allocation: Allocation, leg: Leg) -> None:
        self._remove_flow(allocation.kind, leg.identifier)
        if allocation in self._audiences:
            self._gather(allocation)

    def _released(self, group: int, allocations: list[Allocation]) -> None:
        for allocation in allocations:
            self._audiences.pop(allocation, None)
            for leg in allocation.legs:
                self._remove_flow(allocation.kind, leg.identifier)

    def _unmatched(self, port: int, batch: list[tuple[bytes, Address]]) -> None:
        offences: Counter[tuple[str, Address]] = Counter()
        bound: list[Leg] = []
        for data, source in batch:
            control = packet.parse(data)
            kind = self._media_offence(data) if control is None else self._bind(control, source, bound)
            if kind:
                offences[kind, source] += 1
        if bound:
            self.on_bound(bound)
        for (kind, source), count in offences.items():
            self._offend(kind, source, count)

    def _bind(self, control: packet.Control, source: Address, bound: list[Leg]) -> str:
        """Bind a leg, acknowledge, and let packets flow as far as legs are bound; or say what is wrong.

        The leg is added to `bound`.
        """
        found = self.table.find(control.identifier)
        before = found[1].address if found else None
        outcome = self.table.bind(control, source, self._now())
        if outcome not in ACCEPTED or found is None:
            return f"{outcome.value} bind"
        allocation, leg = found
        if leg.address != before:
            self._connect(allocation, leg)
        acknowledgement = packet.build(packet.Type.bind_ack, leg.identifier, leg.counter, leg.key)
        self._forwarder.send(self._handle, acknowledgement, source)
        bound.append(leg)
        return ""

    def _connect(self, allocation: Allocation, leg: Leg) -> None:
        """Tell the forwarder the address of a leg: packets from there go on, packets to the leg go there."""
        audience = self._audiences.get(allocation)
        if audience is not None:
            self._forwarder.set_speaker(self._handle, leg.identifier, leg.address, audience)
            self._gather(allocation)
            return
        peer = allocation.peer(leg)
        self._direct(leg, peer)
        if peer is not None:
            self._direct(peer, leg)

    def _direct(self, sender: Leg, receiver: Leg | None) -> None:
        address = None if receiver is None else receiver.address
        targets = [] if address is None else [(self._handle, address)]
        self._forwarder.set_flow(self._handle, sender.identifier, sender.address, targets)

    def _gather(self, allocation: Allocation) -> None:
        """Tell the forwarder who listens now: one list, however many speak to it."""
        listeners = [(self._handle, leg.address) for leg in allocation.legs if leg.address is not None]
        self._forwarder.set_audience(self._audiences[allocation], listeners)

    def _remove_flow(self, kind: str, identifier: int) -> None:
        self._ended[kind] = self._ended[kind].plus(self._forwarder.flow(self._handle, identifier))
        self._forwarder.remove_flow(self._handle, identifier)

    def _media_offence(self, data: bytes) -> str:
        """What is wrong with a packet that is no control packet and has no flow."""
        if not data or data[0] >> 6 in (1, 3):
            return "unknown version"
        identifier = packet.media_identifier(data)
        if identifier is None:
            return "garbage"
        found = self.table.find(identifier)
        if found is None:
            return "unknown identifier"
        return "media of an unbound leg" if found[1].address is None else "media from a wrong address"

    def _offend(self, kind: str, source: Address, count: int) -> None:
        host = address.unpack(source)[0]
        logged = self._offences.count(f"relay: {kind}", host, self._now())
        # The first of the batch was counted by the line above.
        self._offences.totals[f"relay: {kind}"] += count - 1
        if logged:
            log.info("{kind} from {source}", kind=kind, source=address.text(source))
