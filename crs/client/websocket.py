"""The client's end of the connection: TLS-PSK over TCP, and a WebSocket of subprotocol crs.v1 in it.

Autobahn stays behind this module: the rest of the client knows a Link and its Receiver.
"""

from __future__ import annotations

from typing import Any, Final, Protocol

from autobahn.twisted.websocket import WebSocketClientFactory, WebSocketClientProtocol
from autobahn.websocket.types import ConnectionResponse
from OpenSSL.SSL import Error as TlsError
from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.defer import CancelledError
from twisted.internet.endpoints import HostnameEndpoint, wrapClientTLS
from twisted.internet.error import ConnectError, ConnectingCancelledError, ConnectionClosed, DNSLookupError
from twisted.internet.protocol import connectionDone
from twisted.python.failure import Failure

from crs.client.credentials import Credentials, Server
from crs.client.error import ClientError, Closed, Denied, Unreachable
from crs.signaling.message import MAX_MESSAGE, SUBPROTOCOL
from rtlib.outcome import Outcome
from rtlib.tls import PskClientOptions

CONNECT_TIMEOUT: Final = 10.0
"""Seconds for TCP, TLS and WebSocket together."""

PING_INTERVAL: Final = 780
"""Seconds between pings: clients ping every 10 to 15 minutes (manual 4.10)."""

PING_TIMEOUT: Final = 20
"""Seconds that the server may take to answer a ping."""


class Receiver(Protocol):
    """Who gets what a Link receives."""

    def message(self, data: bytes) -> None:
        """One message from the server."""

    def lost(self, reason: ClientError) -> None:
        """The connection is gone."""


class Link(Protocol):
    """One open connection."""

    host: str
    """The address that it goes to."""

    def send(self, data: bytes) -> None:
        """Send one message."""

    def close(self) -> None:
        """Close with code 1000; the receiver's `lost` follows."""

    def abort(self) -> None:
        """Cut the connection off; the receiver's `lost` follows."""


async def connect(reactor: Any, server: Server, credentials: Credentials, receiver: Receiver) -> Link:
    """Open a connection. Raises Unreachable or Denied."""
    tls = PskClientOptions(credentials.identity, credentials.key)
    tcp = HostnameEndpoint(reactor, server.host, server.port, timeout=CONNECT_TIMEOUT)
    protocol = _Protocol(receiver, str(server))
    try:
        await wrapClientTLS(tls, tcp).connect(_Factory(reactor, server, protocol))
    except (ConnectError, DNSLookupError) as error:
        raise Unreachable(f"no answer at {server}: {error}") from error
    except ConnectingCancelledError as error:
        raise CancelledError from error
    try:
        await protocol.opened.wait()
    except CancelledError:
        protocol.abort()
        raise
    return protocol


class _Protocol(WebSocketClientProtocol):
    """Autobahn's protocol, as a Link."""

    def __init__(self, receiver: Receiver, where: str) -> None:
        super().__init__()
        self._receiver = receiver
        self._where = where
        self.opened: Outcome[None] = Outcome()
        self.host = ""

    def send(self, data: bytes) -> None:
        """Send one message; nothing happens once the connection is closed."""
        if self.state == self.STATE_OPEN:
            self.sendMessage(data, isBinary=True)

    def close(self) -> None:
        """Start the closing handshake."""
        self.sendClose(1000)

    def abort(self) -> None:
        """Do not wait for the server."""
        self.dropConnection(abort=True)

    def onConnect(self, response: ConnectionResponse) -> None:
        """The server has agreed to a WebSocket."""
        assert self.transport is not None
        peer = self.transport.getPeer()
        assert isinstance(peer, IPv4Address | IPv6Address)
        self.host = peer.host
        if response.protocol != SUBPROTOCOL:
            self.opened.fail(Unreachable(f"{self._where} does not speak {SUBPROTOCOL}"))
            self.dropConnection(abort=True)

    def onOpen(self) -> None:
        """Messages can flow."""
        self.opened.set(None)

    def onMessage(self, payload: bytes, isBinary: bool) -> None:
        """One message: crs.v1 has binary ones only."""
        if isBinary:
            self._receiver.message(payload)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """The end of the connection, whatever its cause."""
        super().connectionLost(reason)
        if not self.opened.decided:
            self.opened.fail(self._refusal(reason))
            return
        self._receiver.lost(Closed(self._farewell(), self.remoteCloseCode))

    def _refusal(self, reason: Failure) -> ClientError:
        if reason.check(TlsError):
            # An alert is the server's word; without one it is we who could make nothing of its bytes.
            if "alert" in str(reason.value):
                return Denied(f"{self._where} refused the TLS handshake: unknown identity or wrong key")
            return Unreachable(f"{self._where} does not speak TLS with pre-shared keys")
        if reason.check(ConnectionClosed):
            return Unreachable(f"{self._where} closed the connection before the WebSocket was open")
        return Unreachable(f"no WebSocket at {self._where}: {reason.getErrorMessage()}")

    def _farewell(self) -> str:
        code, text = self.remoteCloseCode, self.remoteCloseReason
        if code is None:
            return f"the connection to {self._where} was lost"
        return f"{self._where} closed the connection: {text or 'no reason given'} ({code})"


class _Factory(WebSocketClientFactory):
    """Gives Autobahn the one protocol of a connection and its options."""

    noisy = False

    def __init__(self, reactor: Any, server: Server, protocol: _Protocol) -> None:
        super().__init__(f"wss://{server}", protocols=[SUBPROTOCOL], reactor=reactor)
        self._protocol = protocol
        self.setProtocolOptions(
            maxMessagePayloadSize=MAX_MESSAGE,
            openHandshakeTimeout=CONNECT_TIMEOUT,
            closeHandshakeTimeout=1,
            autoPingInterval=PING_INTERVAL,
            autoPingTimeout=PING_TIMEOUT,
            tcpNoDelay=True,
        )

    def buildProtocol(self, address: object) -> _Protocol:
        """The protocol of the connection just made."""
        self._protocol.factory = self
        return self._protocol
