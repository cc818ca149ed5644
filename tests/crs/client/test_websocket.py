"""The client's WebSocket against the server's, and against servers that are none."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from twisted.internet.defer import DeferredQueue
from twisted.internet.protocol import Factory, Protocol
from twisted.protocols.tls import TLSMemoryBIOFactory

from crs.client import websocket
from crs.client.credentials import Credentials, Server
from crs.client.error import ClientError, Closed, Denied, Unreachable
from crs.connection import Connection
from crs.gate import ClientGate
from rtlib.listen import bind_stream
from rtlib.testing.loop import installed_reactor, run
from rtlib.tls import PskServerOptions

WHO = Credentials("+461", "demo", bytes(range(32)))


def keys(identity: bytes) -> bytes | None:
    return WHO.key if identity == WHO.identity else None


class Peer:
    """The server's side: what it was told."""

    def __init__(self) -> None:
        self.connections: DeferredQueue[Connection] = DeferredQueue()
        self.data: DeferredQueue[bytes] = DeferredQueue()
        self.ended: DeferredQueue[Connection] = DeferredQueue()

    def opened(self, connection: Connection) -> None:
        self.connections.put(connection)

    def received(self, connection: Connection, data: bytes) -> None:
        self.data.put(data)

    def flush(self) -> None:
        pass

    def closed(self, connection: Connection) -> None:
        self.ended.put(connection)

    def offended(self, kind: str, host: str, reason: str) -> None:
        pass


class Mine:
    """The client's side: what it was told."""

    def __init__(self) -> None:
        self.data: DeferredQueue[bytes] = DeferredQueue()
        self.reasons: DeferredQueue[ClientError] = DeferredQueue()

    def message(self, data: bytes) -> None:
        self.data.put(data)

    def lost(self, reason: ClientError) -> None:
        self.reasons.put(reason)


@contextmanager
def listening(factory: Any, interface: str = "127.0.0.1") -> Iterator[Server]:
    port = installed_reactor().listenTCP(0, factory, interface=interface)
    try:
        yield Server(interface, port.getHost().port)
    finally:
        port.stopListening()


@contextmanager
def gate(peer: Peer, interface: str = "127.0.0.1") -> Iterator[Server]:
    sock = bind_stream(interface, 0)
    gate = ClientGate(sock, keys, peer, reactor=installed_reactor())
    gate.startService()
    try:
        yield Server(interface, gate.address[1])
    finally:
        gate.stopService()


@pytest.mark.parametrize("interface", ["127.0.0.1", "::1"])
def test_messages_both_ways_and_a_farewell(interface: str) -> None:
    async def story() -> None:
        peer, mine = Peer(), Mine()
        with gate(peer, interface) as server:
            link = await websocket.connect(installed_reactor(), server, WHO, mine)
            connection = await peer.connections.get()
            assert (link.host, str(connection.identity)) == (interface, "+461@demo")
            link.send(b"to the server")
            connection.send(b"to the client")
            assert (await peer.data.get(), await mine.data.get()) == (b"to the server", b"to the client")
            link.close()
            link.send(b"too late")
            assert isinstance(await mine.reasons.get(), Closed)
            await peer.ended.get()
            assert peer.data.pending == []

    run(story)


def test_the_servers_reason_to_close_is_told() -> None:
    async def story() -> None:
        peer, mine = Peer(), Mine()
        with gate(peer) as server:
            await websocket.connect(installed_reactor(), server, WHO, mine)
            (await peer.connections.get()).close(4000, "superseded")
            reason = await mine.reasons.get()
            assert str(reason) == f"{server} closed the connection: superseded (4000)"
            await peer.ended.get()

    run(story)


def test_an_aborted_connection_is_lost() -> None:
    async def story() -> None:
        peer, mine = Peer(), Mine()
        with gate(peer) as server:
            link = await websocket.connect(installed_reactor(), server, WHO, mine)
            link.abort()
            assert "was lost" in str(await mine.reasons.get())
            await peer.ended.get()

    run(story)


def test_a_wrong_key_is_denied() -> None:
    async def story() -> None:
        mine, stranger = Mine(), Credentials("+461", "demo", bytes(32))
        with (
            gate(Peer()) as server,
            pytest.raises(Denied, match="unknown identity or wrong key"),
        ):
            await websocket.connect(installed_reactor(), server, stranger, mine)
        assert mine.reasons.pending == [], "what never opened is not lost"

    run(story)


class Rude(Protocol):
    """Answers the first bytes with something else and hangs up."""

    answer = b""

    def dataReceived(self, data: bytes) -> None:
        assert self.transport is not None
        self.transport.write(self.answer)
        self.transport.loseConnection()


def rude(said: bytes) -> Any:
    class Saying(Rude):
        answer = said

    factory = Factory.forProtocol(Saying)
    factory.noisy = False
    return factory


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (b"", "closed the connection before"),
        (b"SSH-2.0-OpenSSH\r\n", "does not speak TLS"),
        (b"HTTP/1.1 400\r\n\r\n", "does not speak TLS"),
    ],
)
def test_a_server_that_speaks_no_tls(answer: bytes, reason: str) -> None:
    async def story() -> None:
        with listening(rude(answer)) as server, pytest.raises(Unreachable, match=f"{server} {reason}"):
            await websocket.connect(installed_reactor(), server, WHO, Mine())

    run(story)


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 404 Not Found\r\n\r\n",
        b"nonsense\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Accept: wrong\r\n\r\n",
    ],
)
def test_a_server_that_speaks_no_websocket(answer: bytes) -> None:
    async def story() -> None:
        reactor = installed_reactor()
        tls = TLSMemoryBIOFactory(PskServerOptions(keys), False, rude(answer), reactor)
        with listening(tls) as server, pytest.raises(Unreachable, match=str(server)):
            await websocket.connect(reactor, server, WHO, Mine())

    run(story)
