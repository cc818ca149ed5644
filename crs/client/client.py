"""The client: one connection to a server, its identity's calls and messages."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, Final

from twisted.internet.defer import Deferred, TimeoutError
from twisted.logger import Logger

from crs.client import websocket
from crs.client.call import Call, IncomingCall, OutgoingCall
from crs.client.credentials import Credentials, Server
from crs.client.delivery import Delivery
from crs.client.error import UNDECODABLE, ClientError
from crs.client.exchange import Exchange, ignoring_errors
from crs.client.group import GroupCall
from crs.client.keying import Parties
from crs.client.listener import Listener
from crs.identity import Identity
from crs.signaling import message
from crs.signaling.message import EndReason, Who
from rtlib.outcome import Outcome

VERSION: Final = "crs-client/0.1.0"
"""What `attach` tells the server."""

CLOSE_TIMEOUT: Final = 2.0
"""Seconds that the server may take to close the connection before it is cut off."""

log = Logger()


def new_label() -> str:
    """An id for a session or a message that nobody has used before."""
    return secrets.token_urlsafe(12)


class Client:
    """Connects, attaches, calls, posts; what comes in goes to its Listener."""

    def __init__(
        self,
        reactor: Any,
        server: Server,
        credentials: Credentials,
        listener: Listener | None = None,
        *,
        secret: bytes | None = None,
        version: str = VERSION,
    ) -> None:
        """`secret` is the end-to-end secret shared with whom this client calls; the server never has it."""
        self._reactor = reactor
        self._server = server
        self._listener = listener or Listener()
        self._secret = secret
        self._version = version
        self._link: websocket.Link | None = None
        self._inbox: _Inbox | None = None
        self._host = ""
        """The server's address, where the relay is if a leg names no other; also while it is lost."""
        self._exchange = Exchange(reactor, self._send)
        self._delivery = Delivery(reactor, self._exchange, self._listener)
        self._calls: dict[tuple[str, str], Call] = {}
        self._groups: dict[tuple[str, str], GroupCall] = {}
        self._instance: str | None = None
        self.credentials = credentials
        self.closing = False
        """Whether the connection ends because `close` was called."""
        self.lost: Outcome[ClientError] = Outcome()
        """Why the connection ended, once it has; it never fails."""

    async def connect(self) -> None:
        """Open the connection. Raises Unreachable or Denied."""
        inbox = self._inbox = _Inbox(self)
        self._link = await websocket.connect(self._reactor, self._server, self.credentials, inbox)
        self._host = self._link.host
        self._exchange.open()

    async def attach(self) -> message.Attached:
        """Register for this identity's calls and messages. Raises Refused."""
        version, resume = self._version, self._exchange.journal.resume
        return await self._exchange.attach(
            lambda number: message.Attach(id=number, version=version, resumable=True, resume=resume)
        )

    async def detach(self) -> None:
        """Unregister and stay connected."""
        await self._exchange.ask(lambda number: message.Detach(id=number), message.Ok)
        self._exchange.journal.end()

    async def close(self) -> None:
        """End all calls and the connection, and wait until it is closed."""
        self.closing = True
        for call in list(self._calls.values()):
            await ignoring_errors(call.hangup())
        for group in list(self._groups.values()):
            await ignoring_errors(group.leave())
        if self._link is None:
            return
        self._link.close()
        try:
            await self.lost.wait().addTimeout(CLOSE_TIMEOUT, self._reactor)
        except TimeoutError:
            self._link.abort()
            await self.lost.wait()

    def abort(self) -> None:
        """Cut the connection off, as a lost network does; the server keeps the calls for a while."""
        if self._link is not None:
            self._link.abort()

    async def call(self, to: str, account: str | None = None, streams: int = 1) -> OutgoingCall:
        """Invite somebody and bind the legs; the callee has been told then. Raises ClientError."""
        own = self.credentials
        parties = Parties(new_label(), own.uri, own.account, to, account or own.account)
        call = OutgoingCall(self._reactor, self._exchange, parties, self._secret, streams)
        self._add(call)
        try:
            await call.invite(self._host)
        except ClientError:
            call.finish(EndReason.cancel, Who.caller)
            raise
        return call

    async def open_group(self, to: Sequence[Identity]) -> GroupCall:
        """Begin a group call. Raises ClientError."""
        return await self._grouped(lambda group: group.open(to))

    async def dial(self, room: str, account: str | None = None) -> GroupCall:
        """Enter a conference room. Raises ClientError."""
        return await self._grouped(lambda group: group.dial(room, account))

    async def _grouped(self, enter: Callable[[GroupCall], Coroutine[Any, Any, None]]) -> GroupCall:
        group = self._add_group(new_label(), self.credentials.uri)
        try:
            await enter(group)
        except ClientError:
            group.finish(EndReason.cancel, Who.caller)
            raise
        return group

    async def post(
        self,
        to: str,
        payload: bytes,
        *,
        account: str | None = None,
        label: str | None = None,
        ttl: int | None = None,
        system: bool = False,
    ) -> str:
        """Leave a message; returns its id once it is on the server's disk. Raises Refused or Closed.

        Who repeats a post gives the same `label` again: the message is delivered once. `system` is for what
        software tells software; it is counted apart.
        """
        label = label or new_label()
        await self._exchange.ask(
            lambda number: message.Post(
                id=number, message=label, to=to, account=account, payload=payload, ttl=ttl, system=system
            ),
            message.Posted,
        )
        return label

    async def post_group(
        self,
        to: Sequence[message.Recipient],
        payload: bytes,
        *,
        label: str | None = None,
        ttl: int | None = None,
        system: bool = False,
    ) -> list[message.PostResult]:
        """Leave a message for several clients; what became of it for each, in their order.

        As `post`: who repeats it gives the same `label` again. Raises Refused or Closed.
        """
        label = label or new_label()
        posted = await self._exchange.ask(
            lambda number: message.PostGroup(
                id=number, message=label, to=list(to), payload=payload, ttl=ttl, system=system
            ),
            message.PostedGroup,
        )
        return posted.results

    async def store(self, item: message.Item) -> None:
        """Have the server keep an item, in place of one of its kind and name. Raises Refused or Closed."""
        await self._exchange.ask(lambda number: message.Store(id=number, item=item), message.Ok)

    async def fetch(self, kind: message.ItemKind, name: str = "") -> message.Fetched:
        """An item that was stored, and when. Raises Refused or Closed."""
        return await self._exchange.ask(
            lambda number: message.Fetch(id=number, kind=kind, name=name), message.Fetched
        )

    async def delete(self, kind: message.ItemKind, name: str = "") -> None:
        """Have the server forget an item. Raises Refused or Closed."""
        await self._exchange.ask(lambda number: message.Delete(id=number, kind=kind, name=name), message.Ok)

    async def fetch_update(self, month: str) -> message.Update:
        """This client's part of an update that was offered. Raises Refused or Closed."""
        return await self._exchange.ask(
            lambda number: message.FetchUpdate(id=number, month=month), message.Update
        )

    async def confirm_update(self, update: message.Update) -> None:
        """Tell the server that this is stored, and need not be offered again. Raises Refused or Closed."""
        await self._exchange.ask(
            lambda number: message.ConfirmUpdate(id=number, month=update.month, created=update.created),
            message.Ok,
        )

    def _send(self, data: bytes) -> None:
        if self._link is not None:
            self._link.send(data)

    def _add(self, call: Call) -> None:
        """Keep the call until it has ended."""
        key = (call.parties.caller, call.parties.session)
        self._calls[key] = call
        call.ended.wait().addCallback(lambda _: self._calls.pop(key, None))

    def _add_group(self, session: str, caller: str) -> GroupCall:
        """Keep a group until it has ended for us."""
        key = (caller, session)
        group = GroupCall(
            self._reactor,
            self._exchange,
            session=session,
            caller=caller,
            secret=self._secret,
            host=self._host,
        )
        self._groups[key] = group
        group.ended.wait().addCallback(lambda _: self._groups.pop(key, None))
        return group

    def _own_call(self, session: str) -> OutgoingCall | None:
        call = self._calls.get((self.credentials.uri, session))
        return call if isinstance(call, OutgoingCall) else None

    def _invited(self, event: message.Invited) -> None:
        if (event.caller, event.session) in self._calls:
            return  # the server repeats what it is not sure that a client knows
        own = self.credentials
        parties = Parties(event.session, event.caller, event.account, own.uri, own.account)
        call = IncomingCall(self._reactor, self._exchange, parties, self._secret, event)
        call.host = self._host
        self._add(call)
        self._listener.incoming(call)

    def _rang(self, event: message.Rang) -> None:
        call = self._own_call(event.session)
        if call is not None:
            call.was_ringing()

    def _answered(self, event: message.Answered) -> None:
        call = self._own_call(event.session)
        if call is not None:
            call.was_answered(event.payload)

    def _ended(self, event: message.Ended) -> None:
        key = (event.caller, event.session)
        over = self._calls.get(key) or self._groups.get(key)
        if over is not None:
            over.finish(event.reason, event.who)

    def _change_offered(self, event: message.ChangeOffered) -> None:
        call = self._calls.get((event.caller, event.session))
        change = call.change_offered(event) if call is not None else None
        if change is not None:
            self._listener.changing(change)

    def _change_accepted(self, event: message.ChangeAccepted) -> None:
        call = self._calls.get((event.caller, event.session))
        if call is not None:
            call.change_accepted(event)

    def _change_refused(self, event: message.ChangeRefused) -> None:
        call = self._calls.get((event.caller, event.session))
        if call is not None:
            call.change_refused(event)

    def _group_invited(self, event: message.GroupInvited) -> None:
        known = self._groups.get((event.caller, event.session))
        group = known or self._add_group(event.session, event.caller)
        group.refreshed(event.members)
        if known is None:
            self._listener.group(group)

    def _in_group(self, event: message.InGroup) -> None:
        group = self._groups.get((event.caller, event.session))
        if group is not None:
            group.refreshed(event.members)

    def _member(self, event: message.GroupMember) -> None:
        group = self._groups.get((event.caller, event.session))
        if group is not None:
            group.moved(event.member)

    def _deliver(self, event: message.Deliver) -> None:
        self._delivery.deliver(event)

    def _detached(self, event: message.Detached) -> None:
        self._exchange.journal.end()
        self._listener.detached(event.reason)

    def _offer(self, event: message.Offer) -> None:
        self._listener.offered(event)

    _EVENTS: Final[dict[type[message.Event], Callable[[Client, Any], None]]] = {
        message.Invited: _invited,
        message.Rang: _rang,
        message.Answered: _answered,
        message.Ended: _ended,
        message.ChangeOffered: _change_offered,
        message.ChangeAccepted: _change_accepted,
        message.ChangeRefused: _change_refused,
        message.GroupInvited: _group_invited,
        message.GroupMember: _member,
        message.InGroup: _in_group,
        message.Deliver: _deliver,
        message.Detached: _detached,
        message.Offer: _offer,
    }

    def _received(self, data: bytes) -> None:
        try:
            received: message.ServerMessage | None = message.decode_server_message(data)
        except UNDECODABLE as error:
            log.warn("ignored a message of the server: {error}", error=error)
            received = None
        if isinstance(received, message.Attached):
            self._attached(received)
            return
        due = self._exchange.journal.arrived(len(data))
        if received is not None:
            self._take(received)
        if due:
            Deferred.fromCoroutine(ignoring_errors(self._confirm()))

    async def _confirm(self) -> None:
        """Tell the server what it need not keep for a resumption any more."""
        count = self._exchange.journal.received
        await self._exchange.ask(lambda number: message.Seen(id=number, count=count), message.Ok)

    def _attached(self, attached: message.Attached) -> None:
        """Settle first what was before: whoever waits for the attach goes on with what is left."""
        if self._instance not in (None, attached.instance):
            for call in list(self._calls.values()):
                call.forgotten()
        self._instance = attached.instance
        self._exchange.attached(attached)
        self._exchange.answered(attached)

    def _lose_calls(self) -> None:
        for call in list(self._calls.values()):
            call.finish(EndReason.lost, Who.server)
        for group in list(self._groups.values()):
            group.finish(EndReason.lost, Who.server)

    def _take(self, received: message.ServerMessage) -> None:
        if isinstance(received, message.Reply | message.Error):
            self._exchange.answered(received)
            return
        try:
            self._EVENTS[type(received)](self, received)
        except Exception:  # noqa: BLE001  whatever a listener raises must not close the connection
            log.failure("handling {event}", event=type(received).__name__)

    def _gone(self, reason: ClientError) -> None:
        """The connection is closed: so is everything that needs it."""
        self._link = None
        self._exchange.close(reason)
        self._delivery.stop()
        self._lose_calls()
        self.lost.set(reason)
        self._listener.lost(reason)


class _Inbox:
    """The Receiver of a Client's link: keeps its two methods off the client's public face.

    A link that the client has given up for another one is not listened to any more.
    """

    def __init__(self, client: Client) -> None:
        self._client = client

    def message(self, data: bytes) -> None:
        """One message from the server."""
        if self._client._inbox is self:
            self._client._received(data)

    def lost(self, reason: ClientError) -> None:
        """The connection is gone."""
        if self._client._inbox is self:
            self._client._gone(reason)
