"""TLS-PSK on Twisted: our two ends with each other, and Debian's openssl against our server."""

from __future__ import annotations

import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from OpenSSL import SSL
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import HostnameEndpoint, connectProtocol
from twisted.internet.interfaces import IHandshakeListener
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.threads import deferToThread
from twisted.protocols.tls import TLSMemoryBIOFactory
from twisted.python.failure import Failure
from zope.interface import implementer

from rtlib.listen import StreamPort, bind_stream
from rtlib.testing.loop import installed_reactor, run
from rtlib.tls import PskClientOptions, PskServerOptions, peer_identity

KEY = bytes(range(32))
ALICE = b"sip:alice@example.org@acct"


@implementer(IHandshakeListener)
class Greeter(Protocol):
    """Says who the client is."""

    def connectionMade(self) -> None:
        with pytest.raises(ValueError):
            peer_identity(self.transport)

    def handshakeCompleted(self) -> None:
        assert self.transport is not None
        self.transport.write(b"hello " + peer_identity(self.transport) + b"\n")
        self.transport.loseConnection()


@asynccontextmanager
async def server() -> AsyncIterator[int]:
    reactor = installed_reactor()
    options = PskServerOptions({ALICE: KEY}.get)
    factory = TLSMemoryBIOFactory(options, False, Factory.forProtocol(Greeter), reactor)
    port = StreamPort(bind_stream("127.0.0.1", 0), factory, reactor)
    port.startService()
    try:
        assert isinstance(port.address, tuple)
        yield port.address[1]
    finally:
        await port.stopService()


class Reader(Protocol):
    def __init__(self) -> None:
        self.data = b""
        self.closed: Deferred[bytes] = Deferred()

    def dataReceived(self, data: bytes) -> None:
        self.data += data

    def connectionLost(self, reason: Any = None) -> None:
        assert isinstance(reason, Failure)
        self.closed.callback(self.data) if self.data else self.closed.errback(reason)


async def hear(identity: bytes, key: bytes) -> bytes:
    async with server() as port:
        reactor = installed_reactor()
        reader = Reader()
        wrapped = TLSMemoryBIOFactory(
            PskClientOptions(identity, key), True, Factory.forProtocol(lambda: reader), reactor
        )
        protocol = wrapped.buildProtocol(None)
        assert protocol is not None
        await connectProtocol(HostnameEndpoint(reactor, "127.0.0.1", port), protocol)
        return await reader.closed


def test_our_client_and_server() -> None:
    assert run(lambda: hear(ALICE, KEY)) == b"hello " + ALICE + b"\n"


def test_our_client_with_a_wrong_key() -> None:
    with pytest.raises(SSL.Error):
        run(lambda: hear(ALICE, b"x" * 32))


def s_client(*arguments: str) -> str:
    """Run openssl against our server until the server closes; give what it prints."""

    async def main() -> str:
        async with server() as port:
            command = ["openssl", "s_client", "-connect", f"127.0.0.1:{port}", *arguments]
            waiting: Deferred[subprocess.CompletedProcess[str]] = deferToThread(
                subprocess.run,
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                timeout=10,
            )
            return (await waiting).stdout

    return run(main, timeout=15)


def alert(output: str) -> str:
    """Give the number of the alert that the server sent."""
    return output.partition("SSL alert number ")[2].split()[0]


def as_client(identity: bytes, key: bytes) -> tuple[str, ...]:
    return ("-psk_identity", identity.decode(), "-psk", key.hex(), "-ign_eof")


@pytest.mark.peer("openssl")
@pytest.mark.parametrize("version, suite", [("-tls1_3", "TLS_CHACHA20_POLY1305"), ("-tls1_2", "ECDHE-PSK")])
def test_openssl_completes_a_handshake(version: str, suite: str) -> None:
    output = s_client(version, *as_client(ALICE, KEY))
    assert "hello " + ALICE.decode() in output and suite in output and "X25519" in output


@pytest.mark.peer("openssl")
@pytest.mark.parametrize("version", ["-tls1_3", "-tls1_2"])
def test_openssl_with_a_wrong_key_or_an_unknown_name_gets_the_same_alert(version: str) -> None:
    wrong = s_client(version, *as_client(ALICE, b"x" * 32))
    unknown = s_client(version, *as_client(b"bob@acct", b"x" * 32))
    assert alert(wrong) == alert(unknown)
    assert "hello" not in wrong + unknown


@pytest.mark.peer("openssl")
@pytest.mark.parametrize("version", ["-tls1_3", "-tls1_2"])
def test_openssl_without_a_key_is_refused(version: str) -> None:
    assert alert(s_client(version)) == "40"  # handshake_failure


@pytest.mark.peer("openssl")
def test_openssl_with_an_older_group_is_asked_again() -> None:
    output = s_client("-tls1_3", "-groups", "P-384:P-256", *as_client(ALICE, KEY))
    assert "hello" in output and "prime256v1" in output
