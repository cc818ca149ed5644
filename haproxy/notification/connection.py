"""Connections to servers to notify: to each address of a name in turn, with a bound on what comes back."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Sequence
from typing import Any, Final

from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ClientEndpoint, TCP6ClientEndpoint, wrapClientTLS
from twisted.internet.error import ConnectError
from twisted.internet.interfaces import (
    IDelayedCall,
    IProtocol,
    IProtocolFactory,
    IReactorTime,
    IStreamClientEndpoint,
)
from twisted.internet.protocol import connectionDone
from twisted.protocols.policies import ProtocolWrapper, WrappingFactory
from twisted.python.failure import Failure
from zope.interface import implementer

from haproxy.dns.record import Answer, Question
from haproxy.notification.security import HttpsClient
from haproxy.tls.context import is_address
from rtlib.outcome import gathered

CONNECT_TIMEOUT: Final = 3
"""Seconds to wait for one address."""

LONGEST: Final = 65536
"""Bytes of an answer: only its status and a few headers matter."""

Ask = Callable[[Question], Coroutine[Deferred[Any], Any, Answer]]


GRACE: Final = 5.0
"""Seconds that a server has to close a connection that is over."""


@implementer(IStreamClientEndpoint)
class ServerEndpoint:
    """A server, by name or address; for one connection, which ends with `finish` or `abort`."""

    def __init__(self, reactor: Any, ask: Ask, host: str, port: int, tls: HttpsClient | None) -> None:
        """`reactor` provides IReactorTCP and IReactorTime; `ask` asks name servers; `tls` is for https."""
        self._reactor = reactor
        self._ask = ask
        self._host = host
        self._port = port
        self._tls = tls
        self._connection: _Bounded | None = None

    def connect(self, factory: IProtocolFactory) -> Deferred[IProtocol]:
        """Connect, with TLS where that is wanted; the handshake comes later."""
        factory.noisy = False  # type: ignore[attr-defined]  # a line in the log for each is too much
        return Deferred.fromCoroutine(self._connect(_BoundedFactory(factory)))

    def finish(self) -> None:
        """The answer is here: the server may close the connection, but not keep it."""
        if self._connection is not None:
            self._connection.expire(self._reactor)

    def abort(self) -> None:
        """Close the connection at once."""
        if self._connection is not None:
            self._connection.abort()

    async def _connect(self, factory: WrappingFactory) -> IProtocol:
        addresses = [self._host] if is_address(self._host) else await self._addresses()
        for address in addresses[:-1]:
            try:
                return await self._try(address, factory)
            except ConnectError:
                continue
        return await self._try(addresses[-1], factory)

    async def _addresses(self) -> Sequence[str]:
        """All addresses. Raises ConnectError where there is none."""
        name = self._host.rstrip(".")
        questions = (Question(name, "A"), Question(name, "AAAA"))
        asked = [Deferred.fromCoroutine(self._ask(question)) for question in questions]
        answers = await gathered(asked)
        found = [str(record) for answer in answers for record in answer.records]
        if found:
            return found
        if any(answer.failed for answer in answers):
            raise ConnectError(string=f"no name server answers for {name}")
        raise ConnectError(string=f"the name {name} has no address")

    async def _try(self, address: str, factory: WrappingFactory) -> IProtocol:
        kind = TCP6ClientEndpoint if ":" in address else TCP4ClientEndpoint
        endpoint: Any = kind(self._reactor, address, self._port, CONNECT_TIMEOUT)
        if self._tls is not None:
            endpoint = wrapClientTLS(self._tls, endpoint)
        connection: _Bounded = await endpoint.connect(factory)
        self._connection = connection
        return connection.wrappedProtocol


class _Bounded(ProtocolWrapper):
    """Cuts off a server that says more than LONGEST, or that does not close in time."""

    transport: Any
    _received = 0
    _timer: IDelayedCall | None = None
    _lost = False

    def expire(self, clock: IReactorTime) -> None:
        if not self._lost:
            self._timer = clock.callLater(GRACE, self.abort)

    def abort(self) -> None:
        if not self._lost:
            self.transport.abortConnection()

    def dataReceived(self, data: bytes) -> None:
        self._received += len(data)
        if self._received > LONGEST:
            self.abort()
        else:
            super().dataReceived(data)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._lost = True
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        super().connectionLost(reason)


class _BoundedFactory(WrappingFactory):
    protocol = _Bounded
    noisy = False
