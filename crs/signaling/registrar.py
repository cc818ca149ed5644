"""Attaches and detaches clients: who may, the newest connection wins, and a lost one can be resumed.

A client that has asked for it and loses its connection is *suspended* for a grace period: its
calls and its mailbox's window stay, and what it would be told is kept. When it comes back with
its token it gets what it missed, exactly once; else it is attached anew and told where it is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from itertools import count
from typing import Final

from crs.identity import Identity
from crs.signaling import message
from crs.signaling.attachment import AttachmentTable, Connection
from crs.signaling.calls import Calls
from crs.signaling.directory import Directory
from crs.signaling.event import AttachEvent, CloseConnection, Offence
from crs.signaling.exchange import GRACE
from crs.signaling.group import Room
from crs.signaling.message import ErrorCode
from crs.signaling.offers import Offers, Shop, nothing
from crs.signaling.outlet import Outlet
from crs.signaling.postoffice import PostOffice
from crs.signaling.replay import Replay
from crs.signaling.ticket import Sealer, Ticket

CLOSE_SUPERSEDED: Final = 4000
CLOSE_UNREGISTERED: Final = 4002
"""WebSocket close codes (RFC 6455 section 7.4.2); docs/crs-protocol.md says how a client reacts."""


def _nobody(_client: Identity) -> None:
    """Why a client is denied: it is not."""


def _never(_client: Identity, _host: str) -> None:
    """After how many seconds an unregistered connection is closed: it is kept."""


def _same(one: str, other: str) -> bool:
    """Which accounts are connected: each with itself."""
    return one == other


def _no_rooms(_number: str) -> Iterable[Room]:
    """Which conference rooms there are: none."""
    return ()


@dataclass(frozen=True)
class Policy:
    """What the operator has decided about clients, and what the accounts' updates hold for them."""

    denial: Callable[[Identity], str | None] = _nobody
    """Why a client may not attach; None if it may."""
    cleanup: Callable[[Identity, str], float | None] = _never
    """Seconds from the end of the registration of a client at an address to the close of its connection;
    None to keep it (manual 4.12).
    """
    is_connected: Callable[[str, str], bool] = _same
    """Whether clients of two accounts may reach each other."""
    rooms: Callable[[str], Iterable[Room]] = _no_rooms
    """The conference rooms of a number, in all accounts."""
    offered: Shop = nothing
    """The parts of updates that there are for a client now."""


@dataclass(frozen=True)
class Identification:
    """What a client is told of this server."""

    name: str
    """Name and version."""
    instance: str
    """This run of it."""
    wall: Callable[[], float]
    """UTC seconds since 1970."""


class Registrar:
    """Serves attach, detach and seen, and knows what follows when a connection is lost."""

    def __init__(
        self,
        server: Identification,
        policy: Policy,
        sealer: Sealer,
        outlet: Outlet,
        *,
        attachments: AttachmentTable,
        directory: Directory,
        calls: Calls,
        post_office: PostOffice,
        offers: Offers,
    ) -> None:
        self._server = server
        self._policy = policy
        self._sealer = sealer
        self._outlet = outlet
        self._attachments = attachments
        self._directory = directory
        self._calls = calls
        self._post_office = post_office
        self._offers = offers
        self._serials = count(1)
        self.resumed = 0
        """How many attachments went on over another connection."""

    def attach(self, connection: Connection, request: message.Attach, now: float) -> None:
        """Register a connection, at once where it resumes an attachment, else once that is durable."""
        if connection.attaching is not None:
            reason = "an attach is under way already"
            self._outlet.refuse(connection.number, request.id, ErrorCode.conflict, reason)
            return
        connection.version = request.version
        denial = self._policy.denial(connection.client)
        if denial is not None:
            self._deny(connection, request.id, denial, now)
        elif request.resume is None or not self._resume(connection, request.id, request.resume, now):
            self._observe(connection, request, now)

    def detach(self, connection: Connection, request: message.Detach, now: float) -> None:
        """Unregister a connection, which stays open."""
        attaching, connection.attaching = connection.attaching, None
        if attaching is not None:
            reason = "detached before the attach was complete"
            self._outlet.refuse(connection.number, attaching, ErrorCode.not_attached, reason)
        # The reply belongs to the attachment that it ends.
        self._outlet.send(connection.number, message.Ok(id=request.id))
        if self.unregister(connection, "detached by the client", now):
            self._clean_up(connection, now)

    def seen(self, connection: Connection, request: message.Seen, now: float) -> None:
        """The client has what it was sent so far."""
        if connection.replay is None:
            reason = "this attachment is not resumable"
            self._outlet.refuse(connection.number, request.id, ErrorCode.wrong_state, reason)
        elif not connection.replay.seen(request.count):
            reason = f"count: only {connection.replay.sent} messages were sent"
            self._outlet.refuse(connection.number, request.id, ErrorCode.bad_message, reason)
        else:
            self._outlet.send(connection.number, message.Ok(id=request.id))

    def deny(self, client: Identity, now: float) -> None:
        """A client may be attached no longer, which the policy says from now on."""
        self._forget(self._attachments.find_suspended(client))
        connection = self._attachments.find(client)
        if connection is not None:
            self._outlet.send(connection.number, message.Detached(reason="denied"))
            self.unregister(connection, "denied", now)
            self._tell(connection, "denied", self._policy.denial(client) or "")
            self._clean_up(connection, now)

    def lost(self, connection: Connection, now: float) -> None:
        """A connection is gone: its attachment ends, or is suspended."""
        if connection.attached_at is None or connection.replay is None:
            connection.keep()
            self.unregister(connection, "connection closed", now)
            self._attachments.remove(connection)
            return
        self._attachments.suspend(connection)
        self._calls.detached(connection, now)
        self._tell(connection, "unregistered", "connection closed")
        connection.ending = self._outlet.at(now + GRACE, partial(self._stayed_away, connection))

    def unregister(self, connection: Connection, description: str, now: float) -> bool:
        """End a registration for good; False if there was none."""
        if connection.link is None:
            self._forget(connection)
            return False
        if not self._attachments.detach(connection):
            return False
        self._post_office.detached(connection)
        self._calls.detached(connection, now)
        self._tell(connection, "unregistered", description)
        return True

    def close(self, connection: Connection, code: int, reason: str) -> None:
        """Close a connection, which is not registered any more."""
        connection.keep()
        connection.closing = True
        if connection.link is not None:
            self._outlet.tell(CloseConnection(connection.link, code, reason))

    def _observe(self, connection: Connection, request: message.Attach, now: float) -> None:
        connection.attaching = request.id

        def observed(problem: str | None, now: float) -> None:
            if connection.attaching != request.id or connection.closing:
                return
            connection.attaching = None
            if problem is not None:
                self._outlet.refuse(connection.number, request.id, ErrorCode.unavailable, problem)
            elif connection.link is not None:
                self._register(connection, request, now)

        self._directory.observe(connection.client, observed, now)

    def _register(self, connection: Connection, request: message.Attach, now: float) -> None:
        client = connection.client
        connection.keep()
        self._forget(self._attachments.find_suspended(client))
        older = self._attachments.find(client)
        if older is not None:
            self._supersede(older, connection, now)
        self._attachments.attach(connection, now)
        resumable = request.resumable or request.resume is not None
        replay = Replay(next(self._serials)) if resumable else None
        self._welcome(connection, request.id, replay, resumed=False)
        connection.replay = replay
        self._tell(connection, "registered", connection.version)
        self._calls.attached(connection, now)
        self._post_office.attached(connection, now)
        self._offers.attached(connection)

    def _welcome(self, connection: Connection, request: int, replay: Replay | None, *, resumed: bool) -> None:
        """The reply to an attach, which is not counted among the messages of the attachment."""
        client, server = connection.client, self._server
        token = None
        if replay is not None:
            ticket = Ticket(server.instance, client.uri, client.account, replay.serial)
            token = self._sealer.seal(ticket)
        attached = message.Attached(
            id=request,
            uri=client.uri,
            account=client.account,
            server=server.name,
            instance=server.instance,
            time=server.wall(),
            token=token,
            resumed=resumed,
            received=replay.received if replay is not None else 0,
        )
        assert connection.link is not None
        self._outlet.send_over(connection.link, message.encode(attached))

    def _resume(self, newer: Connection, request: int, resume: message.Resume, now: float) -> bool:
        """Go on with an attachment over this connection; False if that cannot be."""
        if newer.attached_at is not None:
            return False
        connection = self._resumable(newer, resume)
        if connection is None or connection.replay is None:
            return False
        missed = connection.replay.since(resume.received)
        if missed is None:
            return False
        connection.keep()
        newer.keep()
        connection.version = newer.version
        former = self._attachments.resume(connection, newer, now)
        connection.replay.seen(resume.received)
        self._welcome(connection, request, connection.replay, resumed=True)
        assert connection.link is not None
        for data in missed:
            self._outlet.send_over(connection.link, data)
        if former is not None:
            self._outlet.tell(CloseConnection(former, CLOSE_SUPERSEDED, "superseded"))
        self._resumed(connection, now)
        return True

    def _resumable(self, newer: Connection, resume: message.Resume) -> Connection | None:
        """The connection whose attachment the token is of."""
        client = newer.client
        ticket = self._sealer.open(resume.token)
        if ticket is None or (ticket.uri, ticket.account) != client:
            reason = "a resume token that is not ours, or another client's"
            self._outlet.tell(Offence("bad resume token", newer.host, client, reason))
            return None
        connection = self._attachments.find(client) or self._attachments.find_suspended(client)
        if connection is None or connection.replay is None:
            return None
        same = (ticket.instance, ticket.serial) == (self._server.instance, connection.replay.serial)
        return connection if same else None

    def _resumed(self, connection: Connection, now: float) -> None:
        self.resumed += 1
        self._tell(connection, "registered", f"{connection.version}, resumed")
        self._calls.resumed(connection)
        self._post_office.resumed(connection, now)
        self._offers.attached(connection)

    def _supersede(self, older: Connection, newer: Connection, now: float) -> None:
        """A connection that attaches again is only told anew; another one loses its registration."""
        if older is not newer:
            self._outlet.send(older.number, message.Detached(reason="superseded"))
        self.unregister(older, "superseded", now)
        if older is not newer:
            self.close(older, CLOSE_SUPERSEDED, "superseded")

    def _deny(self, connection: Connection, request: int, reason: str, now: float) -> None:
        if self._attachments.find(connection.client) is not connection:
            self._tell(connection, "denied", reason)
        self.deny(connection.client, now)
        self._outlet.refuse(connection.number, request, ErrorCode.denied, reason)
        self._clean_up(connection, now)

    def _stayed_away(self, connection: Connection, now: float) -> None:
        self._forget(connection)

    def _forget(self, connection: Connection | None) -> None:
        """End the attachment of a suspended connection; its calls have their own grace period."""
        if connection is not None:
            connection.keep()
            connection.replay = None
            self._post_office.detached(connection)
            self._attachments.remove(connection)

    def _clean_up(self, connection: Connection, now: float) -> None:
        """Close a connection that is not registered, after its delay; by default it is kept (manual 4.12)."""
        delay = self._policy.cleanup(connection.client, connection.host)
        if delay is not None and connection.ending is None:
            connection.ending = self._outlet.at(now + delay, partial(self._cleaned_up, connection))

    def _cleaned_up(self, connection: Connection, now: float) -> None:
        self.close(connection, CLOSE_UNREGISTERED, "not registered")

    def _tell(self, connection: Connection, state: str, description: str) -> None:
        self._outlet.tell(
            AttachEvent(
                connection.number, connection.client, connection.host, connection.port, state, description
            )
        )
