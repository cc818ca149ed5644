"""The small HTTP server: bounded in connections, size and time."""

from __future__ import annotations

from typing import Any

import pytest
from twisted.internet.address import IPv4Address
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.web.resource import Resource
from twisted.web.server import Request

from rtlib.httpserver import Limits, SmallSite


class Echo(Resource):
    isLeaf = True

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[bytes] = []

    def render_POST(self, request: Request) -> bytes:
        assert request.content is not None
        self.seen.append(request.content.read())
        return b"done"


class Server:
    """A site, its clock, and connections in memory."""

    def __init__(self, **limits: Any) -> None:
        self.clock = Clock()
        self.echo = Echo()
        self.offences: list[tuple[str, str]] = []
        self.site = SmallSite(
            self.echo, self.clock, lambda host, reason: self.offences.append((host, reason)), Limits(**limits)
        )
        self.site.startFactory()

    def connect(self, host: str = "192.0.2.7") -> tuple[Any, StringTransport]:
        address = IPv4Address("TCP", host, 50000)
        transport = StringTransport(peerAddress=address)
        protocol = self.site.buildProtocol(address)
        protocol.makeConnection(transport)
        return protocol, transport


def gone(transport: StringTransport) -> bool:
    return transport.disconnecting or transport.disconnected


@pytest.fixture
def server() -> Server:
    return Server()


def post(length: int | None, body: bytes) -> bytes:
    framing = b"Transfer-Encoding: chunked" if length is None else b"Content-Length: %d" % length
    return b"POST / HTTP/1.1\r\nHost: x\r\n" + framing + b"\r\n\r\n" + body


def test_a_request(server: Server) -> None:
    protocol, transport = server.connect()
    protocol.dataReceived(post(1, b"0"))
    assert transport.value().startswith(b"HTTP/1.1 200 OK")
    assert server.echo.seen == [b"0"]
    assert not gone(transport)


@pytest.mark.parametrize("length", [4097, 10**15])
def test_a_body_that_is_announced_as_too_large(server: Server, length: int) -> None:
    protocol, transport = server.connect()
    protocol.dataReceived(post(length, b"x" * 5000))
    assert transport.value().startswith(b"HTTP/1.1 413 ")
    assert gone(transport)
    assert server.echo.seen == []


def test_a_body_that_turns_out_to_be_too_large(server: Server) -> None:
    protocol, transport = server.connect()
    protocol.dataReceived(post(None, b"1000\r\n" + b"x" * 4096 + b"\r\n"))
    assert not gone(transport)
    protocol.dataReceived(b"1\r\nx\r\n0\r\n\r\n")
    assert transport.value().startswith(b"HTTP/1.1 413 ")
    assert gone(transport)
    assert server.echo.seen == []


def test_endless_header_lines(server: Server) -> None:
    protocol, transport = server.connect()
    protocol.dataReceived(b"GET / HTTP/1.1\r\n" + b"X-Filler: %s\r\n" % (b"x" * 1000) * 40)
    assert gone(transport)


@pytest.mark.parametrize(
    "nonsense", [b"\x16\x03\x01\x02\x00\x01", b"nonsense\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n"]
)
def test_nonsense_raises_nothing(server: Server, nonsense: bytes) -> None:
    protocol, _ = server.connect()
    protocol.dataReceived(nonsense)
    protocol.connectionLost()
    assert server.site.connections == 0


def test_the_connections_of_one_host_are_bounded() -> None:
    server = Server(per_host=2)
    connections = [server.connect() for _ in range(3)]
    assert [gone(transport) for _, transport in connections] == [False, False, True]
    assert server.offences == [("192.0.2.7", "has too many connections")]
    connections[2][0].connectionLost()
    connections[0][0].connectionLost()
    _, transport = server.connect()
    assert not gone(transport)
    assert (server.site.connections, server.site.refused) == (2, 1)


def test_all_connections_are_bounded() -> None:
    server = Server(connections=2)
    made = [server.connect(f"192.0.2.{number}")[1] for number in range(3)]
    assert [gone(transport) for transport in made] == [False, False, True]


def test_who_sends_byte_after_byte_is_cut_off_in_the_end() -> None:
    server = Server(life=30.0, idle=10)
    protocol, transport = server.connect()
    for _ in range(6):
        assert not gone(transport)
        protocol.dataReceived(b"G")
        server.clock.advance(5)
    assert gone(transport)
    assert server.offences == [("192.0.2.7", "keeps a connection for too long")]
    protocol.connectionLost()
    assert server.clock.getDelayedCalls() == []


def test_close_ends_all(server: Server) -> None:
    _, transport = server.connect()
    server.site.close()
    assert gone(transport)
