"""All calls of this server: those of two, at the exchange, and those of many, at the bridge."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import count

from crs.identity import Identity
from crs.limits import LimitTable
from crs.signaling import message
from crs.signaling.admission import Admission
from crs.signaling.attachment import AttachmentTable, Connection
from crs.signaling.bridge import Bridge
from crs.signaling.directory import Directory
from crs.signaling.exchange import Exchange
from crs.signaling.group import Room
from crs.signaling.message import EndReason, ErrorCode, RelayKind
from crs.signaling.outlet import Outlet
from crs.signaling.session import Key


class Calls:
    """Finds out which of the two it is, and tells both what happens to clients."""

    def __init__(
        self,
        outlet: Outlet,
        attachments: AttachmentTable,
        directory: Directory,
        limits: LimitTable,
        rooms: Callable[[str], Iterable[Room]],
    ) -> None:
        """`rooms(number)` gives the conference rooms of this number in all accounts."""
        self._outlet = outlet
        self.admission = Admission(outlet, attachments, directory, limits, self)
        numbers = count(1)
        self.exchange = Exchange(outlet, attachments, self.admission, numbers)
        self.bridge = Bridge(
            outlet,
            attachments,
            directory=directory,
            admission=self.admission,
            numbers=numbers,
            rooms=rooms,
        )

    @property
    def live_count(self) -> int:
        """How many calls have not ended."""
        return self.exchange.table.live_count + self.bridge.table.live_count

    def count(self, client: Identity) -> int:
        """How many calls a client is in, or invited to."""
        return self.exchange.table.calls(client) + self.bridge.table.calls(client)

    def is_taken(self, client: Identity, key: Key) -> bool:
        """Whether a client has a call of this name."""
        return self.exchange.table.find(client, key) is not None or (
            self.bridge.table.find(client, key) is not None
        )

    def invite(self, connection: Connection, request: message.Invite, now: float) -> None:
        """Call a client, or dial a conference room."""
        if request.streams == [RelayKind.opaque_multicast]:
            self.bridge.dial(connection, request, now)
        elif RelayKind.opaque_multicast in request.streams:
            reason = (
                "streams: opaque-multicast is the only stream of a conference room, and not of a call of two"
            )
            self._outlet.refuse(connection.number, request.id, ErrorCode.bad_message, reason)
        else:
            self.exchange.invite(connection, request, now)

    def ringing(self, connection: Connection, request: message.Ringing, now: float) -> None:
        """The phone of one who was called or invited rings."""
        if not self.bridge.ringing(connection, request, now):
            self.exchange.ringing(connection, request, now)

    def attached(self, connection: Connection, now: float) -> None:
        """A client is back, or new."""
        self.exchange.attached(connection, now)
        self.bridge.attached(connection, now)

    def resumed(self, connection: Connection) -> None:
        """A client has its connection back, and is told what it missed."""
        self.exchange.resumed(connection)
        self.bridge.resumed(connection)

    def detached(self, connection: Connection, now: float) -> None:
        """A client's connection is lost or unregistered."""
        self.exchange.detached(connection, now)
        self.bridge.detached(connection, now)

    def relay_idle(self, group: int, now: float) -> bool:
        """This relay has seen no packet for too long. False if no call has it."""
        return self.exchange.relay_idle(group, now) or self.bridge.relay_idle(group, now)

    def end_all(
        self, reason: EndReason, now: float, account: str | None = None, *, keep_talks: bool = False
    ) -> None:
        """The server ends every call, or those of an account's clients, or those that were not answered."""
        self.exchange.end_all(reason, now, account, keep_talks=keep_talks)
        self.bridge.end_all(reason, now, account, keep_talks=keep_talks)
