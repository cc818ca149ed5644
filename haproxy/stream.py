"""One SIP connection over TCP or TLS: RFC 3261 section 18.3 framing, with bounds on what a peer may do."""

from __future__ import annotations

from typing import Any
from typing import Protocol as Interface

from OpenSSL import SSL
from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.interfaces import IDelayedCall, IHandshakeListener, IPushProducer, IReactorTime
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure
from zope.interface import implementer

from haproxy.sip.flow import Flow
from haproxy.sip.framing import PING, PONG, Framer
from haproxy.tls.context import reason_of
from rtlib.address import pack

IDLE = 1800.0
"""Seconds of silence after which a connection is closed; phones send keep-alives much more often."""

PATIENCE = 10.0
"""Seconds from a message's first byte to its last, and from a connection's start to its first message."""

BUFFER = 256 * 1024
"""Bytes that may wait for a peer that does not read, before it is cut off."""


class Owner(Interface):
    """What a connection tells the transport that it belongs to."""

    def connected(self, stream: SipStream) -> None:
        """The connection is there; over TLS nobody has proved anything yet."""

    def ready(self, stream: SipStream) -> None:
        """Messages can be sent."""

    def received(self, stream: SipStream, messages: list[bytes]) -> None:
        """Whole messages have come."""

    def offended(self, stream: SipStream, kind: str, reason: str) -> None:
        """The peer did what it must not do; the connection is being closed."""

    def disconnected(self, stream: SipStream) -> None:
        """It is closed."""


@implementer(IPushProducer, IHandshakeListener)
class SipStream(Protocol):
    """Cuts messages out of a stream; answers keep-alives (RFC 5626 4.4.1); gives up on peers that stall."""

    transport: Any
    """A TCP or TLS transport: it can be aborted, and tells when it is full."""

    def __init__(self, owner: Owner, clock: IReactorTime, flow: Flow) -> None:
        """`flow` tells what is known of it, its number included; `remote` is learned from the connection."""
        self.flow = flow
        self._owner = owner
        self._clock = clock
        self._framer = Framer()
        self._timer: IDelayedCall | None = None
        self._waiting = 0
        self._choked = False
        self._ready = False
        self._gone = False
        """We closed it."""

    def connectionMade(self) -> None:
        """Learn who the peer is, and start to wait for it."""
        peer = self.transport.getPeer()
        assert isinstance(peer, IPv4Address | IPv6Address)
        self.flow = self.flow._replace(remote=pack(peer.host, peer.port))
        self.transport.setTcpNoDelay(True)
        self.transport.registerProducer(self, True)
        self._expect(PATIENCE, "sent no message in time")
        self._owner.connected(self)
        if self.flow.transport != "tls":
            self.handshakeCompleted()

    def handshakeCompleted(self) -> None:
        """Begin to talk; over TLS the peer has proved what it had to (called by Twisted)."""
        self._ready = True
        self._owner.ready(self)

    def dataReceived(self, data: bytes) -> None:
        """Pass whole messages on; what is left must be complete soon."""
        partial = self._framer.partial
        messages = self._framer.receive(data)
        for _ in range(messages.count(PING)):
            self.write(PONG)
        messages = [message for message in messages if message != PING]
        if not self._framer.partial:
            self._expect(IDLE, "")
        elif messages or not partial:
            self._expect(PATIENCE, "did not finish a message in time")
        if messages:
            self._owner.received(self, messages)
        if self._framer.fault is not None:
            self._refuse(self._framer.fault)

    def write(self, data: bytes) -> None:
        """Send a message, or cut the peer off if it has not read the ones before."""
        if self._choked:
            self._waiting += len(data)
            if self._waiting > BUFFER:
                self._offend("stalled", "does not read what it is sent")
                return
        self.transport.write(data)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Stop waiting; say why where no handshake came about."""
        self._cancel()
        if self.flow.transport == "tls" and not self._gone and self._is_refusal(reason):
            self._owner.offended(
                self, "tls", f"handshake failed: {reason_of(reason.value, self.transport.getHandle())}"
            )
        self._owner.disconnected(self)

    def _is_refusal(self, reason: Failure) -> bool:
        """In TLS 1.3 a server refuses a client after the client's handshake is done: by an alert."""
        return not self._ready or reason.check(SSL.Error) is not None

    def close(self) -> None:
        """Close in order: what was written is still sent."""
        self._gone = True
        self._cancel()
        self.transport.unregisterProducer()
        self.transport.loseConnection()

    def abort(self) -> None:
        """Close at once."""
        self._gone = True
        self._cancel()
        self.transport.abortConnection()

    def pauseProducing(self) -> None:
        """The kernel's buffer and Twisted's are full."""
        self._choked = True

    def resumeProducing(self) -> None:
        """The peer has read everything."""
        self._choked, self._waiting = False, 0

    def stopProducing(self) -> None:
        """The connection is gone."""

    def _expect(self, seconds: float, offence: str) -> None:
        self._cancel()
        self._timer = self._clock.callLater(seconds, self._expired, offence)

    def _expired(self, offence: str) -> None:
        self._timer = None
        if offence:
            self._offend("slow", offence)
        else:
            self.close()

    def _refuse(self, fault: str) -> None:
        """What cannot be framed ends the connection, after the answer to what could be read of it."""
        self._owner.offended(self, "framing", fault)
        self.close()

    def _offend(self, kind: str, reason: str) -> None:
        self._owner.offended(self, kind, reason)
        self.abort()

    def _cancel(self) -> None:
        timer, self._timer = self._timer, None
        if timer is not None:
            timer.cancel()
