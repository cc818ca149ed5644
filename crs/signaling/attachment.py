"""Connections and which of them is attached for its client: the newest wins.

An attachment can outlive the connection that it came over. Its number stays; its *link*, the
number of the connection that carries it now, changes, and is None while there is none.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from crs.identity import Identity
from crs.signaling.limit import AddressAllowance, ClientAllowance
from crs.signaling.outlet import Alarm, Outlet
from crs.signaling.replay import Replay


@dataclass(slots=True, eq=False)
class Connection:
    """One authenticated connection of a client, and its attachment."""

    number: int
    link: int | None
    client: Identity
    host: str
    port: int
    allowance: ClientAllowance
    """What the client may ask for, over all its connections."""
    address: AddressAllowance
    """The same of all connections from the same address."""
    version: str = ""
    attached_at: float | None = None
    attaching: int | None = None
    """The request id of an attach that waits for the store."""
    pending: int = 0
    closing: bool = field(default=False)
    replay: Replay | None = None
    """What it takes to resume the attachment; None if the client has not asked for that."""
    ending: Alarm | None = None
    """Will end this: close a connection that is not registered any more, or forget a suspended one."""

    def keep(self) -> None:
        """Do not end this."""
        if self.ending is not None:
            self.ending.cancel()
            self.ending = None


def may_wait(connection: Connection, outlet: Outlet, request: int) -> bool:
    """Count one more request of a connection that waits for the store, or refuse it."""
    if connection.pending < connection.allowance.limits.requests_waiting:
        connection.pending += 1
        return True
    reason = "too many of your requests are waiting; wait for replies"
    outlet.refuse_over(connection.number, request, "requests-waiting", reason)
    return False


class AttachmentTable:
    """All connections by number and by link, and the attached or suspended one of each client."""

    def __init__(self) -> None:
        self._connections: dict[int, Connection] = {}
        self._links: dict[int, Connection] = {}
        self._attached: dict[Identity, Connection] = {}
        self._suspended: dict[Identity, Connection] = {}

    def __iter__(self) -> Iterator[Connection]:
        return iter(list(self._connections.values()))

    def carried(self, sends: list[tuple[bytes, int]]) -> list[tuple[bytes, int]]:
        """Those of these messages whose link is there."""
        links = self._links
        return [send for send in sends if send[1] in links]

    @property
    def attached(self) -> list[Connection]:
        """The attached connections, the longest attached first."""
        return list(self._attached.values())

    @property
    def attached_count(self) -> int:
        """How many clients are attached."""
        return len(self._attached)

    @property
    def suspended_count(self) -> int:
        """How many clients have lost their connection and may still resume."""
        return len(self._suspended)

    def add(self, connection: Connection) -> None:
        """Keep a new connection."""
        self._connections[connection.number] = connection
        self._links[connection.number] = connection

    def remove(self, connection: Connection) -> None:
        """Forget a connection, suspended or not; the caller has detached it before."""
        self._connections.pop(connection.number, None)
        if connection.link is not None:
            self._links.pop(connection.link, None)
            connection.link = None
        if self._suspended.get(connection.client) is connection:
            del self._suspended[connection.client]

    def get(self, link: int) -> Connection | None:
        """The connection that this link carries."""
        return self._links.get(link)

    def find(self, client: Identity) -> Connection | None:
        """The attached connection of a client."""
        return self._attached.get(client)

    def find_suspended(self, client: Identity) -> Connection | None:
        """The connection that a client has lost and may resume."""
        return self._suspended.get(client)

    def number(self, client: Identity) -> int | None:
        """The number of a client's connection, attached or suspended: where to send what it must know."""
        connection = self._attached.get(client) or self._suspended.get(client)
        return None if connection is None else connection.number

    def route(self, number: int, data: bytes) -> int | None:
        """The link for a message to this connection, which is kept for a resumption; None for no link."""
        connection = self._connections.get(number)
        if connection is None:
            return None
        if connection.replay is not None:
            connection.replay.add(data)
        return connection.link

    def attach(self, connection: Connection, now: float) -> None:
        """Make this the connection of its client, which has no other by now."""
        connection.attached_at = now
        self._attached[connection.client] = connection

    def detach(self, connection: Connection) -> bool:
        """Unregister; False if it was not registered."""
        if connection.attached_at is None:
            return False
        connection.attached_at = None
        connection.replay = None
        del self._attached[connection.client]
        return True

    def suspend(self, connection: Connection) -> None:
        """An attached connection has lost its link."""
        assert connection.link is not None
        del self._links[connection.link], self._attached[connection.client]
        connection.link = connection.attached_at = None
        self._suspended[connection.client] = connection

    def resume(self, connection: Connection, newer: Connection, now: float) -> int | None:
        """Let a connection go on over the link of a newer one, which is no more; returns its former link."""
        former = connection.link
        if former is not None:
            del self._links[former]
        self._suspended.pop(connection.client, None)
        del self._connections[newer.number]
        connection.link, newer.link = newer.link, None
        assert connection.link is not None
        self._links[connection.link] = connection
        connection.host, connection.port = newer.host, newer.port
        connection.allowance, connection.address = newer.allowance, newer.address
        self.attach(connection, now)
        return former
