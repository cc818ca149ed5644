"""Connections of clients: TLS-PSK, then WebSocket (RFC 6455) with the subprotocol crs.v1, by Autobahn.

Everything else sees a `Connection` and is told of it through a `Receiver`; Autobahn stays in here.
"""

from __future__ import annotations

from collections import Counter
from contextlib import suppress
from typing import Any, Final, Protocol

from autobahn.twisted.websocket import WebSocketServerFactory, WebSocketServerProtocol
from autobahn.websocket.types import ConnectionDeny, ConnectionRequest
from twisted.internet.interfaces import IDelayedCall, IPushProducer, IReactorTime
from twisted.internet.protocol import connectionDone
from twisted.protocols.tls import TLSMemoryBIOFactory
from twisted.python.failure import Failure
from zope.interface import implementer

from crs.identity import Identity, parse
from crs.keepalive import KeepAlive, Watch, probe
from crs.limits import Limits, LimitTable
from crs.rules import Rules
from crs.signaling.message import MAX_MESSAGE, SUBPROTOCOL
from rtlib.address import subnet
from rtlib.psk import KeyLookup
from rtlib.tls import PskServerOptions, peer_identity

MAX_CONNECTIONS: Final = 50_000
MAX_REQUEST: Final = 8192
"""Bytes of the HTTP request that opens a WebSocket."""
CLOSE_TIME: Final = 1.0
"""Seconds that a client has to answer a close."""

MAX_CLOSE_REASON: Final = 123
"""Bytes (RFC 6455 section 5.5)."""
CLOSE_UNSUPPORTED: Final = 1003
"""Text was sent where only binary messages are (RFC 6455 section 7.4.1)."""


class Connection(Protocol):
    """One client's open connection: who it is, where it comes from, and the way to it."""

    @property
    def identity(self) -> Identity:
        """Who the client has proven to be."""

    host: str
    port: int

    def send(self, data: bytes) -> None:
        """Send one message; nothing happens on a connection that is closing."""

    def close(self, code: int, reason: str) -> None:
        """Close with this code, after what was sent before; cut off who does not answer within a second."""


class Receiver(Protocol):
    """Who is told of connections."""

    def opened(self, connection: Connection) -> None:
        """A client has connected."""

    def received(self, connection: Connection, data: bytes) -> None:
        """One message of an opened connection."""

    def closed(self, connection: Connection) -> None:
        """An opened connection is gone, or about to be: nothing sent arrives any more. Told once."""

    def offended(self, kind: str, host: str, reason: str) -> None:
        """Somebody at `host` did what a correct client does not."""


class _Silent:
    """Autobahn's log: it repeats strangers' text, for each of their connections; `offended` tells instead."""

    def __getattr__(self, name: str) -> Any:
        return self._ignore

    def _ignore(self, *_: object, **__: object) -> None:
        return


@implementer(IPushProducer)
class ClientProtocol(WebSocketServerProtocol):
    """A `Connection`, from its first byte."""

    log = _Silent()
    factory: ClientFactory
    transport: Any

    def __init__(self) -> None:
        super().__init__()
        self.host = ""
        self.port = 0
        self._identity: Identity | None = None
        self._handshaking = False
        self._opened = False
        self._paused = False
        self._unsent = 0
        self._request_size = 0
        self._cut: IDelayedCall | None = None
        self._limits = Limits()
        self._watch: Watch | None = None

    @property
    def identity(self) -> Identity:
        """Who the client has proven to be."""
        assert self._identity is not None
        return self._identity

    def send(self, data: bytes) -> None:
        """Send one message; a client that lets too much of them wait is cut off."""
        if self.state != self.STATE_OPEN:
            return
        if self._paused:
            self._unsent += len(data)
            if self._unsent > self._limits.outgoing_buffer:
                self.factory.limits.reached["outgoing-buffer"] += 1
                self._offend("does not read", f"{self._limits.outgoing_buffer} bytes wait to be sent")
                self.dropConnection(abort=True)
                return
        self.sendMessage(data, isBinary=True)

    def close(self, code: int, reason: str) -> None:
        """Close with this code, after what was sent before."""
        self.sendCloseFrame(code=code, reasonUtf8=reason.encode()[:MAX_CLOSE_REASON], isReply=False)

    def connectionMade(self) -> None:
        """TCP is there. The handshakes follow; Autobahn's timer covers both."""
        peer = self.transport.getPeer()
        self.host, self.port = peer.host, peer.port
        self._handshaking = True
        self.factory.handshakes[subnet(self.host)] += 1
        super().connectionMade()
        self.transport.registerProducer(self, True)

    def dataReceived(self, data: bytes) -> None:
        """Bytes inside TLS. Autobahn collects the HTTP request without a limit, so the limit is here."""
        if self._handshaking:
            self._request_size += len(data)
            if self._request_size > MAX_REQUEST:
                self._offend("HTTP request too long", f"more than {MAX_REQUEST} bytes")
                self.dropConnection(abort=True)
                return
        elif self._watch is not None:
            self._watch.heard()
        super().dataReceived(data)

    def onConnect(self, request: ConnectionRequest) -> str:
        """Accept who speaks our subprotocol; the key was checked by TLS."""
        if SUBPROTOCOL not in request.protocols:
            raise ConnectionDeny(ConnectionDeny.BAD_REQUEST, f"the subprotocol {SUBPROTOCOL} is required")
        try:
            self._identity = parse(peer_identity(self.transport))
        except ValueError as error:
            raise ConnectionDeny(ConnectionDeny.FORBIDDEN, "only clients may connect here") from error
        return SUBPROTOCOL

    def onOpen(self) -> None:
        """Both handshakes are done."""
        self._end_handshake()
        self._opened = True
        # An event behind a reply would wait 40 ms for the client's acknowledgement (Nagle's algorithm).
        self.transport.setTcpNoDelay(True)
        self._limits = self.factory.limits.of(self.identity.account)
        self.maxFramePayloadSize = self.maxMessagePayloadSize = self._limits.message_size
        self._keep_alive(self.factory.keep_alive.find(self.identity, self.host) or KeepAlive())
        self.factory.receiver.opened(self)

    def onMessage(self, payload: bytes, isBinary: bool) -> None:
        """One whole message."""
        if not self._opened:
            return
        if isBinary:
            self.factory.receiver.received(self, payload)
        else:
            self._offend("text message", "crs.v1 has binary messages only")
            self.close(CLOSE_UNSUPPORTED, "binary messages only")

    def onPing(self, payload: bytes) -> None:
        """Answer, but not to who lets the answers pile up."""
        if not self._paused:
            super().onPing(payload)

    def onCloseFrame(self, code: Any, reasonRaw: Any) -> Any:
        """The client says goodbye, or answers ours. TCP may linger, but nobody reads any more."""
        self._gone()
        return super().onCloseFrame(code, reasonRaw)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """The connection is gone, opened or not."""
        super().connectionLost(reason)
        for timer in (self._cut, self.closeHandshakeTimeoutCall):
            if timer is not None and timer.active():
                timer.cancel()
        self._gone()
        if self._handshaking:
            self._end_handshake()
            self._offend("handshake failed", reason.getErrorMessage())

    def failHandshake(self, reason: str, code: int = 400, responseHeaders: Any = None) -> None:
        """The HTTP request is not what opens a WebSocket."""
        self._offend("bad HTTP request", reason)
        super().failHandshake(reason, code, responseHeaders)

    def onOpenHandshakeTimeout(self) -> None:
        """TLS and WebSocket took too long together."""
        if self._handshaking:
            self._end_handshake()
            self.factory.limits.reached["handshake-time"] += 1
            self._offend("handshake too slow", f"not done after {self.factory.openHandshakeTimeout} s")
        super().onOpenHandshakeTimeout()

    def pauseProducing(self) -> None:
        """The client reads slower than we send."""
        self._paused = True

    def resumeProducing(self) -> None:
        """What waited has been sent."""
        self._paused = False
        self._unsent = 0

    def stopProducing(self) -> None:
        """The connection is lost; connectionLost follows."""

    def _fail_connection(self, code: int = 1001, reason: str = "going away") -> None:
        if code == self.CLOSE_STATUS_CODE_MESSAGE_TOO_BIG:
            self.factory.limits.reached["message-size"] += 1
        self._offend("bad WebSocket frame", reason)
        super()._fail_connection(code, reason)

    def _closeConnection(self, abort: bool = False) -> None:
        """Close TCP. TLS waits for the client's own farewell, so somebody must not wait forever."""
        self._gone()
        super()._closeConnection(abort)
        if not abort and self._cut is None:
            self._cut = self.factory.reactor.callLater(CLOSE_TIME, self.transport.abortConnection)

    def _keep_alive(self, policy: KeepAlive) -> None:
        if policy.method == "tcp":
            # A socket that takes no options any more is lost already, which we are told next.
            with suppress(OSError):
                probe(self.transport.transport.getHandle(), policy)
        else:
            self._watch = Watch(self.factory.reactor, policy, self.sendPing, self._silent)

    def _silent(self) -> None:
        """The client has not answered our ping: TCP would go on trying for a quarter of an hour."""
        self.dropConnection(abort=True)

    def _gone(self) -> None:
        if self._watch is not None:
            self._watch.stop()
            self._watch = None
        if self._opened:
            self._opened = False
            self.factory.receiver.closed(self)

    def _end_handshake(self) -> None:
        self._handshaking = False
        handshakes, place = self.factory.handshakes, subnet(self.host)
        handshakes[place] -= 1
        if not handshakes[place]:
            del handshakes[place]

    def _offend(self, kind: str, reason: str) -> None:
        self.factory.receiver.offended(kind, self.host, reason)


class ClientFactory(WebSocketServerFactory):
    """Makes the protocols of one listening socket, inside `ClientGate`."""

    log = _Silent()
    noisy = False
    protocol: Any = ClientProtocol

    def __init__(
        self,
        reactor: Any,
        receiver: Receiver,
        keep_alive: Rules[KeepAlive] | None = None,
        limits: LimitTable | None = None,
    ) -> None:
        """`reactor` provides IReactorTime."""
        super().__init__(reactor=reactor, protocols=[SUBPROTOCOL], server="crs")
        self.receiver = receiver
        self.handshakes: Counter[str] = Counter()
        self.keep_alive = keep_alive or Rules()
        self.limits = limits or LimitTable()
        self.setProtocolOptions(
            webStatus=False,
            failByDrop=False,
            utf8validateIncoming=False,
            maxFramePayloadSize=MAX_MESSAGE,
            maxMessagePayloadSize=MAX_MESSAGE,
            maxConnections=MAX_CONNECTIONS,
            closeHandshakeTimeout=CLOSE_TIME,
        )

    def admits(self, host: str) -> bool:
        """Whether another connection from this address may begin."""
        most = self.limits.general.handshakes_per_address
        if self.handshakes[subnet(host)] < most:
            return True
        self.limits.reached["handshakes-per-address"] += 1
        self.receiver.offended("too many handshakes", host, f"{most} are under way")
        return False

    def buildProtocol(self, addr: Any) -> Any:
        """A protocol, which takes the time for its handshake from here."""
        self.openHandshakeTimeout = self.limits.general.handshake_time
        return super().buildProtocol(addr)


class ClientGate(TLSMemoryBIOFactory):
    """Puts TLS-PSK under a `ClientFactory`; turns away who opens too many connections, before TLS costs."""

    noisy = False

    def __init__(self, keys: KeyLookup, clients: ClientFactory, clock: IReactorTime) -> None:
        super().__init__(PskServerOptions(keys), False, clients, clock)
        self._clients = clients

    def buildProtocol(self, addr: Any) -> Any:
        """A connection, or None to close it at once."""
        return super().buildProtocol(addr) if self._clients.admits(addr.host) else None
