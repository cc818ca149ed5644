"""The media relay in a process of its own: its table of allocations is kept here, its packets move there.

Whoever was restarted, both agree again once they are connected: the relay tells what it has, and is told
what it lacks. Media goes on while crs is away.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any, Final

import msgspec
from twisted.internet.defer import Deferred, TimeoutError
from twisted.internet.interfaces import IDelayedCall
from twisted.internet.protocol import ClientFactory, connectionDone
from twisted.internet.task import LoopingCall
from twisted.logger import Logger
from twisted.protocols.basic import Int32StringReceiver
from twisted.python.failure import Failure

from crs.relay import control
from crs.relay.allocation import KINDS, Allocation, AllocationTable, Leg
from crs.relay.interface import (
    KindCounters,
    Relay,
    RelayAway,
    RemoteEnd,
    Resource,
    Statistics,
    remote_address,
)
from rtlib import address
from rtlib.address import Address
from rtlib.log import init
from rtlib.media.forwarder import PortCounters

log = Logger()

FIRST_RETRY: Final = 0.05
LONGEST_RETRY: Final = 1.0
"""Seconds between two attempts to connect."""


class RemoteRelay(Relay):
    """Speaks to the relay behind the UNIX socket `path`. `reactor` provides IReactorUNIX and -Time."""

    survives = True

    def __init__(
        self,
        path: Path,
        reactor: Any,
        *,
        now: Callable[[], float],
        port: int = 0,
        entropy: Callable[[int], bytes] = secrets.token_bytes,
        translate: Callable[[str], str] = lambda host: host,
        watch: Callable[[bool], None] = lambda there: None,
    ) -> None:
        """`port` is where clients send to until the relay says where.

        `watch(there)` is told when the relay goes away and when it is back.
        """
        super().__init__(AllocationTable(entropy, dict.fromkeys(KINDS)), now=now, translate=translate)
        self.instance = int.from_bytes(entropy(4)) >> 1 or 1
        """Tells our groups from those of an earlier crs."""
        self._path = path
        self._reactor = reactor
        self._port = port
        self._ipv6 = False
        self._link: _Link | None = None
        """Once both agree."""
        self._factory = _LinkFactory(self)
        self._connector: Any = None
        self._retry: IDelayedCall | None = None
        self._pause = FIRST_RETRY
        self._warned = False
        self._watch = watch
        self._statistics = Statistics()
        self._heartbeat = LoopingCall(self._beat)
        self._heartbeat.clock = reactor

    @property
    def port(self) -> int:
        """The UDP port that clients send to."""
        return self._port

    @property
    def away(self) -> str:
        """Why there are no relays."""
        return "" if self._link is not None else "the relay service does not answer"

    @property
    def last_statistics(self) -> Statistics:
        """Those of the last poll."""
        return self._statistics

    def startService(self) -> None:
        """Connect, and go on trying."""
        super().startService()
        self._connect()
        self._heartbeat.start(control.POLL, now=False)

    def stopService(self) -> None:
        """Leave; the relay goes on."""
        super().stopService()
        if self._heartbeat.running:
            self._heartbeat.stop()
        if self._retry is not None and self._retry.active():
            self._retry.cancel()
        if self._connector is not None:
            self._connector.disconnect()

    async def statistics(self) -> Statistics:
        """What the relay has done."""
        await self._poll(resources=False)
        return self._statistics

    async def resources(self) -> list[Resource]:
        """All allocations, those of an earlier crs too."""
        rows = await self._poll(resources=True)
        return [Resource(row.kind, row.nodes, row.active, tuple(row.identifiers)) for row in rows]

    def connected(self, link: _Link, greeting: control.Greeting, rows: list[control.Row]) -> None:
        """The relay has said what it has."""
        self._link = link
        self._port, self._ipv6, self.table.limits = greeting.port, greeting.ipv6, greeting.limits
        if self._warned:
            self._watch(True)
        self._pause, self._warned = FIRST_RETRY, False
        self._agree(rows)
        init(log, "connected to the relay service, which has {count} relays", count=len(rows))

    def take(self, status: control.Status) -> None:
        """Keep what the relay has counted."""
        self._statistics = Statistics(
            {kind: KindCounters(*counters) for kind, counters in status.kinds.items()},
            PortCounters(*status.port),
            status.binds,
            status.in_use,
            status.offences,
        )

    def bound(self, counters: list[tuple[int, int]]) -> None:
        """Keep the counters of bind packets for a relay that starts again."""
        for identifier, counter in counters:
            found = self.table.find(identifier)
            if found is not None:
                found[1].counter = max(found[1].counter, counter)

    def told(self, message: control.Idle | control.Gone | control.Refused) -> None:
        """Something has happened to a group."""
        instance, group = divmod(message.group, 1 << control.INSTANCE_BITS)
        if isinstance(message, control.Gone):
            self.table.release(message.group)
        elif instance == self.instance:
            if isinstance(message, control.Refused):
                log.warn("the relay service refused a command: {reason}", reason=message.reason)
            self.on_idle(group)

    def lost(self, link: _Link | None, reason: str) -> None:
        """There is no connection, or none any more: try again."""
        if link is not None and link is not self._link and self._link is not None:
            return
        self._link = None
        if not self.running:
            return
        if not self._warned:
            log.warn("{path}: {reason}; no new calls until it answers", path=str(self._path), reason=reason)
            self._warned = True
            self._watch(False)
        self._retry = self._reactor.callLater(self._pause, self._connect)
        self._pause = min(LONGEST_RETRY, 2 * self._pause)

    def _connect(self) -> None:
        self._connector = self._reactor.connectUNIX(str(self._path), self._factory)

    def _agree(self, rows: list[control.Row]) -> None:
        """Take over what earlier instances left; mend what differs in what is ours."""
        for group in self.table.groups:
            if group >> control.INSTANCE_BITS:
                self.table.release(group)
        theirs: dict[int, list[list[int]]] = {}
        for row in rows:
            theirs.setdefault(row.group, []).append(row.identifiers)
            if row.group >> control.INSTANCE_BITS != self.instance:
                self.table.insert(
                    row.group, row.kind, [Leg(each, b"") for each in row.identifiers], self._now()
                )
        for group, identifiers in theirs.items():
            instance, own = divmod(group, 1 << control.INSTANCE_BITS)
            if instance == self.instance and identifiers != self._identifiers(own):
                self._tell(control.Release(group))
                theirs[group] = []
        for allocation in self.table:
            if not allocation.group >> control.INSTANCE_BITS and not theirs.get(self._wire(allocation.group)):
                self._added(allocation)

    def _identifiers(self, group: int) -> list[list[int]]:
        allocations = self.table.of_group(group) if group in self.table.groups else []
        return [[leg.identifier for leg in allocation.legs] for allocation in allocations]

    def _beat(self) -> None:
        if self._link is not None:
            Deferred.fromCoroutine(self._poll(resources=False)).addErrback(
                lambda failure: failure.trap(RelayAway)
            )

    async def _poll(self, *, resources: bool) -> list[control.Row]:
        if self._link is None:
            raise RelayAway(self.away)
        return await self._link.poll(resources)

    def _remote_address(self, remote: RemoteEnd) -> Address:
        return remote_address(self._translate(remote.host), remote.port, ipv6=self._ipv6)

    def _added(self, allocation: Allocation) -> None:
        legs = [_state(leg) for leg in allocation.legs]
        self._tell(control.Add(self._wire(allocation.group), allocation.kind, legs))

    def _extended(self, allocation: Allocation, leg: Leg) -> None:
        beside = 0 if allocation.is_multicast else allocation.legs[0].identifier
        self._tell(control.Extend(self._wire(allocation.group), beside, _state(leg)))

    def _reduced(self, allocation: Allocation, leg: Leg) -> None:
        self._tell(control.Reduce(self._wire(allocation.group), leg.identifier))

    def _released(self, group: int, allocations: list[Allocation]) -> None:
        self._tell(control.Release(self._wire(group)))

    def _wire(self, group: int) -> int:
        return self.instance << control.INSTANCE_BITS | group

    def _tell(self, command: control.FromCrs) -> None:
        """Send a command; while the relay is away, it will be told when it is back."""
        if self._link is not None:
            self._link.tell(command)


def _state(leg: Leg) -> control.LegState:
    if leg.key:
        return control.LegState(leg.identifier, leg.key, counter=leg.counter)
    assert leg.address is not None
    return control.LegState(leg.identifier, b"", *address.unpack(leg.address))


class _LinkFactory(ClientFactory):
    noisy = False

    def __init__(self, owner: RemoteRelay) -> None:
        self._owner = owner

    def buildProtocol(self, addr: Any) -> _Link:
        """One connection."""
        return _Link(self._owner, self._owner._reactor)

    def clientConnectionFailed(self, connector: Any, reason: Failure) -> None:
        """Nobody listens."""
        self._owner.lost(None, "the relay service does not run")


class _Link(Int32StringReceiver):
    """A connection to the relay."""

    MAX_LENGTH = control.MAX_FRAME
    transport: Any

    def __init__(self, owner: RemoteRelay, clock: Any) -> None:
        self._owner = owner
        self._clock = clock
        self._greeting: control.Greeting | None = None
        self._rows: list[control.Row] = []
        self._numbers = count(1)
        self._polls: dict[int, Deferred[list[control.Row]]] = {}
        self._reason = "the relay service has gone"

    def connectionMade(self) -> None:
        """Wait for the greeting, but not forever."""
        self._expect(0).addErrback(lambda failure: failure.trap(RelayAway))

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Whoever waits is told."""
        # First of all our owner, lest somebody who waited asks us again.
        self._owner.lost(self, self._reason)
        polls, self._polls = self._polls, {}
        for poll in polls.values():
            poll.errback(RelayAway(self._reason))

    def stringReceived(self, data: bytes) -> None:
        """Take one message."""
        try:
            message = control.decode_from_relay(data)
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            self._break_off(f"the relay service sent what nobody understands: {error}")
            return
        if isinstance(message, control.Greeting):
            self._greet(message)
        elif isinstance(message, control.Bound):
            self._owner.bound(message.counters)
        elif isinstance(message, control.Rows):
            self._rows += message.rows
        elif isinstance(message, control.Status):
            self._status(message)
        else:
            self._owner.told(message)

    def lengthLimitExceeded(self, length: int) -> None:
        """Refuse a message that would be too long."""
        self._break_off(f"the relay service sent a message of {length} bytes")

    def tell(self, command: control.FromCrs) -> None:
        """Send one message."""
        self.sendString(control.encode(command))

    def poll(self, resources: bool) -> Deferred[list[control.Row]]:
        """Ask how the relay does. Fails with RelayAway."""
        number = next(self._numbers)
        answer = self._expect(number)
        self.tell(control.Poll(number, resources))
        return answer

    def _expect(self, number: int) -> Deferred[list[control.Row]]:
        answer: Deferred[list[control.Row]] = Deferred(lambda _: self._forget(number))
        self._polls[number] = answer
        answer.addTimeout(control.ANSWER_TIME, self._clock)
        return answer.addErrback(self._unanswered)

    def _forget(self, number: int) -> None:
        self._polls.pop(number, None)

    def _unanswered(self, failure: Failure) -> Any:
        if failure.check(TimeoutError):
            self._break_off("the relay service does not answer in time")
            raise RelayAway(self._reason)
        return failure

    def _greet(self, greeting: control.Greeting) -> None:
        if greeting.version != control.VERSION:
            reason = f"the relay service speaks version {greeting.version} of the control protocol"
            self._break_off(f"{reason}, not {control.VERSION}: restart it")
            return
        self._greeting = greeting
        self.tell(control.Hello(control.VERSION, self._owner.instance))

    def _status(self, status: control.Status) -> None:
        rows, self._rows = self._rows, []
        answer = self._polls.pop(status.number, None)
        if status.number == 0 and self._greeting is not None:
            self._owner.connected(self, self._greeting, rows)
        self._owner.take(status)
        if answer is not None:
            answer.callback(rows)

    def _break_off(self, reason: str) -> None:
        self._reason = reason
        self.transport.abortConnection()
