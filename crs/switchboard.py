"""Runs the Rendezvous machine: connections on one side, storage and relay on the other."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Iterable
from typing import Any, Final

from twisted.application.service import Service
from twisted.internet.defer import Deferred, TimeoutError
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from crs.connection import Connection
from crs.identity import Identity
from crs.relay import interface
from crs.relay.allocation import RelayFull
from crs.relay.interface import RelayAway
from crs.signaling.event import (
    AddNode,
    AllocateRelay,
    AppendItem,
    Ask,
    AttachEvent,
    CloseConnection,
    ConfirmItem,
    DeleteItem,
    Event,
    Failed,
    FetchItems,
    Full,
    ItemChanged,
    LookUp,
    MessageEvent,
    MultiSession,
    Node,
    Offence,
    ReadBlob,
    Relays,
    ReleaseRelay,
    RemoveNode,
    Result,
    SaveClients,
    SaveCounts,
    SessionEvent,
    StoreItem,
    Trace,
    Wanted,
)
from crs.signaling.group import Room
from crs.signaling.message import Relay, RelayKind
from crs.signaling.rendezvous import CLOSE_REMOVED, CLOSE_SHUTDOWN, Rendezvous
from crs.storage import Storage
from rtlib.driver import Driver
from rtlib.offence import OffenceLog
from rtlib.store import StoreAway, StoreError

log = Logger()

STOP_TIME: Final = 1.3
"""Seconds that connections and pending work get when the server stops."""


class Switchboard(Service):
    """The `Receiver` of all connections, and the machine's hands."""

    def __init__(
        self,
        machine: Rendezvous,
        storage: Storage,
        relay: interface.Relay,
        clock: IReactorTime,
        *,
        offences: OffenceLog,
        is_account: Callable[[str], bool],
        on_trace: Callable[[Trace], None],
        on_object: Callable[[Identity, str], None],
        read_blob: Callable[[Identity, str], Awaitable[Result]],
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        """`clock` wakes us; `now` is the machine's clock; `read_blob(client, month)` is for ReadBlob."""
        self.machine = machine
        self._storage = storage
        self._relay = relay
        self._clock = clock
        self._now = now
        self._offences = offences
        self._is_account = is_account
        self._numbers: dict[Connection, int] = {}
        self._connections: dict[int, Connection] = {}
        self._received: list[tuple[bytes, int]] = []
        self._next = 1
        self._quiet: Deferred[None] | None = None
        self._work: dict[type[Ask], Callable[[Any], Awaitable[Result]]] = {
            SaveClients: lambda ask: storage.save(ask.records),
            SaveCounts: lambda ask: storage.save_counts(ask.records),
            AppendItem: lambda ask: storage.append(ask.item),
            ConfirmItem: lambda ask: storage.confirm(ask.mailbox, ask.id, ask.receipt),
            FetchItems: lambda ask: storage.fetch(ask.mailbox, ask.limit, ask.after),
            StoreItem: lambda ask: storage.state.put(ask.client, ask.kind, ask.name, ask.value),
            DeleteItem: lambda ask: storage.state.remove(ask.client, ask.kind, ask.name),
            ReadBlob: lambda ask: read_blob(ask.client, ask.month),
            LookUp: lambda ask: storage.state.look_up(ask.client, ask.kind, ask.name),
            AllocateRelay: self._allocate,
            AddNode: self._add_node,
        }
        self._notices: dict[type[Event], Callable[[Any], None]] = {
            CloseConnection: self._close,
            ReleaseRelay: lambda notice: relay.release(notice.group),
            RemoveNode: lambda notice: relay.remove_node(notice.group, notice.identifier),
            Offence: self._offence,
            ItemChanged: lambda notice: on_object(notice.client, notice.what),
            AttachEvent: on_trace,
            SessionEvent: on_trace,
            MultiSession: on_trace,
            MessageEvent: on_trace,
        }
        self._driver: Driver[int, Event] = Driver(machine, clock, self._send, self._event, now)
        relay.on_idle = self._idle

    @property
    def connections(self) -> int:
        """How many clients are connected, attached or not."""
        return len(self._connections)

    @property
    def offences(self) -> OffenceLog:
        """What clients and strangers did wrong."""
        return self._offences

    def stopService(self) -> Deferred[None]:
        """End all calls, save, and give clients a moment to hear of it."""
        super().stopService()
        return Deferred.fromCoroutine(self._stop())

    def opened(self, connection: Connection) -> None:
        """A client has connected."""
        if self._quiet is not None:
            connection.close(CLOSE_SHUTDOWN, "shutdown")
            return
        if not self._is_account(connection.identity.account):
            # It was deleted while this client's handshake was under way.
            connection.close(CLOSE_REMOVED, "removed")
            return
        number = self._next
        self._next += 1
        self._numbers[connection] = number
        self._connections[number] = connection
        now = self._now()
        self.machine.connected(number, connection.identity, connection.host, connection.port, now)
        self._driver.flush()

    def received(self, connection: Connection, data: bytes) -> None:
        """One message of a client."""
        number = self._numbers.get(connection)
        if number is not None:
            self._received.append((data, number))

    def flush(self) -> None:
        """Have the machine work on what was received."""
        if self._received:
            received, self._received = self._received, []
            self._driver.receive(received)

    def closed(self, connection: Connection) -> None:
        """A connection is gone, after what it has sent."""
        self.flush()
        number = self._numbers.pop(connection, None)
        if number is not None:
            del self._connections[number]
            self.machine.disconnected(number, self._now())
            self._driver.flush()
            self._check_quiet()

    def offended(self, kind: str, host: str, reason: str) -> None:
        """Count what somebody did wrong; log it, but not each time."""
        if self._offences.count(kind, host, self._now()):
            log.info("{kind} from {host}: {reason}", kind=kind, host=host, reason=reason)

    def offer(self, clients: Iterable[Identity]) -> None:
        """Tell those that are attached of updates that they have not confirmed."""
        self.machine.offers.announce(clients)
        self._driver.flush()

    async def remove_account(self, account: str) -> None:
        """Drop the clients of a deleted account, and all that is kept of them. Raises StoreError."""
        clients = self.machine.remove_account(account, self._now())
        self._driver.flush()
        await self._storage.forget(clients)
        await self._storage.forget_account(account)

    def close_room(self, room: Room) -> None:
        """A conference room is no more: its call ends."""
        self.machine.close_room(room, self._now())
        self._driver.flush()

    async def _stop(self) -> None:
        self.machine.shutdown(self._now(), keep_talks=self._relay.survives)
        self._driver.flush()
        self._quiet = Deferred()
        quiet = self._quiet.addTimeout(STOP_TIME, self._clock)
        self._check_quiet()
        try:
            await quiet
        except TimeoutError:
            log.warn("{count} clients did not close their connection in time", count=len(self._connections))
        self._driver.stop()

    def _check_quiet(self) -> None:
        """Stopping ends early once nobody is connected and everything asked is done."""
        quiet = self._quiet
        if quiet is not None and not quiet.called and not self._connections and not self.machine.pending:
            quiet.callback(None)

    def _send(self, batch: list[tuple[bytes, int]]) -> None:
        for data, number in batch:
            connection = self._connections.get(number)
            if connection is not None:
                connection.send(data)

    def _event(self, event: Event) -> None:
        notice = self._notices.get(type(event))
        if notice is not None:
            notice(event)
        elif isinstance(event, Ask):
            Deferred.fromCoroutine(self._do(event))

    async def _do(self, ask: Ask) -> None:
        """Do what the machine asks; it gets an answer whatever happens."""
        try:
            result: Result = await self._work[type(ask)](ask)
        except StoreAway:
            # The store itself logs that once, and when it is back.
            result = Failed("the server's storage is away; try again later")
        except StoreError as error:
            log.warn("{ask}: {error}", ask=type(ask).__name__, error=error)
            result = Failed("the server's storage cannot do this now; try again later")
        except Exception:  # noqa: BLE001  the machine would wait for its answer forever
            log.failure("{ask} failed", ask=type(ask).__name__)
            result = Failed("the server had an internal error")
        self.machine.completed(ask.token, result, self._now())
        self._driver.flush()
        self._check_quiet()

    async def _allocate(self, ask: AllocateRelay) -> Result:
        caller: list[Relay] = []
        callee: list[Relay] = []
        try:
            for wanted in ask.streams:
                [(first, second)] = self._relay.allocate(wanted.group, [wanted.kind.value])
                caller.append(self._leg(wanted, first))
                callee.append(self._leg(wanted, second))
        except RelayFull as error:
            for wanted in ask.streams[: len(caller)]:
                self._relay.release(wanted.group)
            return Full(str(error))
        except RelayAway as error:
            return Failed(str(error))
        return Relays(tuple(caller), tuple(callee))

    async def _add_node(self, ask: AddNode) -> Result:
        wanted = Wanted(ask.group, 0, RelayKind.opaque_multicast)
        try:
            if ask.first:
                self._relay.allocate_multicast(ask.group, wanted.kind.value)
            return Node(self._leg(wanted, self._relay.add_node(ask.group)))
        except RelayFull as error:
            return Full(str(error))
        except RelayAway as error:
            return Failed(str(error))
        except KeyError:
            return Failed("the group has no relay any more")

    def _leg(self, wanted: Wanted, ticket: interface.LegTicket) -> Relay:
        return Relay(
            stream=wanted.number,
            kind=wanted.kind,
            host="",
            port=self._relay.port,
            identifier=ticket.identifier,
            peer=ticket.peer,
            key=ticket.key,
        )

    def _close(self, notice: CloseConnection) -> None:
        connection = self._connections.get(notice.connection)
        if connection is not None:
            connection.close(notice.code, notice.reason)

    def _offence(self, notice: Offence) -> None:
        self.offended(notice.kind, notice.host, f"{notice.client}: {notice.reason}")

    def _idle(self, group: int) -> None:
        known = self.machine.relay_idle(group, self._now())
        self._driver.flush()
        if not known:
            # It would be a leak; releasing twice does no harm.
            self._relay.release(group)
