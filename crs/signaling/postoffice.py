"""The post office: takes messages for clients, delivers them, and takes their confirmation.

A post is answered when it is on disk. An item stays in its mailbox until the client confirms
it, so it is delivered at every attach until then; confirming it twice counts once.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Final, NamedTuple

import msgspec

from crs.identity import Identity
from crs.limits import LimitTable
from crs.signaling import message
from crs.signaling.attachment import AttachmentTable, Connection, may_wait
from crs.signaling.directory import Directory
from crs.signaling.event import (
    AppendItem,
    ConfirmItem,
    Done,
    Failed,
    FetchItems,
    Full,
    Items,
    KeptItem,
    MessageEvent,
    NewItem,
    Result,
)
from crs.signaling.mailbox import StoredItem, Window, decode_item, encode_item, item_id
from crs.signaling.message import ErrorCode, Kind
from crs.signaling.outlet import Continuation, Outlet

RETRY: Final = 5.0
"""Seconds after which a mailbox that could not be read is read again."""


class _Confirmation(NamedTuple):
    """An ack that waits for the store."""

    connection: Connection
    window: Window
    request: message.Ack
    item: str


class _Problem(NamedTuple):
    """Why a message is not taken."""

    code: ErrorCode
    reason: str


class _Group:
    """A message to several recipients, until it is known what became of each."""

    def __init__(self, connection: Connection, request: message.PostGroup) -> None:
        self.connection = connection
        self.request = request
        self.results: list[message.PostResult | None] = [None] * len(request.to)


class PostOffice:
    """Serves post, post-group and ack, and delivers to whoever is attached. `wall()` gives UTC seconds."""

    def __init__(
        self,
        outlet: Outlet,
        attachments: AttachmentTable,
        directory: Directory,
        limits: LimitTable,
        wall: Callable[[], float],
    ) -> None:
        self._outlet = outlet
        self._attachments = attachments
        self._directory = directory
        self._limits = limits
        self._wall = wall
        self._windows: dict[int, Window] = {}
        self.unreadable = 0
        """Stored items that could not be decoded and were left out."""

    def post(self, connection: Connection, request: message.Post, now: float) -> None:
        """Put a message into somebody's mailbox."""
        recipient = Identity(request.to, request.account or connection.client.account)
        problem = self._problem(connection, request, recipient)
        if problem is not None:
            self._outlet.refuse(connection.number, request.id, *problem)
        elif may_wait(connection, self._outlet, request.id):
            self._append(
                connection, request, recipient, partial(self._posted, connection, request, recipient)
            )

    def post_group(self, connection: Connection, request: message.PostGroup, now: float) -> None:
        """Put a message into several mailboxes; it counts as that many requests."""
        connection.allowance.requests.charge(len(request.to) - 1)
        connection.address.requests.charge(len(request.to) - 1)
        if may_wait(connection, self._outlet, request.id):
            group = _Group(connection, request)
            for index, each in enumerate(request.to):
                recipient = Identity(each.uri, each.account or connection.client.account)
                problem = self._problem(connection, request, recipient)
                if problem is not None:
                    self._settle(group, index, problem)
                else:
                    then = partial(self._posted_to_one, group, index, recipient)
                    self._append(connection, request, recipient, then)

    def ack(self, connection: Connection, request: message.Ack, now: float) -> None:
        """Take an item off the mailbox, and tell the sender of a message that it arrived."""
        sender = Identity(request.sender, request.account)
        item = item_id(request.kind, sender, request.message)
        window = self._windows[connection.number]
        delivered = window.items.get(item)
        if delivered is None or delivered.confirming:
            reason = (
                f"no {request.kind} {request.message} of {sender} was delivered here and not yet confirmed"
            )
            self._outlet.refuse(connection.number, request.id, ErrorCode.not_found, reason)
        elif may_wait(connection, self._outlet, request.id):
            delivered.confirming = True
            receipt = None
            if request.kind is Kind.content and sender in self._directory:
                lifetime = self._limits.of(sender.account).message_lifetime
                sent = StoredItem(
                    Kind.ack,
                    request.message,
                    connection.client.uri,
                    connection.client.account,
                    self._wall(),
                    request.payload,
                    delivered.system,
                )
                receipt = self._item(sender, sent, lifetime)
            mailbox = connection.client
            confirmation = _Confirmation(connection, window, request, item)
            self._outlet.ask(
                lambda token: ConfirmItem(token, mailbox, item, receipt),
                partial(self._confirmed, confirmation),
            )

    def attached(self, connection: Connection, now: float) -> None:
        """A client looks for messages."""
        self._directory.read(connection.client, self._wall(), now)
        window = self._windows[connection.number] = Window()
        self._fetch(connection, window)

    def resumed(self, connection: Connection, now: float) -> None:
        """A client has its connection back: what it was delivered counts, what came meanwhile follows."""
        self._directory.read(connection.client, self._wall(), now)
        self._look(connection.client)

    def detached(self, connection: Connection) -> None:
        """Stop delivering to a connection; what it has not confirmed is delivered at the next attach."""
        self._windows.pop(connection.number, None)

    def _problem(
        self, connection: Connection, request: message.Post | message.PostGroup, recipient: Identity
    ) -> _Problem | None:
        """Why a message cannot be left for somebody."""
        if not self._directory.knows(recipient, connection.client.account):
            event = MessageEvent(
                connection.client, recipient, "not-found", request.message, system=request.system
            )
            self._outlet.tell(event)
            return _Problem(ErrorCode.not_found, f"no client {recipient} is known")
        lifetime = self._limits.of(recipient.account).message_lifetime
        if (request.ttl or 0) > lifetime:
            self._limits.reached["message-lifetime"] += 1
            reason = f"ttl: messages for {recipient} are kept for at most {lifetime} seconds"
            return _Problem(ErrorCode.limit, reason)
        return None

    def _append(
        self,
        connection: Connection,
        request: message.Post | message.PostGroup,
        recipient: Identity,
        then: Continuation,
    ) -> None:
        """Have a message put into a mailbox."""
        stored = StoredItem(
            Kind.content,
            request.message,
            connection.client.uri,
            connection.client.account,
            self._wall(),
            request.payload,
            request.system,
        )
        item = self._item(
            recipient, stored, request.ttl or self._limits.of(recipient.account).message_lifetime
        )
        self._outlet.ask(lambda token: AppendItem(token, item), then)

    def _item(self, mailbox: Identity, stored: StoredItem, lifetime: float) -> NewItem:
        sender = Identity(stored.sender, stored.account)
        name = item_id(stored.kind, sender, stored.message)
        return NewItem(mailbox, name, encode_item(stored), stored.time + lifetime)

    def _posted(
        self, connection: Connection, request: message.Post, recipient: Identity, result: Result, now: float
    ) -> None:
        connection.pending -= 1
        if not isinstance(result, Done):
            self._outlet.refuse(connection.number, request.id, *_problem(result))
            return
        self._outlet.send(connection.number, message.Posted(id=request.id, message=request.message))
        self._taken(connection.client, request, recipient, now, new=result.new)

    def _posted_to_one(
        self, group: _Group, index: int, recipient: Identity, result: Result, now: float
    ) -> None:
        self._settle(group, index, None if isinstance(result, Done) else _problem(result))
        if isinstance(result, Done):
            self._taken(group.connection.client, group.request, recipient, now, new=result.new)

    def _settle(self, group: _Group, index: int, problem: _Problem | None) -> None:
        """It is known what became of one recipient's message; the last one brings the reply."""
        group.results[index] = message.PostResult(
            code=problem.code if problem else None, reason=problem.reason if problem else ""
        )
        results = [result for result in group.results if result is not None]
        if len(results) == len(group.results):
            connection, request = group.connection, group.request
            connection.pending -= 1
            posted = message.PostedGroup(id=request.id, message=request.message, results=results)
            self._outlet.send(connection.number, posted)

    def _taken(
        self,
        sender: Identity,
        request: message.Post | message.PostGroup,
        recipient: Identity,
        now: float,
        *,
        new: bool,
    ) -> None:
        """A message is in a mailbox; who could not be told that it was the first time looks once more."""
        if new:
            self._directory.posted(sender, now, system=request.system)
            event = MessageEvent(sender, recipient, "posted content", request.message, system=request.system)
            self._outlet.tell(event)
        self._look(recipient)

    def _confirmed(self, confirmation: _Confirmation, result: Result, now: float) -> None:
        connection, window, request, item = confirmation
        connection.pending -= 1
        if not isinstance(result, Done):
            window.items[item].confirming = False
            self._outlet.refuse(connection.number, request.id, *_problem(result))
            return
        system = window.items[item].system
        window.remove(item)
        self._outlet.send(connection.number, message.Ok(id=request.id))
        if request.kind is Kind.content:
            self._arrived(connection.client, request, now, system=system, new=result.new)
        if self._windows.get(connection.number) is window:
            self._fetch(connection, window)

    def _arrived(
        self, recipient: Identity, request: message.Ack, now: float, *, system: bool, new: bool
    ) -> None:
        sender = Identity(request.sender, request.account)
        if new:
            self._directory.delivered(sender, now, system=system)
            self._outlet.tell(MessageEvent(sender, recipient, "delivered", request.message, system=system))
            self._outlet.tell(MessageEvent(recipient, sender, "posted ack", request.message, system=system))
        self._look(sender)

    def _look(self, client: Identity) -> None:
        """There is something new in a mailbox: deliver it if its client is attached."""
        connection = self._attachments.find(client)
        if connection is not None:
            window = self._windows[connection.number]
            window.more = True
            self._fetch(connection, window)

    def _fetch(self, connection: Connection, window: Window) -> None:
        room = window.room
        if window.fetching or not window.more or room <= 0:
            return
        window.fetching, window.more = True, False
        mailbox, after = connection.client, window.after
        self._outlet.ask(
            lambda token: FetchItems(token, mailbox, room, after),
            partial(self._fetched, connection, window, room),
        )

    def _fetched(
        self, connection: Connection, window: Window, asked: int, result: Result, now: float
    ) -> None:
        window.fetching = False
        if self._windows.get(connection.number) is not window:
            return
        if not isinstance(result, Items):
            window.more = True
            self._outlet.at(now + RETRY, partial(self._retry, connection, window))
            return
        if not self._deliver(connection, window, result.items) or len(result.items) >= asked:
            window.more = True
        self._fetch(connection, window)

    def _retry(self, connection: Connection, window: Window, now: float) -> None:
        if self._windows.get(connection.number) is window:
            self._fetch(connection, window)

    def _deliver(self, connection: Connection, window: Window, items: tuple[KeptItem, ...]) -> bool:
        """Deliver what fits into the window; False if something was left."""
        for kept in items:
            if not window.fits(len(kept.value)):
                return False
            try:
                item = decode_item(kept.value)
            except msgspec.MsgspecError:
                self.unreadable += 1
            else:
                window.add(kept, item)
                self._outlet.send(connection.number, item.deliver)
            window.after = kept.sequence
        return True


def _problem(result: Result) -> _Problem:
    """Why the store has not done it."""
    if isinstance(result, Full):
        return _Problem(ErrorCode.quota, result.reason)
    reason = result.reason if isinstance(result, Failed) else "the store gave no answer"
    return _Problem(ErrorCode.unavailable, reason)
