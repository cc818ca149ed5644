"""The Rendezvous machine: all clients of this server, their attachments, calls and mailboxes. Sans-IO.

Sources are connection numbers, given by whoever accepts connections. The five verbs are those
of `rtlib.machine`; the others tell it of connections and of work it has asked for.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, Final

import msgspec

from crs.identity import Identity
from crs.signaling import message
from crs.signaling.attachment import AttachmentTable, Connection, connect
from crs.signaling.directory import Directory
from crs.signaling.event import AttachEvent, CloseConnection, Event, Offence, Result
from crs.signaling.exchange import Exchange
from crs.signaling.message import EndReason, ErrorCode
from crs.signaling.outlet import Outlet
from crs.signaling.postoffice import PostOffice

CLOSE_POLICY: Final = 1008
CLOSE_SUPERSEDED: Final = 4000
CLOSE_SHUTDOWN: Final = 4001
CLOSE_UNREGISTERED: Final = 4002
CLOSE_REMOVED: Final = 4003
"""WebSocket close codes (RFC 6455 section 7.4.2); docs/crs-protocol.md says how a client reacts."""

_ATTACH_FIRST: Final = "attach first, and wait for the reply"
_UNDECODABLE: Final = (msgspec.MsgspecError, ValueError, RecursionError, OverflowError)


class _Numbered(msgspec.Struct):
    """The id of a message that is otherwise wrong."""

    id: message.RequestId


_decode_number: Final = msgspec.msgpack.Decoder(_Numbered).decode


def _nobody(_client: Identity) -> None:
    """Why a client is denied: it is not."""


def _never(_client: Identity, _host: str) -> None:
    """After how many seconds an unregistered connection is closed: it is kept."""


class Rendezvous:
    """Serves `crs.v1` to any number of connections. `server` is the name and version told to clients."""

    def __init__(
        self,
        server: str,
        wall: Callable[[], float],
        *,
        denial: Callable[[Identity], str | None] = _nobody,
        cleanup: Callable[[Identity, str], float | None] = _never,
    ) -> None:
        """`denial` tells why a client may not attach, if so. `cleanup` tells, for a client and its address,
        how many seconds after the end of its registration a connection is closed (manual 4.12).
        """
        self._server = server
        self._wall = wall
        self._denial = denial
        self._cleanup = cleanup
        self._outlet = Outlet()
        self.attachments = AttachmentTable()
        self.directory = Directory(self._outlet)
        self.exchange = Exchange(self._outlet, self.attachments, self.directory)
        self.post_office = PostOffice(self._outlet, self.attachments, self.directory, wall)
        self._handlers: dict[type, Callable[[Connection, Any, float], None]] = {
            message.Attach: self._attach,
            message.Detach: self._detach,
            message.Invite: self.exchange.invite,
            message.Ringing: self.exchange.ringing,
            message.Answer: self.exchange.answer,
            message.Hangup: self.exchange.hangup,
            message.Post: self.post_office.post,
            message.Ack: self.post_office.ack,
        }

    def connected(self, number: int, client: Identity, host: str, port: int, now: float) -> None:
        """A client has proven who it is; numbers are never used twice."""
        self.attachments.add(connect(number, client, host, port, now))

    def disconnected(self, number: int, now: float) -> None:
        """A connection is gone; nothing happens if it was never announced."""
        connection = self.attachments.get(number)
        if connection is not None:
            connection.keep()
            self._unregister(connection, "connection closed", now)
            self.attachments.remove(number)

    def receive(self, data: bytes, source: int, now: float) -> None:
        """Take one message of a client; what is wrong with it is answered."""
        connection = self.attachments.get(source)
        if connection is None or connection.closing:
            return
        try:
            request: message.ClientMessage | None = message.decode_client_message(data)
        except _UNDECODABLE as error:
            request, problem = None, str(error)
        if not connection.requests.take(now):
            self._over_limit(connection, _number(data) if request is None else request.id, now)
            return
        if request is None:
            self._bad_message(connection, data, problem)
        elif connection.attached_at is None and not isinstance(request, message.Attach | message.Detach):
            self._outlet.refuse(source, request.id, ErrorCode.not_attached, _ATTACH_FIRST)
        else:
            self._handlers[type(request)](connection, request, now)

    def to_send(self, now: float) -> list[tuple[bytes, int]]:
        """What is to be sent, without that for connections that are gone."""
        return [(data, number) for data, number in self._outlet.take_sends() if number in self.attachments]

    def get_timer(self) -> float | None:
        """When `handle_timer` wants to be called."""
        return self._outlet.get_timer()

    def handle_timer(self, now: float) -> None:
        """Let time pass: unanswered calls, lost parties, counters to be saved."""
        self._outlet.expire(now)

    def next_event(self) -> Event | None:
        """The oldest event not handed out yet."""
        return self._outlet.next_event()

    def completed(self, token: int, result: Result, now: float) -> None:
        """The result of an ask; a token that waits for nothing is ignored."""
        self._outlet.completed(token, result, now)

    def relay_idle(self, group: int, now: float) -> None:
        """The relays of this group have seen no packet for too long: its call is dead."""
        self.exchange.relay_idle(group, now)

    @property
    def pending(self) -> int:
        """How many asks wait for their completion."""
        return self._outlet.pending

    def remove_account(self, account: str, now: float) -> list[Identity]:
        """An account was deleted: end its calls, drop its clients. Returns those to delete from the store."""
        self.exchange.end_all(EndReason.hangup, now, account)
        for connection in self.attachments:
            if connection.client.account == account and not connection.closing:
                self._outlet.send(connection.number, message.Detached(reason="removed"))
                self._unregister(connection, "account deleted", now)
                self._close(connection, CLOSE_REMOVED, "removed")
        return self.directory.forget(account)

    def deny(self, client: Identity, now: float) -> None:
        """A client may be attached no longer, which `denial` says from now on; its calls are lost."""
        connection = self.attachments.find(client)
        if connection is not None:
            self._outlet.send(connection.number, message.Detached(reason="denied"))
            self._unregister(connection, "denied", now)
            self._tell(connection, "denied", self._denial(client) or "")
            self._clean_up(connection, now)

    def shutdown(self, now: float) -> None:
        """End all calls, save all counters, close all connections; what comes in afterwards is ignored."""
        self.exchange.end_all(EndReason.shutdown, now)
        for connection in self.attachments:
            self._unregister(connection, "shutdown", now)
            self._close(connection, CLOSE_SHUTDOWN, "shutdown")
        self.directory.save(now)

    def _attach(self, connection: Connection, request: message.Attach, now: float) -> None:
        if connection.attaching is not None:
            reason = "an attach is under way already"
            self._outlet.refuse(connection.number, request.id, ErrorCode.conflict, reason)
            return
        denial = self._denial(connection.client)
        if denial is not None:
            self._deny(connection, request.id, denial, now)
            return
        connection.attaching = request.id
        connection.version = request.version

        def observed(problem: str | None, now: float) -> None:
            if connection.attaching != request.id or connection.closing:
                return
            connection.attaching = None
            if problem is not None:
                self._outlet.refuse(connection.number, request.id, ErrorCode.unavailable, problem)
            elif connection.number in self.attachments:
                self._register(connection, request.id, now)

        self.directory.observe(connection.client, observed, now)

    def _deny(self, connection: Connection, request: int, reason: str, now: float) -> None:
        self.deny(connection.client, now)
        self._outlet.refuse(connection.number, request, ErrorCode.denied, reason)
        self._tell(connection, "denied", reason)
        self._clean_up(connection, now)

    def _register(self, connection: Connection, request: int, now: float) -> None:
        client = connection.client
        connection.keep()
        older = self.attachments.find(client)
        if older is not None:
            self._supersede(older, connection, now)
        self.attachments.attach(connection, now)
        attached = message.Attached(
            id=request, uri=client.uri, account=client.account, server=self._server, time=self._wall()
        )
        self._outlet.send(connection.number, attached)
        self._tell(connection, "registered", connection.version)
        self.exchange.attached(connection, now)
        self.post_office.attached(connection, now)

    def _supersede(self, older: Connection, newer: Connection, now: float) -> None:
        """A connection that attaches again is only told anew; another one loses its registration."""
        self._unregister(older, "superseded", now)
        if older is not newer:
            self._outlet.send(older.number, message.Detached(reason="superseded"))
            self._close(older, CLOSE_SUPERSEDED, "superseded")

    def _detach(self, connection: Connection, request: message.Detach, now: float) -> None:
        attaching, connection.attaching = connection.attaching, None
        if attaching is not None:
            reason = "detached before the attach was complete"
            self._outlet.refuse(connection.number, attaching, ErrorCode.not_attached, reason)
        if self._unregister(connection, "detached by the client", now):
            self._clean_up(connection, now)
        self._outlet.send(connection.number, message.Ok(id=request.id))

    def _clean_up(self, connection: Connection, now: float) -> None:
        """Close a connection that is not registered, after its delay; by default it is kept (manual 4.12)."""
        delay = self._cleanup(connection.client, connection.host)
        if delay is not None and connection.cleanup is None:
            connection.cleanup = self._outlet.at(now + delay, partial(self._cleaned_up, connection))

    def _cleaned_up(self, connection: Connection, now: float) -> None:
        self._close(connection, CLOSE_UNREGISTERED, "not registered")

    def _unregister(self, connection: Connection, description: str, now: float) -> bool:
        """End a registration; False if there was none."""
        if not self.attachments.detach(connection):
            return False
        self.post_office.detached(connection)
        self.exchange.detached(connection, now)
        self._tell(connection, "unregistered", description)
        return True

    def _tell(self, connection: Connection, state: str, description: str) -> None:
        self._outlet.tell(
            AttachEvent(
                connection.number, connection.client, connection.host, connection.port, state, description
            )
        )

    def _close(self, connection: Connection, code: int, reason: str) -> None:
        connection.keep()
        connection.closing = True
        self._outlet.tell(CloseConnection(connection.number, code, reason))

    def _over_limit(self, connection: Connection, request: int | None, now: float) -> None:
        self._offence(connection, "too many requests", "more than the limit for a client")
        if not connection.patience.take(now):
            self._unregister(connection, "too many requests", now)
            self._close(connection, CLOSE_POLICY, "too many requests")
        else:
            reason = "too many requests in a short time; wait a little"
            self._outlet.refuse(connection.number, request, ErrorCode.limit, reason)

    def _bad_message(self, connection: Connection, data: bytes, problem: str) -> None:
        self._offence(connection, "bad message", problem)
        # msgspec names the constraint and the field: "Expected `bytes` of length <= 32768 - at `$.payload`".
        too_large = problem.startswith("Expected `bytes` of length <=")
        code = ErrorCode.too_large if too_large else ErrorCode.bad_message
        self._outlet.refuse(connection.number, _number(data), code, problem)

    def _offence(self, connection: Connection, kind: str, reason: str) -> None:
        self._outlet.tell(Offence(kind, connection.host, connection.client, reason))


def _number(data: bytes) -> int | None:
    """The request id of a message that could not be decoded, if that much can be read."""
    try:
        return _decode_number(data).id
    except _UNDECODABLE:
        return None
