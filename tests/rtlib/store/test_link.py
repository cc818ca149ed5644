"""The connection that comes back by itself, on a wire in memory."""

from __future__ import annotations

from typing import Any

import pytest
from twisted.internet.endpoints import TCP4ClientEndpoint
from twisted.internet.error import ConnectionLost, ConnectionRefusedError
from twisted.internet.protocol import Protocol
from twisted.internet.testing import MemoryReactorClock, StringTransport
from twisted.python.failure import Failure

from rtlib.store import link
from rtlib.store.link import DELAYS, SILENCE, Link
from rtlib.store.resp import Reply

GREETING = ((b"HELLO",), (b"READY?",))


class Wire(StringTransport):
    """A transport that may be aborted, as those of the reactor may."""

    protocol: Protocol

    def abortConnection(self) -> None:
        self.disconnecting = True


class Peer:
    """A server's side of a Link's connections, and what the Link has told its owner."""

    def __init__(self) -> None:
        self.told: list[Any] = []
        self.clock = MemoryReactorClock()
        self.link = Link(
            TCP4ClientEndpoint(self.clock, "127.0.0.1", 1), self.clock, self, GREETING, self.unfit
        )
        self.link.start()

    def unfit(self, replies: list[Reply]) -> str:
        return "it is too old" if "OLD" in replies or b"OLD" in replies else ""

    def link_up(self) -> None:
        self.told.append("up")

    def link_down(self, reason: str) -> None:
        self.told.append(reason)

    def answered(self, reply: Reply) -> None:
        self.told.append(("answered", reply))

    @property
    def attempts(self) -> int:
        return len(self.clock.tcpClients)

    def refuse(self) -> None:
        factory: Any = self.clock.tcpClients[-1][2]
        factory.clientConnectionFailed(None, Failure(ConnectionRefusedError()))

    def accept(self) -> Wire:
        wire = Wire()
        factory: Any = self.clock.tcpClients[-1][2]
        wire.protocol = factory.buildProtocol(None)
        wire.protocol.makeConnection(wire)
        return wire

    def greeted(self) -> Wire:
        wire = self.accept()
        wire.protocol.dataReceived(b"+OK\r\n+OK\r\n")
        wire.clear()
        return wire

    def lose(self, wire: Wire) -> None:
        wire.protocol.connectionLost(Failure(ConnectionLost()))


def test_it_greets_then_is_up_and_hands_replies_on() -> None:
    peer = Peer()
    wire = peer.accept()
    assert wire.value() == b"*1\r\n$5\r\nHELLO\r\n*1\r\n$6\r\nREADY?\r\n"
    wire.protocol.dataReceived(b"+OK\r\n")
    assert not peer.link.up
    wire.protocol.dataReceived(b"+OK\r\n")
    assert peer.link.up and peer.told == ["up"]
    wire.clear()
    peer.link.send([(b"A",), (b"B", b"")])
    assert wire.value() == b"*1\r\n$1\r\nA\r\n*2\r\n$1\r\nB\r\n$0\r\n\r\n"
    wire.protocol.dataReceived(b":1\r\n-ERR no\r\n")
    assert peer.told[1] == ("answered", 1) and "no" in str(peer.told[2][1])


def test_it_tries_again_and_waits_longer_each_time() -> None:
    peer, delay = Peer(), DELAYS[0]
    for attempt in range(1, 12):
        peer.refuse()
        assert len(peer.told) == attempt and "refused" in peer.told[-1]
        peer.clock.advance(delay * 0.99)
        assert peer.attempts == attempt
        peer.clock.advance(delay * 0.02)
        assert peer.attempts == attempt + 1
        delay = min(2 * delay, DELAYS[1])


def test_only_a_server_that_has_answered_is_come_back_to_quickly() -> None:
    peer = Peer()
    for _ in range(5):
        peer.lose(peer.greeted())
        peer.clock.advance(DELAYS[1])
    wire = peer.greeted()
    peer.link.send([(b"A",)])
    wire.protocol.dataReceived(b"+OK\r\n")
    attempts = peer.attempts
    peer.lose(wire)
    peer.clock.advance(DELAYS[0])
    assert peer.attempts == attempts + 1


def test_a_server_that_will_not_do_is_left() -> None:
    peer = Peer()
    wire = peer.accept()
    wire.protocol.dataReceived(b"+OK\r\n+OLD\r\n")
    assert wire.disconnecting and not peer.link.up
    peer.lose(wire)
    assert peer.told == ["it is too old"]


@pytest.mark.parametrize(
    "error",
    [
        b"-LOADING Redis is loading the dataset in memory",
        b"-NOSCRIPT No matching script. Please use EVAL.",
        b"-READONLY You can't write against a read only replica. script: abc, on @user_script:3.",
        b"-ERR Error running script (call to f_1): @user_script:3: @user_script: 3: -READONLY You can't.",
    ],
)
def test_a_server_that_can_serve_nobody_now_is_left_and_what_it_says_next_is_not_heard(error: bytes) -> None:
    peer = Peer()
    wire = peer.greeted()
    peer.link.send([(b"A",), (b"B",)])
    wire.protocol.dataReceived(error + b"\r\n+OK\r\n")
    assert wire.disconnecting and not peer.link.up
    peer.lose(wire)
    assert peer.told[0] == "up" and error[4:20].decode() in peer.told[1] and len(peer.told) == 2


def test_a_reply_that_nothing_was_asked_for() -> None:
    peer = Peer()
    wire = peer.greeted()
    wire.protocol.dataReceived(b"+OK\r\n")
    peer.lose(wire)
    assert peer.told == ["up", "it said something unasked"]


def test_a_silent_server_is_left_and_an_idle_one_is_not() -> None:
    peer = Peer()
    wire = peer.greeted()
    peer.clock.pump([SILENCE / 2] * 10)
    assert peer.link.up and not wire.disconnecting
    peer.link.send([(b"A",), (b"B",)])
    peer.clock.advance(SILENCE * 0.9)
    wire.protocol.dataReceived(b"+OK\r\n")
    peer.clock.advance(SILENCE * 0.9)
    assert peer.link.up
    peer.clock.pump([SILENCE / 2] * 4)
    assert wire.disconnecting
    peer.lose(wire)
    assert peer.told[-1] == "it did not answer within 10 s"


def test_a_server_that_does_not_greet_back_is_left() -> None:
    peer = Peer()
    wire = peer.accept()
    peer.clock.advance(SILENCE)
    assert wire.disconnecting
    peer.lose(wire)
    assert peer.told == ["it did not answer within 10 s"]


def test_stop_in_every_state_leaves_nothing_behind() -> None:
    connecting, waiting, connected = Peer(), Peer(), Peer()
    waiting.refuse()
    wire = connected.greeted()
    connected.link.send([(b"A",)])
    for peer in (connecting, waiting, connected):
        stopped: list[None] = []
        peer.link.stop().addCallback(stopped.append)
        if peer is connected:
            assert wire.disconnecting and not stopped
            peer.lose(wire)
        assert stopped == [None] and not peer.link.up
        assert not peer.clock.getDelayedCalls()
    assert connected.told == ["up"]


def test_nothing_can_be_sent_without_a_connection() -> None:
    with pytest.raises(RuntimeError, match="no connection"):
        Peer().link.send([(b"A",)])
    assert link.DELAYS[0] < 0.1  # a restart of the server is over in less than a second
