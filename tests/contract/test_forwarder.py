"""What every forwarder must do, over real sockets. Another one is one more parameter of `bench`."""

from __future__ import annotations

import errno
import os
import socket
import time
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest

from rtlib.address import Address, pack
from rtlib.datagram import BATCHES_PER_WAKE, CLOSE_WAKES
from rtlib.listen import bind_datagram
from rtlib.media import native_forwarder
from rtlib.media.forwarder import (
    MAX_PACKET,
    MAX_TARGETS,
    UNMATCHED_PER_DRAIN,
    Classify,
    Forwarder,
    PortCounters,
)
from rtlib.media.native_forwarder import NativeForwarder
from rtlib.media.reactor_forwarder import BATCH, ReactorForwarder

SSRC = 0x01020304


class Descriptors:
    """As much of a reactor as the pure Python forwarder needs; each turn wakes whoever has something to
    read.
    """

    def __init__(self) -> None:
        self.readers: list[Any] = []

    def addReader(self, reader: Any) -> None:
        self.readers.append(reader)

    def removeReader(self, reader: Any) -> None:
        if reader in self.readers:
            self.readers.remove(reader)

    def addWriter(self, writer: Any) -> None:
        raise AssertionError("a loopback socket is never full in these tests")

    def removeWriter(self, writer: Any) -> None:
        pass

    def turn(self) -> None:
        for reader in list(self.readers):
            reader.doRead()


class Bench:
    def __init__(self, forwarder: Forwarder, reactor: Descriptors) -> None:
        self.forwarder = forwarder
        self.reactor = reactor
        self.ports: list[int] = []
        self.up: list[tuple[int, bytes, Address]] = []
        self.calls: list[int] = []
        self.sockets: list[socket.socket] = []
        self.errors: list[tuple[int, Address, int]] = []
        forwarder.on_unmatched = self.on_unmatched
        forwarder.on_error = lambda *error: self.errors.append(error)

    def on_unmatched(self, port: int, packets: list[tuple[bytes, Address]]) -> None:
        self.calls.append(len(packets))
        self.up += [(port, data, address) for data, address in packets]

    def port(self, classify: Classify, host: str = "127.0.0.1") -> int:
        self.ports.append(self.forwarder.open(bind_datagram(host, 0), classify))
        return self.ports[-1]

    def turn(self) -> None:
        """Let all that was sent be handled, and what goes up go up."""
        self.reactor.turn()

    def party(self, host: str = "127.0.0.1") -> Party:
        sock = bind_datagram(host, 0)
        self.sockets.append(sock)
        return Party(self, sock)


class ThreadBench(Bench):
    """For a forwarder with a thread of its own: it is done when what we send last has come through."""

    def __init__(self, forwarder: Forwarder, reactor: Descriptors) -> None:
        super().__init__(forwarder, reactor)
        self.probe, self.echo = (socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(2))
        self.sockets += [self.probe, self.echo]
        for sock in (self.probe, self.echo):
            sock.bind(("127.0.0.1", 0))
            sock.settimeout(10)
        port = self.forwarder.open(bind_datagram("127.0.0.1", 0), Classify.PORT)
        source, target = (pack(*sock.getsockname()) for sock in (self.probe, self.echo))
        self.forwarder.set_flow(port, 0, source, [(port, target)])
        self.through = self.forwarder.address(port)

    def turn(self) -> None:
        before = None
        # One round serves each port once, and counts what it has sent after the echo of its probe is out.
        while before != (before := self.counters()):
            for _ in range(2):
                self.probe.sendto(rtp(1), self.through)
                self.echo.recv(100)
        self.reactor.turn()

    def counters(self) -> list[PortCounters]:
        counters = []
        for port in self.ports:
            with suppress(KeyError):  # closed
                counters.append(self.forwarder.port_counters(port))
        return counters


class Party:
    def __init__(self, bench: Bench, sock: socket.socket) -> None:
        self.bench, self.socket = bench, sock
        self.address = pack(*sock.getsockname()[:2])

    def send(self, port: int, *packets: bytes) -> None:
        for packet in packets:
            self.socket.sendto(packet, self.bench.forwarder.address(port))
        self.bench.turn()

    def got(self) -> list[tuple[bytes, int]]:
        """All that has arrived, with the port number it came from."""
        packets = []
        try:
            while True:
                data, source = self.socket.recvfrom(4000)
                packets.append((data, source[1]))
        except BlockingIOError:
            return packets


class PausedBench(Bench):
    """For the forwarder that reads in a beat once it is woken often."""

    PAUSE = 0.002

    def turn(self) -> None:
        for _ in range(CLOSE_WAKES + 2):
            self.reactor.turn()
        for _ in range(2):
            time.sleep(1.5 * self.PAUSE)
            self.reactor.turn()


def reactor_bench(reactor: Any) -> Bench:
    return Bench(ReactorForwarder(reactor, pause=0), reactor)


def paused_bench(reactor: Any) -> Bench:
    return PausedBench(ReactorForwarder(reactor, pause=PausedBench.PAUSE), reactor)


def native_bench(reactor: Any) -> Bench:
    if not native_forwarder.available():
        if os.environ.get("REQUIRE_NATIVE"):
            pytest.fail("the native forwarder was not built")
        pytest.skip("the native forwarder was not built")
    return ThreadBench(NativeForwarder(reactor), reactor)


@pytest.fixture(params=[reactor_bench, paused_bench, native_bench])
def bench(request: pytest.FixtureRequest) -> Iterator[Bench]:
    reactor: Any = Descriptors()
    bench = request.param(reactor)
    yield bench
    bench.forwarder.stop()
    for sock in bench.sockets:
        sock.close()
    assert reactor.readers == []


def rtp(ssrc: int, payload: bytes = b"") -> bytes:
    return b"\x80\x00\x00\x01" + bytes(4) + ssrc.to_bytes(4, "big") + payload


def rtcp(ssrc: int, payload: bytes = b"") -> bytes:
    return b"\x80\xc8\x00\x06" + ssrc.to_bytes(4, "big") + payload


def opaque(identifier: int, payload: bytes = b"") -> bytes:
    return b"\x10\x00\x00\x00" + identifier.to_bytes(4, "big") + payload


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
@pytest.mark.parametrize("make", [rtp, rtcp, opaque])
def test_relay_finds_the_flow_by_identifier(bench: Bench, make: Any, host: str) -> None:
    port, one, two = bench.port(Classify.RELAY, host), bench.party(host), bench.party(host)
    bench.forwarder.set_flow(port, SSRC, one.address, [(port, two.address)])
    packets = [make(SSRC, bytes(size)) for size in (0, 1, 1000)]
    one.send(port, *packets)
    number = bench.forwarder.address(port)[1]
    assert two.got() == [(packet, number) for packet in packets] and bench.up == []
    flow = bench.forwarder.flow(port, SSRC)
    assert (flow.rx, flow.tx) == (3, 3) and flow.rx_bytes == flow.tx_bytes == sum(map(len, packets))
    assert flow.last_active > 0 and flow.source == one.address and flow.targets == ((port, two.address),)
    counters = bench.forwarder.port_counters(port)
    assert (counters.received, counters.sent) == (3, 3)
    assert counters.received_bytes == counters.sent_bytes == flow.rx_bytes


def test_many_flows_in_one_batch_keep_their_ways_and_order(bench: Bench) -> None:
    port = bench.port(Classify.RELAY)
    sender, receivers = bench.party(), [bench.party() for _ in range(5)]
    for number, receiver in enumerate(receivers):
        bench.forwarder.set_flow(port, number, sender.address, [(port, receiver.address)])
    sender.send(port, *(rtp(number % 5, bytes([number])) for number in range(50)))
    for number, receiver in enumerate(receivers):
        assert [data for data, _ in receiver.got()] == [rtp(number, bytes([n])) for n in range(number, 50, 5)]


def test_nobody_else_can_send_for_a_flow(bench: Bench) -> None:
    port, one, two, mallory = bench.port(Classify.RELAY), bench.party(), bench.party(), bench.party()
    bench.forwarder.set_flow(port, SSRC, one.address, [(port, two.address)])
    mallory.send(port, rtp(SSRC))
    assert two.got() == [] and bench.up == [(port, rtp(SSRC), mallory.address)]
    flow = bench.forwarder.flow(port, SSRC)
    assert (flow.wrong_source, flow.rx) == (1, 0)
    assert bench.forwarder.port_counters(port).unmatched == 1


def test_a_flow_that_is_not_bound_lets_packets_go_up(bench: Bench) -> None:
    port, one, two = bench.port(Classify.RELAY), bench.party(), bench.party()
    bench.forwarder.set_flow(port, SSRC, None, [(port, two.address)])
    one.send(port, rtp(SSRC), rtp(SSRC + 1))
    assert two.got() == []
    assert bench.up == [(port, rtp(SSRC), one.address), (port, rtp(SSRC + 1), one.address)]
    assert bench.forwarder.flow(port, SSRC).wrong_source == 0


def test_changing_a_flow_keeps_its_counters(bench: Bench) -> None:
    port, one, moved, two, three = (bench.port(Classify.RELAY), *(bench.party() for _ in range(4)))
    bench.forwarder.set_flow(port, SSRC, one.address, [(port, two.address)])
    one.send(port, rtp(SSRC))
    bench.forwarder.set_flow(port, SSRC, moved.address, [(port, two.address), (port, three.address)])
    moved.send(port, rtp(SSRC))
    one.send(port, rtp(SSRC))
    assert (len(two.got()), len(three.got())) == (2, 1)
    flow = bench.forwarder.flow(port, SSRC)
    assert (flow.rx, flow.tx, flow.wrong_source) == (2, 3, 1)
    bench.forwarder.remove_flow(port, SSRC)
    bench.forwarder.remove_flow(port, SSRC)
    with pytest.raises(KeyError):
        bench.forwarder.flow(port, SSRC)
    bench.forwarder.set_flow(port, SSRC, one.address, [])
    assert bench.forwarder.flow(port, SSRC).rx == 0


def test_a_flow_without_targets_counts_and_drops(bench: Bench) -> None:
    port, one = bench.port(Classify.RELAY), bench.party()
    bench.forwarder.set_flow(port, SSRC, one.address, [])
    one.send(port, rtp(SSRC))
    assert bench.up == [] and bench.forwarder.port_counters(port).no_destination == 1
    assert bench.forwarder.flow(port, SSRC).rx == 1


def test_an_audience_hears_every_speaker_but_nobody_hears_himself(bench: Bench) -> None:
    port, parties = bench.port(Classify.RELAY), [bench.party() for _ in range(4)]
    audience = bench.forwarder.audience()
    for number, party in enumerate(parties):
        bench.forwarder.set_speaker(port, number, party.address, audience)
    parties[0].send(port, opaque(0))
    assert bench.forwarder.port_counters(port).no_destination == 1 and bench.up == []
    bench.forwarder.set_audience(audience, [(port, party.address) for party in parties])
    for number, party in enumerate(parties):
        party.send(port, opaque(number))
    for number, party in enumerate(parties):
        others = sorted({0, 1, 2, 3} - {number})
        assert [data for data, _ in party.got()] == [opaque(other) for other in others]
        flow = bench.forwarder.flow(port, number)
        assert (flow.tx, flow.targets) == (3, ())
    bench.forwarder.set_audience(audience, [(port, parties[1].address)])
    parties[0].send(port, opaque(0))
    assert [len(party.got()) for party in parties] == [0, 1, 0, 0]


def test_a_flow_leaves_its_audience(bench: Bench) -> None:
    port, one, two, three = bench.port(Classify.RELAY), bench.party(), bench.party(), bench.party()
    audience = bench.forwarder.audience()
    bench.forwarder.set_audience(audience, [(port, two.address)])
    bench.forwarder.set_speaker(port, SSRC, one.address, audience)
    bench.forwarder.set_flow(port, SSRC, one.address, [(port, three.address)])
    one.send(port, opaque(SSRC))
    assert (two.got(), len(three.got())) == ([], 1)
    bench.forwarder.set_speaker(port, SSRC, one.address, audience)
    del audience  # its speaker still holds it
    one.send(port, opaque(SSRC))
    assert (len(two.got()), three.got()) == (1, [])
    bench.forwarder.remove_flow(port, SSRC)
    one.send(port, opaque(SSRC))
    assert two.got() == [] and len(bench.up) == 1


def test_as_many_targets_as_there_may_be(bench: Bench) -> None:
    port, one, two = bench.port(Classify.RELAY), bench.party(), bench.party()
    audience = bench.forwarder.audience()
    bench.forwarder.set_audience(audience, [(port, two.address)] * MAX_TARGETS)
    bench.forwarder.set_speaker(port, SSRC, one.address, audience)
    one.send(port, opaque(SSRC), opaque(SSRC))
    assert bench.forwarder.flow(port, SSRC).tx == 2 * MAX_TARGETS
    targets = [(port, two.address)] * (MAX_TARGETS + 1)
    with pytest.raises(ValueError):
        bench.forwarder.set_audience(audience, targets)
    with pytest.raises(ValueError):
        bench.forwarder.set_flow(port, SSRC, one.address, targets)
    with pytest.raises(ValueError):
        bench.forwarder.set_speaker(port, -1, one.address, audience)
    with pytest.raises(KeyError):
        bench.forwarder.set_speaker(port + 1, SSRC, one.address, audience)


def test_an_audience_in_a_port_that_is_closed(bench: Bench) -> None:
    left, right, one, two = bench.port(Classify.PORT), bench.port(Classify.PORT), bench.party(), bench.party()
    audience = bench.forwarder.audience()
    bench.forwarder.set_audience(audience, [(right, two.address), (left, two.address)])
    bench.forwarder.set_speaker(left, 0, one.address, audience)
    bench.forwarder.close(right)
    one.send(left, rtp(1))
    assert [source for _, source in two.got()] == [bench.forwarder.address(left)[1]]


@pytest.mark.parametrize("first", range(1, 16))
def test_relay_control_packets_always_go_up(bench: Bench, first: int) -> None:
    port, one, two = bench.port(Classify.RELAY), bench.party(), bench.party()
    bench.forwarder.set_flow(port, SSRC, one.address, [(port, two.address)])
    packet = bytes([first, 0, 0, 0]) + SSRC.to_bytes(4, "big") + bytes(24)
    one.send(port, packet)
    assert bench.up == [(port, packet, one.address)] and two.got() == []


@pytest.mark.parametrize("classify", Classify)
def test_too_short_and_too_long(bench: Bench, classify: Classify) -> None:
    port, one, two = bench.port(classify), bench.party(), bench.party()
    key = SSRC if classify is Classify.RELAY else 0
    bench.forwarder.set_flow(port, key, one.address, [(port, two.address)])
    short = [b"", b"\x80", rtp(SSRC)[:11], rtcp(SSRC)[:7], opaque(SSRC)[:7]]
    one.send(port, *short, rtp(SSRC, bytes(MAX_PACKET - 11)), bytes(4000))
    counters = bench.forwarder.port_counters(port)
    assert (counters.too_short, counters.too_long, counters.unmatched) == (len(short), 2, 0)
    one.send(port, rtp(SSRC), rtcp(SSRC), opaque(SSRC), rtp(SSRC, bytes(MAX_PACKET - 12)))
    assert [len(data) for data, _ in two.got()] == [12, 8, 8, MAX_PACKET]


def test_a_port_pair(bench: Bench) -> None:
    left, right, one, two = bench.port(Classify.PORT), bench.port(Classify.PORT), bench.party(), bench.party()
    one.send(left, rtp(1))
    assert bench.up == [(left, rtp(1), one.address)]  # the caller latches
    bench.forwarder.set_flow(left, 0, one.address, [(right, two.address)])
    bench.forwarder.set_flow(right, 0, two.address, [(left, one.address)])
    stun = b"\x00\x01\x00\x00\x21\x12\xa4\x42" + bytes(12)
    one.send(left, rtp(1), rtp(2), rtcp(1), stun)
    two.send(right, rtp(3))
    number = bench.forwarder.address
    assert two.got() == [(packet, number(right)[1]) for packet in (rtp(1), rtp(2), rtcp(1), stun)]
    assert one.got() == [(rtp(3), number(left)[1])]
    assert bench.forwarder.flow(left, 0).rx == 4 and bench.forwarder.port_counters(right).sent == 4


def test_packets_that_go_up_are_bounded_and_all_accounted_for(bench: Bench) -> None:
    port, one = bench.port(Classify.RELAY), bench.party()
    for _ in range(1000):
        one.socket.sendto(rtp(7), bench.forwarder.address(port))
    for _ in range(10):
        bench.turn()
    counters = bench.forwarder.port_counters(port)
    assert counters.unmatched == counters.received == 1000
    assert len(bench.up) + counters.unmatched_dropped == 1000
    assert max(bench.calls) <= UNMATCHED_PER_DRAIN


def test_the_python_forwarder_cannot_hand_up_more_than_the_bound() -> None:
    assert BATCH * BATCHES_PER_WAKE <= UNMATCHED_PER_DRAIN


def test_a_failing_caller_does_not_stop_the_flows(bench: Bench) -> None:
    port, one, two = bench.port(Classify.RELAY), bench.party(), bench.party()
    bench.forwarder.set_flow(port, SSRC, one.address, [(port, two.address)])

    def fail(port: int, packets: list[tuple[bytes, Address]]) -> None:
        raise ValueError("no")

    bench.forwarder.on_unmatched = fail
    one.send(port, rtp(9), rtp(SSRC))
    assert len(two.got()) == 1


def test_answers_of_the_caller(bench: Bench) -> None:
    port, one = bench.port(Classify.RELAY), bench.party()
    bench.forwarder.send(port, b"\x02ack", one.address)
    assert one.got() == [(b"\x02ack", bench.forwarder.address(port)[1])]


def test_closing_a_port_that_others_send_through(bench: Bench) -> None:
    left, right, one, two = bench.port(Classify.PORT), bench.port(Classify.PORT), bench.party(), bench.party()
    bench.forwarder.set_flow(left, 0, one.address, [(right, two.address), (left, two.address)])
    bench.forwarder.close(right)
    one.send(left, rtp(1))
    assert [source for _, source in two.got()] == [bench.forwarder.address(left)[1]]
    again = bench.port(Classify.PORT)
    assert again not in (left, right)
    for call in (
        lambda: bench.forwarder.close(right),
        lambda: bench.forwarder.set_flow(right, 0, None, []),
        lambda: bench.forwarder.remove_flow(right, 0),
        lambda: bench.forwarder.port_counters(right),
        lambda: bench.forwarder.send(right, b"x", one.address),
        lambda: bench.forwarder.flow(left, 0) and bench.forwarder.flow(again, 0),
    ):
        with pytest.raises(KeyError):
            call()


def test_keys_that_no_packet_can_have(bench: Bench) -> None:
    for classify, key in ((Classify.PORT, 1), (Classify.RELAY, -1), (Classify.RELAY, 1 << 32)):
        with pytest.raises(ValueError):
            bench.forwarder.set_flow(bench.port(classify), key, None, [])


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_a_receiver_that_is_gone_becomes_an_event(bench: Bench, host: str) -> None:
    port, one, two = bench.port(Classify.RELAY, host), bench.party(host), bench.party(host)
    gone = bind_datagram(host, 0)
    nobody = pack(*gone.getsockname()[:2])
    gone.close()
    bench.forwarder.set_flow(port, SSRC, one.address, [(port, nobody), (port, two.address)])
    one.send(port, rtp(SSRC))
    bench.turn()  # the ICMP error has come after the packet was sent
    assert bench.errors == [(port, nobody, errno.ECONNREFUSED)]
    assert len(two.got()) == 1
