"""The relay's end of the control connection: carries out what crs says, and outlives it.

Allocations stay while crs is away. Those of an earlier instance of crs, whose calls nobody can end any more,
are released when they are idle, and at the latest ABANDONED seconds after it left.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final, TypeAlias

import msgspec
from twisted.application.service import Service
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IAddress, IDelayedCall, IReactorTime
from twisted.internet.protocol import Factory, connectionDone
from twisted.internet.task import LoopingCall
from twisted.logger import Logger
from twisted.protocols.basic import Int32StringReceiver
from twisted.protocols.policies import TimeoutMixin
from twisted.python.failure import Failure

from crs.relay import control
from crs.relay.allocation import KINDS, Allocation, Leg, RelayFull
from crs.relay.interface import RemoteEnd
from crs.relay.service import RelayService
from rtlib.listen import StreamPort
from rtlib.media.forwarder import FlowCounters

log = Logger()

ABANDONED: Final = 12 * 3600.0
"""Seconds that media of calls which nobody can end may go on."""

LOOK: Final = 60.0
"""Seconds between two looks for those."""

CONNECTIONS: Final = 8
"""One is of crs; others look whether we answer."""


_Command: TypeAlias = control.Add | control.Extend | control.Reduce | control.Release | control.Poll


class RelayControl(Service):
    """Lets one crs at a time command the relay: the newest."""

    def __init__(
        self, relay: RelayService, port: Callable[[Factory], StreamPort], clock: IReactorTime
    ) -> None:
        """`port` makes the service that accepts connections for a factory."""
        self.relay = relay
        relay.on_idle = self._idle
        relay.on_bound = self._bound
        self._factory = _Factory(self, clock)
        self._port = port(self._factory)
        self._clock = clock
        self.commander: _Connection | None = None
        self._left: dict[int, float] = {}
        self._look = LoopingCall(self.look)
        self._look.clock = clock

    def startService(self) -> None:
        """Serve media, then take commands."""
        super().startService()
        self.relay.startService()
        self._port.startService()
        self._look.start(LOOK, now=False)

    def stopService(self) -> Deferred[None]:
        """Stop all of that."""
        super().stopService()
        return Deferred.fromCoroutine(self._stop())

    async def _stop(self) -> None:
        if self._look.running:
            self._look.stop()
        await self._port.stopService()
        self._factory.close()
        self.relay.stopService()

    def look(self) -> None:
        """Release what earlier instances left too long ago."""
        now = self._clock.seconds()
        owners = {_instance(group) for group in self.relay.table.groups} - {self._instance}
        self._left = {owner: self._left.get(owner, now) for owner in owners}
        for group in self.relay.table.groups:
            left = self._left.get(_instance(group))
            if left is not None and now - left >= ABANDONED:
                self._give_up(group)

    @property
    def _instance(self) -> int | None:
        """Of the crs that commands, None if there is none."""
        return None if self.commander is None else self.commander.instance

    def begin(self, connection: _Connection) -> None:
        """This one commands from now on: tell it what there is."""
        earlier, self.commander = self.commander, connection
        if earlier is not None:
            earlier.abort()
        log.info("CONNECTION of crs, instance {instance}", instance=connection.instance)
        self.look()
        legs = [leg for allocation in self.relay.table for leg in allocation.legs if leg.counter >= 0]
        for start in range(0, len(legs), control.ROWS):
            self._bound(legs[start : start + control.ROWS])
        self.answer(connection, control.Poll(0, resources=True))

    def end(self, connection: _Connection) -> None:
        """It has gone."""
        if connection is self.commander:
            self.commander = None
            log.info("CLOSE of crs, instance {instance}", instance=connection.instance)
            self.look()

    def carry_out(self, command: _Command, connection: _Connection) -> None:
        """Do what crs says. Raises KeyError, ValueError, RelayFull."""
        relay = self.relay
        match command:
            case control.Poll():
                log.info("Command poll")
                self.answer(connection, command)
            case control.Add():
                self._add(command)
            case control.Extend():
                relay.adopt_leg(command.group, command.beside, self._leg(command.leg))
            case control.Reduce():
                relay.remove_node(command.group, command.identifier)
            case control.Release():
                relay.release(command.group)

    def _add(self, command: control.Add) -> None:
        if command.kind not in KINDS:
            raise ValueError(f"there are no relays of type {command.kind}")
        log.info(
            "Command add: {kind}, identifiers {identifiers}",
            kind=command.kind,
            identifiers=", ".join(str(leg.identifier) for leg in command.legs) or "none yet",
        )
        self.relay.adopt(command.group, command.kind, [self._leg(leg) for leg in command.legs])

    def answer(self, connection: _Connection, poll: control.Poll) -> None:
        """Tell how the relay does, once that is known."""
        answering = Deferred.fromCoroutine(self._answer(connection, poll))
        answering.addErrback(lambda failure: log.failure("a poll was not answered", failure))

    async def _answer(self, connection: _Connection, poll: control.Poll) -> None:
        statistics = await self.relay.statistics()
        flows = await self.relay.survey() if poll.resources else {}
        # From here on nothing comes between: rows belong to the status behind them.
        rows = [self._row(allocation, counters) for allocation, counters in flows.items()]
        for start in range(0, len(rows), control.ROWS):
            connection.tell(control.Rows(rows[start : start + control.ROWS]))
        connection.tell(
            control.Status(
                number=poll.number,
                kinds={kind: list(counters) for kind, counters in statistics.kinds.items()},
                port=list(statistics.port),
                binds=dict(statistics.binds),
                in_use=dict(statistics.in_use),
                offences=dict(statistics.offences),
            )
        )

    def greeting(self) -> control.Greeting:
        """What every connection is told first."""
        relay = self.relay
        return control.Greeting(control.VERSION, relay.port, relay.is_ipv6, dict(relay.table.limits))

    def _row(self, allocation: Allocation, flows: Sequence[FlowCounters]) -> control.Row:
        kind, nodes, active, identifiers = self.relay.resource(allocation, flows)
        return control.Row(allocation.group, kind, nodes, active, list(identifiers))

    def _leg(self, state: control.LegState) -> Leg:
        if state.host:
            return self.relay.far_leg(RemoteEnd(state.host, state.port, state.identifier))
        if not state.key:
            raise ValueError(f"the leg {state.identifier} has neither key nor address")
        return Leg(state.identifier, state.key, counter=state.counter)

    def _bound(self, legs: Sequence[Leg]) -> None:
        if self.commander is not None:
            self.commander.tell(control.Bound([(leg.identifier, leg.counter) for leg in legs]))

    def _idle(self, group: int) -> None:
        if self.commander is not None and _instance(group) == self.commander.instance:
            self.commander.tell(control.Idle(group))
        else:
            self._give_up(group)

    def _give_up(self, group: int) -> None:
        self.relay.release(group)
        if self.commander is not None:
            self.commander.tell(control.Gone(group))


class _Factory(Factory):
    noisy = False

    def __init__(self, owner: RelayControl, clock: IReactorTime) -> None:
        self._owner = owner
        self._clock = clock
        self._connections: set[_Connection] = set()

    def buildProtocol(self, addr: IAddress | None) -> _Connection | None:
        """A connection, or None (it is closed) when there are too many."""
        if len(self._connections) >= CONNECTIONS:
            log.warn("too many control connections")
            return None
        connection = _Connection(self._owner, self._clock, self._connections.discard)
        self._connections.add(connection)
        return connection

    def close(self) -> None:
        """End all connections."""
        for connection in list(self._connections):
            connection.abort()


class _Connection(Int32StringReceiver, TimeoutMixin):
    """One crs; until its hello, somebody who looks whether we answer."""

    MAX_LENGTH = control.MAX_FRAME
    transport: Any

    def __init__(
        self, owner: RelayControl, clock: IReactorTime, forget: Callable[[_Connection], None]
    ) -> None:
        self.instance: int | None = None
        self._owner = owner
        self._forget = forget
        self._clock = clock

    def callLater(self, period: float, function: Callable[[], None]) -> IDelayedCall:
        """What the timeout runs on."""
        return self._clock.callLater(period, function)

    def connectionMade(self) -> None:
        """Greet."""
        self.setTimeout(control.SILENCE)
        self.tell(self._owner.greeting())

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """The other end has gone."""
        self.setTimeout(None)
        self._forget(self)
        self._owner.end(self)

    def stringReceived(self, data: bytes) -> None:
        """Take one message."""
        self.resetTimeout()
        try:
            command = control.decode_from_crs(data)
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            self._break_off(str(error))
            return
        if isinstance(command, control.Hello):
            self._hello(command)
        elif self.instance is None:
            self._break_off("there was no hello")
        else:
            self._carry_out(command)

    def lengthLimitExceeded(self, length: int) -> None:
        """Refuse a message that would be too long."""
        self._break_off(f"a message of {length} bytes")

    def timeoutConnection(self) -> None:
        """Nothing was heard for too long."""
        self._break_off("it says nothing")

    def tell(self, message: control.FromRelay) -> None:
        """Send one message."""
        self.sendString(control.encode(message))

    def abort(self) -> None:
        """Close at once."""
        self.setTimeout(None)
        self.transport.abortConnection()

    def _hello(self, hello: control.Hello) -> None:
        if hello.version != control.VERSION:
            self._break_off(f"it speaks version {hello.version} of the control protocol")
        elif self.instance is not None or not 0 < hello.instance < 1 << 31:
            self._break_off("a hello that cannot be")
        else:
            self.instance = hello.instance
            self._owner.begin(self)

    def _carry_out(self, command: _Command) -> None:
        try:
            self._owner.carry_out(command, self)
        except (KeyError, ValueError, RelayFull) as error:
            log.warn("a command of crs was refused: {error}", error=error)
            if not isinstance(command, control.Poll):
                self.tell(control.Refused(command.group, str(error)))

    def _break_off(self, reason: str) -> None:
        log.warn("a control connection was closed: {reason}", reason=reason)
        self.abort()


def _instance(group: int) -> int:
    return group >> control.INSTANCE_BITS
