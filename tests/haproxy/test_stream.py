"""One TCP connection: framing, keep-alives, peers that stall."""

import pytest
from twisted.internet.address import IPv4Address
from twisted.internet.error import ConnectionDone
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure

from haproxy.sip.flow import Flow
from haproxy.stream import BUFFER, IDLE, PATIENCE, SipStream

MESSAGE = b"OPTIONS sip:x SIP/2.0\r\nContent-Length: 0\r\n\r\n"


class Transport(StringTransport):
    """A TCP transport that remembers how it was closed."""

    aborted = False

    def setTcpNoDelay(self, enabled: bool) -> None: ...

    def abortConnection(self) -> None:
        self.aborted = True


class Owner:
    """What a connection tells."""

    def __init__(self) -> None:
        self.messages: list[bytes] = []
        self.offences: list[str] = []
        self.open = False

    def connected(self, stream: SipStream) -> None:
        self.open = True

    def ready(self, stream: SipStream) -> None: ...

    def received(self, stream: SipStream, messages: list[bytes]) -> None:
        self.messages += messages

    def offended(self, stream: SipStream, kind: str, reason: str) -> None:
        self.offences.append(kind)

    def disconnected(self, stream: SipStream) -> None:
        self.open = False


class Peer:
    """Somebody who is connected."""

    def __init__(self) -> None:
        self.clock, self.owner = Clock(), Owner()
        self.transport = Transport(peerAddress=IPv4Address("TCP", "192.0.2.5", 40000))
        self.stream = SipStream(self.owner, self.clock, Flow("tcp", 1, b"", 7))
        self.stream.makeConnection(self.transport)

    def lost(self) -> None:
        self.stream.connectionLost(Failure(ConnectionDone()))


@pytest.fixture
def peer() -> Peer:
    return Peer()


def test_messages_in_pieces(peer: Peer) -> None:
    for data in (MESSAGE[:10], MESSAGE[10:] + MESSAGE, b"\r\n\r\n"):
        peer.stream.dataReceived(data)
    assert peer.owner.messages == [MESSAGE, MESSAGE]
    assert peer.transport.value() == b"\r\n"


@pytest.mark.parametrize("data", [b"", MESSAGE[:10]])
def test_who_says_nothing_or_stops_is_cut_off(peer: Peer, data: bytes) -> None:
    if data:
        peer.stream.dataReceived(data)
    peer.clock.advance(PATIENCE - 1)
    assert not peer.transport.aborted
    peer.clock.advance(1)
    assert peer.transport.aborted
    assert peer.owner.offences == ["slow"]


def test_dripping_does_not_extend_the_time(peer: Peer) -> None:
    for byte in MESSAGE[:11]:
        peer.stream.dataReceived(bytes([byte]))
        peer.clock.advance(1)
    assert peer.transport.aborted


def test_idle_connections_are_closed_in_order(peer: Peer) -> None:
    peer.stream.dataReceived(MESSAGE)
    peer.clock.advance(IDLE - 1)
    assert not peer.transport.disconnecting
    peer.clock.advance(1)
    assert peer.transport.disconnecting
    assert peer.owner.offences == []


def test_what_cannot_be_framed_ends_it(peer: Peer) -> None:
    peer.stream.dataReceived(b"OPTIONS sip:x SIP/2.0\r\nContent-Length: many\r\n\r\n")
    assert peer.owner.offences == ["framing"]
    assert len(peer.owner.messages) == 1
    assert peer.transport.disconnecting


def test_who_does_not_read_is_cut_off(peer: Peer) -> None:
    peer.stream.pauseProducing()
    peer.stream.write(b"x" * BUFFER)
    assert not peer.transport.aborted
    peer.stream.write(b"x")
    assert peer.transport.aborted
    assert peer.owner.offences == ["stalled"]


def test_who_reads_again_is_not(peer: Peer) -> None:
    peer.stream.pauseProducing()
    peer.stream.write(b"x" * BUFFER)
    peer.stream.resumeProducing()
    peer.stream.write(b"x" * BUFFER)
    assert not peer.transport.aborted


def test_no_timer_is_left_behind(peer: Peer) -> None:
    peer.stream.dataReceived(MESSAGE)
    peer.lost()
    assert list(peer.clock.getDelayedCalls()) == []
    assert not peer.owner.open
