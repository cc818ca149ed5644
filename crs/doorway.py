"""Between the clients' connections and the switchboard: who is connected, and the way to send them off."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, NamedTuple

from crs.connection import Connection, Receiver
from crs.identity import Identity
from crs.websocket import ClientSocket

CLOSE_RECONNECT: Final = 4004
"""WebSocket close code: the client may connect again at once (`purge client`)."""


class ConnectionEvent(NamedTuple):
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

    def saw(self, client: ClientSocket, state: str) -> None:
        """A connection, opened or not, has reached a state."""
        self.told(ConnectionEvent(client.number, client.known, client.host, client.port, state))

    def opened(self, connection: Connection) -> None:
        """A client has connected."""
        self._open.add(connection)
        self._receiver.opened(connection)

    def received(self, connection: Connection, data: bytes) -> None:
        """One message of a client that was not sent off."""
        if connection in self._open:
            self._receiver.received(connection, data)

    def flush(self) -> None:
        """Nothing more has come in for now."""
        self._receiver.flush()

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
        return self.purge_connections(lambda connection: match(connection.identity))

    def purge_connections(self, match: Callable[[Connection], bool]) -> int:
        """As `purge`, by what is known of a connection."""
        purged = [connection for connection in self._open if match(connection)]
        for connection in purged:
            connection.close(CLOSE_RECONNECT, "reconnect")
            self.closed(connection)
        return len(purged)
