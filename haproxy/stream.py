"""One SIP connection over TCP: RFC 3261 section 18.3 framing, with bounds on what a peer could stretch."""

from __future__ import annotations

from typing import Any
from typing import Protocol as Interface

from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.interfaces import IDelayedCall, IPushProducer, IReactorTime
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure
from zope.interface import implementer

from haproxy.sip.framing import PING, PONG, Framer
from rtlib.address import Address, pack

IDLE = 1800.0
"""Seconds of silence after which a connection is closed; phones send keep-alives much more often."""

PATIENCE = 10.0
"""Seconds from a message's first byte to its last, and from a connection's start to its first message."""

BUFFER = 256 * 1024
"""Bytes that may wait for a peer that does not read, before it is cut off."""


class Owner(Interface):
    """What a connection tells the transport that it belongs to."""

    def connected(self, stream: SipStream) -> None:
        """It is open."""

    def received(self, stream: SipStream, messages: list[bytes]) -> None:
        """Whole messages have come."""

    def offended(self, stream: SipStream, kind: str, reason: str) -> None:
        """The peer did what it must not do; the connection is being closed."""

    def disconnected(self, stream: SipStream) -> None:
        """It is closed."""


@implementer(IPushProducer)
class SipStream(Protocol):
    """Cuts messages out of a stream; answers keep-alives (RFC 5626 4.4.1); gives up on peers that stall."""

    transport: Any
    """A TCP transport: it can be aborted, and tells when it is full."""

    def __init__(self, owner: Owner, clock: IReactorTime, local: int, number: int) -> None:
        self.local = local
        self.number = number
        self.remote: Address = b""
        self._owner = owner
        self._clock = clock
        self._framer = Framer()
        self._timer: IDelayedCall | None = None
        self._waiting = 0
        self._choked = False

    def connectionMade(self) -> None:
        """Learn who the peer is, and start to wait for it."""
        peer = self.transport.getPeer()
        assert isinstance(peer, IPv4Address | IPv6Address)
        self.remote = pack(peer.host, peer.port)
        self.transport.setTcpNoDelay(True)
        self.transport.registerProducer(self, True)
        self._expect(PATIENCE, "sent no message in time")
        self._owner.connected(self)

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
        """Stop waiting."""
        self._cancel()
        self._owner.disconnected(self)

    def close(self) -> None:
        """Close in order: what was written is still sent."""
        self._cancel()
        self.transport.unregisterProducer()
        self.transport.loseConnection()

    def abort(self) -> None:
        """Close at once."""
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
