"""An HTTP server for few and small requests: bounded in number of connections, size and time.

For doors that programs of the operator use. What is larger or slower than anything they need costs its
sender the connection, and nobody else anything.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from twisted.internet.interfaces import IAddress, IDelayedCall, IReactorTime, ITransport
from twisted.internet.protocol import connectionDone
from twisted.protocols.policies import ProtocolWrapper, WrappingFactory
from twisted.python.failure import Failure
from twisted.web.http import Request as HttpRequest
from twisted.web.resource import IResource
from twisted.web.server import Request, Site

TOO_LARGE = (
    b"HTTP/1.1 413 Content Too Large\r\nConnection: close\r\nContent-Type: text/plain\r\n"
    b"Content-Length: 31\r\n\r\nThe request's body is too large"
)


@dataclass(frozen=True, slots=True)
class Limits:
    """What one server takes."""

    connections: int = 64
    per_host: int = 16
    idle: int = 10
    """Seconds without a byte."""
    life: float = 60.0
    """Seconds that a connection may last, whatever goes on."""
    body: int = 4096
    """Bytes."""


class SmallSite(WrappingFactory):
    """A factory for the connections of one resource."""

    noisy = False

    def __init__(
        self,
        resource: IResource,
        clock: IReactorTime,
        offence: Callable[[str, str], None],
        limits: Limits | None = None,
    ) -> None:
        """`offence` is told a host and what it did."""
        self.limits = limits or Limits()
        self.clock = clock
        self.offence = offence
        self.refused = 0
        """Connections beyond the limits."""
        self._open: Counter[str] = Counter()
        body = self.limits.body

        def request(channel: Any, queued: object = None) -> _Request:
            return _Request(channel, queued, body=body)

        site = _Site(resource, timeout=self.limits.idle, reactor=clock)
        site.requestFactory = request  # type: ignore[assignment]  # any callable will do
        site.displayTracebacks = False
        super().__init__(site)

    @property
    def connections(self) -> int:
        """Open now."""
        return self._open.total()

    def buildProtocol(self, addr: IAddress | None) -> ProtocolWrapper:
        """One more connection, which may be one too many."""
        return _Connection(self, self.wrappedFactory.buildProtocol(addr), str(getattr(addr, "host", "")))

    def opened(self, host: str) -> bool:
        """Count a connection in; False where it is one too many."""
        self._open[host] += 1
        if self.connections <= self.limits.connections and self._open[host] <= self.limits.per_host:
            return True
        self.refused += 1
        self.offence(host, "has too many connections")
        return False

    def closed(self, host: str) -> None:
        """Count it out."""
        self._open[host] -= 1
        if not self._open[host]:
            del self._open[host]

    def close(self) -> None:
        """End all connections."""
        for connection in list(self.protocols):
            connection.abort()


class _Connection(ProtocolWrapper):
    """One connection, for a limited time."""

    def __init__(self, factory: SmallSite, wrapped: Any, host: str) -> None:
        super().__init__(factory, wrapped)  # type: ignore[arg-type]  # generic in the connection, without need
        self._site = factory
        self._host = host
        self._end: IDelayedCall | None = None

    def makeConnection(self, transport: ITransport) -> None:
        """Begin, or end at once."""
        super().makeConnection(transport)
        if self._site.opened(self._host):
            self._end = self._site.clock.callLater(self._site.limits.life, self._expired)
        else:
            self.abort()

    def abort(self) -> None:
        """End it at once."""
        self.abortConnection()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Count it out."""
        if self._end is not None and self._end.active():
            self._end.cancel()
        super().connectionLost(reason)
        self._site.closed(self._host)

    def _expired(self) -> None:
        self._site.offence(self._host, "keeps a connection for too long")
        self.abort()


class _Site(Site):
    """Requests are logged by who acts on them."""

    noisy = False

    def log(self, request: HttpRequest) -> None:
        """No access log."""


class _Request(Request):
    """A request with a bounded body."""

    def __init__(self, channel: Any, queued: object, *, body: int) -> None:
        super().__init__(channel, queued)
        self._limit = body
        self._size = 0

    def gotLength(self, length: int | None) -> None:
        """Refuse a body that is announced as too large."""
        super().gotLength(0)
        if length is not None and length > self._limit:
            self._grow(length)

    def handleContentChunk(self, data: bytes) -> None:
        """Refuse a body that turns out to be too large."""
        self._grow(len(data))
        if self._size <= self._limit:
            super().handleContentChunk(data)

    def process(self) -> None:
        """Do nothing about a request that was refused already."""
        if self._size <= self._limit:
            super().process()

    def _grow(self, size: int) -> None:
        before, self._size = self._size, self._size + size
        if before <= self._limit < self._size:
            self.channel.write(TOO_LARGE)
            self.channel.loseConnection()
