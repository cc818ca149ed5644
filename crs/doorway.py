"""Between the clients' connections and the switchboard: who is connected, and the way to send them off."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import count
from typing import Final

from twisted.internet.interfaces import IHandshakeListener
from twisted.internet.protocol import connectionDone
from twisted.python.failure import Failure
from zope.interface import implementer

from crs.identity import Identity, parse
from crs.websocket import ClientFactory, ClientProtocol, Connection, Receiver
from rtlib.tls import peer_identity

CLOSE_RECONNECT: Final = 4004
"""WebSocket close code: the client may connect again at once (`purge client`)."""


@dataclass(frozen=True, slots=True)
class ConnectionEvent:
    """A connection reached a state; the row of `trace connection` (manual 5.4)."""

    number: int
    client: Identity | None
    """None until the TLS handshake has shown who it is."""
    host: str
    port: int
    state: str
    """connected, authenticated, negotiated or closed."""


class Doorway:
    """A `Receiver` in front of another one. `told` hears what happens to connections."""

    def __init__(self, receiver: Receiver, told: Callable[[ConnectionEvent], None]) -> None:
        self.told = told
        self._receiver = receiver
        self._open: set[Connection] = set()
        self._numbers = count(1)

    def next_number(self) -> int:
        """The number of a new connection."""
        return next(self._numbers)

    def opened(self, connection: Connection) -> None:
        """A client has connected."""
        self._open.add(connection)
        self._receiver.opened(connection)

    def received(self, connection: Connection, data: bytes) -> None:
        """One message of a client that was not sent off."""
        if connection in self._open:
            self._receiver.received(connection, data)

    def closed(self, connection: Connection) -> None:
        """A connection is gone."""
        if connection in self._open:
            self._open.discard(connection)
            self._receiver.closed(connection)

    def offended(self, kind: str, host: str, reason: str) -> None:
        """Somebody at `host` did what a correct client does not."""
        self._receiver.offended(kind, host, reason)

    def purge(self, match: Callable[[Identity], bool]) -> int:
        """Close the connections of the clients that match, and tell how many those are.

        Their registrations end now, their calls wait for them as after every lost connection.
        """
        purged = [connection for connection in self._open if match(connection.identity)]
        for connection in purged:
            connection.close(CLOSE_RECONNECT, "reconnect")
            self.closed(connection)
        return len(purged)


@implementer(IHandshakeListener)
class Visitor(ClientProtocol):
    """A client's connection that tells the doorway of its four states."""

    def __init__(self, doorway: Doorway) -> None:
        super().__init__()
        self._doorway = doorway
        self._number = doorway.next_number()
        self._known: Identity | None = None

    def connectionMade(self) -> None:
        """TCP is there."""
        super().connectionMade()
        self._tell("connected")

    def handshakeCompleted(self) -> None:
        """TLS is there, and with it who this is."""
        try:
            self._known = parse(peer_identity(self.transport))
        except ValueError:
            self._known = None
        self._tell("authenticated")

    def onOpen(self) -> None:
        """The WebSocket is there."""
        self._tell("negotiated")
        super().onOpen()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """It is gone."""
        super().connectionLost(reason)
        self._tell("closed")

    def _tell(self, state: str) -> None:
        self._doorway.told(ConnectionEvent(self._number, self._known, self.host, self.port, state))


def watch(clients: ClientFactory, doorway: Doorway) -> None:
    """Have the connections of this factory tell the doorway of their states."""
    clients.protocol = lambda: Visitor(doorway)
