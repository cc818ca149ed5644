"""Connections and which of them is attached for its client: the newest wins."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from crs.identity import Identity
from crs.signaling.limit import TokenBucket
from crs.signaling.outlet import Alarm

REQUESTS_PER_SECOND: Final = 50.0
REQUESTS_BURST: Final = 200.0
INVITES_PER_SECOND: Final = 5.0
INVITES_BURST: Final = 20.0
"""Invites are the one thing that a client can push to another without the other's consent."""

REFUSALS_PER_SECOND: Final = 5.0
REFUSALS_BURST: Final = 500.0

MAX_PENDING: Final = 256
"""Requests of one connection that may wait for the store at a time."""


@dataclass(slots=True, eq=False)
class Connection:
    """One authenticated connection of a client."""

    number: int
    client: Identity
    host: str
    port: int
    requests: TokenBucket
    invites: TokenBucket
    patience: TokenBucket
    """How many requests over the limit are still answered before the connection is closed."""
    version: str = ""
    attached_at: float | None = None
    attaching: int | None = None
    """The request id of an attach that waits for the store."""
    pending: int = 0
    closing: bool = field(default=False)
    cleanup: Alarm | None = None
    """Will close the connection, because it is not registered any more."""

    def keep(self) -> None:
        """Do not close the connection for not being registered."""
        if self.cleanup is not None:
            self.cleanup.cancel()
            self.cleanup = None


def connect(number: int, client: Identity, host: str, port: int, now: float) -> Connection:
    """A new connection with its full allowance of requests."""
    requests = TokenBucket(REQUESTS_PER_SECOND, REQUESTS_BURST, now)
    invites = TokenBucket(INVITES_PER_SECOND, INVITES_BURST, now)
    patience = TokenBucket(REFUSALS_PER_SECOND, REFUSALS_BURST, now)
    return Connection(number, client, host, port, requests, invites, patience)


class AttachmentTable:
    """All connections by number, and the attached one of each client."""

    def __init__(self) -> None:
        self._connections: dict[int, Connection] = {}
        self._attached: dict[Identity, Connection] = {}

    def __iter__(self) -> Iterator[Connection]:
        return iter(list(self._connections.values()))

    def __contains__(self, number: int) -> bool:
        return number in self._connections

    @property
    def attached(self) -> list[Connection]:
        """The attached connections, the longest attached first."""
        return list(self._attached.values())

    @property
    def attached_count(self) -> int:
        """How many clients are attached."""
        return len(self._attached)

    def add(self, connection: Connection) -> None:
        """Keep a new connection."""
        self._connections[connection.number] = connection

    def remove(self, number: int) -> Connection | None:
        """Forget a connection; the caller has detached it before."""
        return self._connections.pop(number, None)

    def get(self, number: int) -> Connection | None:
        """The connection of this number."""
        return self._connections.get(number)

    def find(self, client: Identity) -> Connection | None:
        """The attached connection of a client."""
        return self._attached.get(client)

    def number(self, client: Identity) -> int | None:
        """The number of a client's attached connection."""
        connection = self._attached.get(client)
        return None if connection is None else connection.number

    def attach(self, connection: Connection, now: float) -> None:
        """Make this the connection of its client, which has no other by now."""
        connection.attached_at = now
        self._attached[connection.client] = connection

    def detach(self, connection: Connection) -> bool:
        """Unregister; False if it was not registered."""
        if connection.attached_at is None:
            return False
        connection.attached_at = None
        del self._attached[connection.client]
        return True
