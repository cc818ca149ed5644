"""A phone's TCP or TLS sockets: a listening port, and connections in both directions (RFC 3261 §18)."""

from __future__ import annotations

from itertools import count
from typing import Any

from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ClientEndpoint, TCP6ClientEndpoint
from twisted.internet.error import ConnectError
from twisted.internet.interfaces import ITCPTransport
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.protocols.tls import TLSMemoryBIOFactory
from twisted.python.failure import Failure

from haproxy.sip.flow import Flow, Transport
from haproxy.sip.framing import PING, PONG, Framer
from haproxy.testing.link import Lost, Receive
from haproxy.tls.store import TlsStore
from rtlib.address import Address, pack, unpack
from rtlib.listen import StreamPort, bind_stream


class TcpLink:
    """One listening port; a message goes over the connection of its flow, or a new one."""

    def __init__(
        self,
        reactor: Any,
        host: str,
        port: int,
        receive: Receive,
        lost: Lost,
        *,
        tls: TlsStore | None = None,
    ) -> None:
        """`lost` is told which flow a message could not be sent to. Raises ListenError."""
        self.transport: Transport = "tcp" if tls is None else "tls"
        self._tls = tls
        self.receive = receive
        self._reactor = reactor
        self._host = host
        self._lost = lost
        self._numbers = count(1)
        self._connections: dict[int, Connection] = {}
        sock = bind_stream(host, port)
        self._address = (host, int(sock.getsockname()[1]))
        self._port = StreamPort(sock, self._factory(None), reactor)
        self._port.startService()

    @property
    def address(self) -> tuple[str, int]:
        """Host and port for Via and Contact."""
        return self._address

    def flow(self, remote: Address) -> Flow:
        """The way to an address: its open connection, if there is one."""
        for number, connection in self._connections.items():
            if connection.remote == remote:
                return Flow(self.transport, 0, remote, number)
        return Flow(self.transport, 0, remote)

    def send(self, batch: list[tuple[bytes, Flow]]) -> None:
        """Send messages."""
        for data, flow in batch:
            connection = self._connections.get(flow.connection or self.flow(flow.remote).connection)
            if connection is not None:
                connection.write(data)
            else:
                Deferred.fromCoroutine(self._connect(data, flow))

    def stop(self) -> None:
        """Close everything at once."""
        self._port.stopService()
        for connection in list(self._connections.values()):
            connection.abort()

    def opened(self, connection: Connection) -> None:
        """A connection is there."""
        self._connections[connection.number] = connection

    def closed(self, connection: Connection) -> None:
        """A connection is gone, and with it whatever was waiting for an answer over it."""
        self._connections.pop(connection.number, None)
        self._lost(Flow(self.transport, 0, connection.remote, connection.number))

    def _factory(self, server: tuple[str, int] | None) -> Any:
        """Makes connections from others, or to a server."""
        factory = Factory.forProtocol(self._incoming)
        factory.noisy = False
        if self._tls is None:
            return factory
        if server is None:
            return TLSMemoryBIOFactory(self._tls.server(*self._address), False, factory, self._reactor)
        return TLSMemoryBIOFactory(self._tls.client(*server), True, factory, self._reactor)

    def _incoming(self) -> Connection:
        return Connection(self, next(self._numbers))

    async def _connect(self, data: bytes, flow: Flow) -> None:
        host, port = unpack(flow.remote)
        endpoint = TCP6ClientEndpoint if ":" in host else TCP4ClientEndpoint
        factory = self._factory((host, port))
        try:
            connection = await endpoint(self._reactor, host, port, bindAddress=(self._host, 0)).connect(
                factory
            )
        except ConnectError:
            self._lost(flow)
            return
        connection = getattr(connection, "wrappedProtocol", connection)
        assert isinstance(connection, Connection)
        connection.write(data)


class Connection(Protocol):
    """One connection: cuts messages out of the stream, answers keep-alives."""

    transport: ITCPTransport

    def __init__(self, link: TcpLink, number: int) -> None:
        self.number = number
        self.remote: Address = b""
        self._link = link
        self._framer = Framer()

    def connectionMade(self) -> None:
        """Learn who the peer is."""
        peer = self.transport.getPeer()
        assert isinstance(peer, IPv4Address | IPv6Address)
        self.remote = pack(peer.host, peer.port)
        self._link.opened(self)

    def dataReceived(self, data: bytes) -> None:
        """Hand complete messages up; close a stream that cannot be read."""
        flow = Flow(self._link.transport, 0, self.remote, self.number)
        frames = self._framer.receive(data)
        for _ in range(frames.count(PING)):
            self.write(PONG)
        self._link.receive([(frame, flow) for frame in frames if frame not in {PING, PONG}])
        if self._framer.fault is not None:
            self.abort()

    def write(self, data: bytes) -> None:
        """Send bytes."""
        self.transport.write(data)

    def abort(self) -> None:
        """Close at once."""
        self.transport.abortConnection()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """The connection is gone."""
        self._link.closed(self)
