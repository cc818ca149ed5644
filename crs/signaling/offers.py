"""Offers each client its monthly updates until it has confirmed them (docs/crs-protocol.md section 6.2).

What is there to offer is decided outside; what a client has confirmed is kept in its record.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import NamedTuple

from crs.identity import Identity
from crs.signaling import message
from crs.signaling.attachment import AttachmentTable, Connection, may_wait
from crs.signaling.directory import Confirmation, Directory
from crs.signaling.event import Blob, Failed, ItemChanged, ReadBlob, Result
from crs.signaling.message import ErrorCode
from crs.signaling.outlet import Outlet


class Offered(NamedTuple):
    """What there is for a client in a month."""

    month: str
    """Such as 2026-11."""
    created: int
    """When the update was made: UTC, milliseconds since 1970."""
    size: int
    """Bytes of the client's blob, at least 1."""


Shop = Callable[[Identity], Iterable[Offered]]
"""What there is to offer to a client now."""


def nothing(_client: Identity) -> Iterable[Offered]:
    """There is nothing to offer."""
    return ()


class Offers:
    """Serves fetch-update and confirm-update. `wall()` gives UTC seconds."""

    def __init__(
        self,
        outlet: Outlet,
        attachments: AttachmentTable,
        directory: Directory,
        *,
        offered: Shop,
        wall: Callable[[], float],
    ) -> None:
        self._outlet = outlet
        self._attachments = attachments
        self._directory = directory
        self._offered = offered
        self._wall = wall
        self.counts = {"offered": 0, "fetched": 0, "confirmed": 0}
        """What was done with updates, in messages."""

    def attached(self, connection: Connection) -> None:
        """Offer what this client has not confirmed: its attachment has begun, or goes on."""
        for offered in self._offered(connection.client):
            if self._directory.confirmation(connection.client, offered.month, offered.created) is None:
                self.counts["offered"] += 1
                self._outlet.send(
                    connection.number,
                    message.Offer(month=offered.month, created=offered.created, size=offered.size),
                )

    def announce(self, clients: Iterable[Identity]) -> None:
        """Offer to those of these clients that are attached, or may resume, what they have not confirmed."""
        for client in clients:
            connection = self._attachments.find(client) or self._attachments.find_suspended(client)
            if connection is not None:
                self.attached(connection)

    def fetch(self, connection: Connection, request: message.FetchUpdate, now: float) -> None:
        """Give a client its blob of a month."""
        offered = self._find(connection, request.id, request.month)
        if offered is not None and may_wait(connection, self._outlet, request.id):
            client, month = connection.client, request.month
            self._outlet.ask(
                lambda token: ReadBlob(token, client, month), partial(self._read, connection, request)
            )

    def confirm(self, connection: Connection, request: message.ConfirmUpdate, now: float) -> None:
        """A client has stored its blob."""
        offered = self._find(connection, request.id, request.month)
        if offered is None:
            return
        if offered.created != request.created:
            reason = f"the update for {request.month} is another one now"
            self._outlet.refuse(connection.number, request.id, ErrorCode.not_found, reason)
        elif may_wait(connection, self._outlet, request.id):
            confirmation = Confirmation(request.month, request.created, self._wall())
            self._directory.confirm(
                connection.client, confirmation, partial(self._confirmed, connection, request)
            )

    def _find(self, connection: Connection, request: int, month: str) -> Offered | None:
        """What there is for a client in this month; refuses the request if that is nothing."""
        found = next((each for each in self._offered(connection.client) if each.month == month), None)
        if found is None:
            reason = f"there is no update for {month} for this client"
            self._outlet.refuse(connection.number, request, ErrorCode.not_found, reason)
        return found

    def _read(self, connection: Connection, request: message.FetchUpdate, result: Result, now: float) -> None:
        connection.pending -= 1
        if isinstance(result, Blob):
            self.counts["fetched"] += 1
            update = message.Update(
                id=request.id, month=request.month, created=result.created, payload=result.value
            )
            self._outlet.send(connection.number, update)
        else:
            reason = result.reason if isinstance(result, Failed) else "the update was not read"
            self._outlet.refuse(connection.number, request.id, ErrorCode.unavailable, reason)

    def _confirmed(
        self, connection: Connection, request: message.ConfirmUpdate, problem: str | None, now: float
    ) -> None:
        connection.pending -= 1
        if problem is not None:
            self._outlet.refuse(connection.number, request.id, ErrorCode.unavailable, problem)
            return
        self.counts["confirmed"] += 1
        self._outlet.send(connection.number, message.Ok(id=request.id))
        self._outlet.tell(ItemChanged(connection.client, f"confirm update {request.month}"))
