"""Batches over real loopback sockets; the reactor is a recorder, so that each wake-up is the test's own."""

from __future__ import annotations

import errno
import socket
import time
from collections.abc import Iterator
from typing import Any, cast

import pytest
from twisted.internet.defer import Deferred
from twisted.logger import ILogObserver, LogEvent, globalLogPublisher
from zope.interface import provider

from rtlib.address import Address, pack
from rtlib.datagram import BATCHES_PER_WAKE, ERRORS_PER_WAKE, DatagramEndpoint
from rtlib.listen import bind_datagram
from rtlib.mmsg import Batch
from rtlib.testing.daemon import wait_until
from rtlib.testing.loop import installed_reactor, run


class Reactor:
    """Remembers who wants to read and to write."""

    def __init__(self) -> None:
        self.readers: set[Any] = set()
        self.writers: set[Any] = set()
        self.addReader, self.removeReader = self.readers.add, self.readers.discard
        self.addWriter, self.removeWriter = self.writers.add, self.writers.discard


class Bench:
    """One endpoint that collects what it gets, and a plain socket to talk to it."""

    def __init__(self, host: str, **options: Any) -> None:
        self.reactor = Reactor()
        self.got: list[list[tuple[bytes, Address]]] = []
        self.errors: list[tuple[Address, int]] = []
        self.socket = bind_datagram(host, 0)
        self.endpoint = DatagramEndpoint(
            self.socket, self.receive, cast(Any, self.reactor), on_error=self.on_error, **options
        )
        self.endpoint.start()
        self.peer = bind_datagram(host, 0)
        self.peer.settimeout(2)
        self.peer_address = pack(*self.peer.getsockname()[:2])

    def receive(self, batch: list[tuple[bytes, Address]]) -> None:
        self.got.append(batch)

    def on_error(self, address: Address, number: int) -> None:
        self.errors.append((address, number))

    def close(self) -> None:
        self.endpoint.stop()
        self.peer.close()


@pytest.fixture(params=["127.0.0.1", "::1"])
def bench(request: pytest.FixtureRequest) -> Iterator[Bench]:
    bench = Bench(request.param, batch=4, max_size=1500, queue=8)
    yield bench
    bench.close()


def closed_port(host: str) -> Address:
    with bind_datagram(host, 0) as sock:
        return pack(*sock.getsockname()[:2])


def test_a_batch_comes_up_with_its_sources_in_order(bench: Bench) -> None:
    for data in (b"a", b"", b"c" * 1500):
        bench.peer.sendto(data, bench.endpoint.address)
    bench.endpoint.doRead()
    assert bench.got == [
        [(b"a", bench.peer_address), (b"", bench.peer_address), (b"c" * 1500, bench.peer_address)]
    ]
    assert bench.endpoint.counters.received == 3 and bench.endpoint.counters.received_bytes == 1501


def test_a_wake_reads_a_bounded_number_of_batches(bench: Bench) -> None:
    for number in range(4 * BATCHES_PER_WAKE + 1):
        bench.peer.sendto(bytes([number]), bench.endpoint.address)
    bench.endpoint.doRead()
    assert list(map(len, bench.got)) == [4] * BATCHES_PER_WAKE
    bench.endpoint.doRead()
    assert bench.got[-1] == [(bytes([4 * BATCHES_PER_WAKE]), bench.peer_address)]


def test_a_batch_goes_out_in_order(bench: Bench) -> None:
    packets = [bytes([number]) * number for number in range(10)]
    bench.endpoint.send([(data, bench.peer_address) for data in packets])
    assert [bench.peer.recv(2000) for _ in packets] == packets
    assert bench.endpoint.counters.sent == 10 and bench.endpoint.counters.sent_bytes == 45


def test_what_is_too_long_is_counted_and_the_rest_comes_up(bench: Bench) -> None:
    for size in (10, 1501, 3000, 1500):
        bench.peer.sendto(bytes(size), bench.endpoint.address)
    bench.endpoint.doRead()
    assert [len(data) for data, _ in bench.got[0]] == [10, 1500]
    assert bench.endpoint.counters.truncated == 2


def test_what_finds_the_buffer_full_is_counted(bench: Bench) -> None:
    bench.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    for _ in range(100):
        bench.peer.sendto(bytes(1000), bench.endpoint.address)
    for _ in range(10):
        bench.endpoint.doRead()
    received = bench.endpoint.counters.received
    assert 0 < received < 50
    assert bench.endpoint.counters.overrun == 100 - received
    bench.endpoint.stop()
    assert bench.endpoint.counters.overrun == 100 - received


def test_how_long_what_was_read_had_waited_is_known_while_more_waits(bench: Bench) -> None:
    ages: list[float] = []
    collect = bench.receive

    def receive(batch: list[tuple[bytes, Address]]) -> None:
        collect(batch)
        ages.append(bench.endpoint.waited)

    def is_known() -> bool:
        """The system begins to note when datagrams arrive a moment after it was asked to."""
        bench.got.clear()
        ages.clear()
        begin = time.time()
        for _ in range(4 * 2 + 1):
            bench.peer.sendto(b"x", bench.endpoint.address)
        sent = time.time()
        wait_until(lambda: time.time() - sent > 0.05, 10, "some time")
        bench.endpoint.doRead()
        assert list(map(len, bench.got)) == [4, 4, 1]
        assert ages[2] == 0.0  # nothing waited behind it
        assert max(ages) <= time.time() - begin
        return min(ages[:2]) >= 0.05

    bench.endpoint._receive = receive
    wait_until(is_known, 10, "the age of what was read")
    bench.endpoint.stop()
    assert bench.endpoint.waited == 0.0


def test_a_bad_datagram_is_skipped_and_the_others_are_sent(bench: Bench) -> None:
    good = bench.peer_address
    wrong_family = pack("::1" if len(good) == 16 else "127.0.0.1", 9)
    unroutable = pack("255.255.255.255", 9) if len(good) == 16 else pack("ff02::1%4000000", 9)
    bench.endpoint.send(
        [
            (b"1", good),
            (bytes(1501), good),
            (b"2", good),
            (b"x", wrong_family),
            (b"y", unroutable),
            (b"3", good),
        ]
    )
    assert [bench.peer.recv(9) for _ in range(3)] == [b"1", b"2", b"3"]
    assert [address for address, _ in bench.errors] == [good, wrong_family, unroutable]
    assert [number for _, number in bench.errors[:2]] == [errno.EMSGSIZE, errno.EAFNOSUPPORT]
    assert bench.endpoint.counters.send_errors == 3 and bench.endpoint.counters.sent == 3


def test_an_icmp_error_is_reported_for_its_address_and_costs_nobody_a_datagram(bench: Bench) -> None:
    nobody = closed_port(bench.endpoint.address[0])
    for number in range(3):
        bench.endpoint.send([(b"lost", nobody), (bytes([number]), bench.peer_address)])
    assert [bench.peer.recv(9) for _ in range(3)] == [b"\0", b"\1", b"\2"]
    bench.endpoint.doRead()
    assert bench.errors and set(bench.errors) == {(nobody, errno.ECONNREFUSED)}
    assert bench.endpoint.counters.errors_reported == 3
    assert bench.endpoint.counters.send_errors == 0


def test_a_datagram_is_not_blamed_for_the_many_errors_of_those_before(bench: Bench) -> None:
    """A system dies under load: many messages go to it, and then one to somebody who is well."""
    nobody = closed_port(bench.endpoint.address[0])
    bench.endpoint.send([(b"lost", nobody)] * (3 * ERRORS_PER_WAKE))
    bench.endpoint.send([(b"well", bench.peer_address)])
    assert bench.peer.recv(9) == b"well"
    assert set(bench.errors) == {(nobody, errno.ECONNREFUSED)}
    assert bench.endpoint.counters.send_errors == 0


def test_a_datagram_is_not_blamed_for_the_error_of_the_one_before(bench: Bench) -> None:
    nobody = closed_port(bench.endpoint.address[0])
    for number in range(3):
        bench.endpoint.send([(b"lost", nobody)])
        bench.endpoint.send([(bytes([number]), bench.peer_address)])
    assert [bench.peer.recv(9) for _ in range(3)] == [b"\0", b"\1", b"\2"]
    assert bench.errors == [(nobody, errno.ECONNREFUSED)] * 3
    assert bench.endpoint.counters.send_errors == 0


def test_a_pending_error_does_not_hide_what_has_arrived(bench: Bench) -> None:
    nobody = closed_port(bench.endpoint.address[0])
    bench.endpoint.send([(b"lost", nobody)])
    bench.peer.sendto(b"hello", bench.endpoint.address)
    bench.endpoint.doRead()
    assert bench.got == [[(b"hello", bench.peer_address)]]
    assert bench.errors == [(nobody, errno.ECONNREFUSED)]


class Congested(Batch):
    """A socket buffer with room for so many datagrams, then none."""

    room = 0

    def send(self, descriptor: int, datagrams: Any) -> int:
        sent = super().send(descriptor, datagrams[: self.room]) if self.room else 0
        self.room -= sent
        return sent


def test_a_full_socket_queues_in_order_and_drops_beyond_the_bound() -> None:
    buffers = Congested(socket.AF_INET, 4, 100)
    bench = Bench("127.0.0.1", queue=8, buffers=buffers)
    buffers.room = 3
    packets = [(bytes([number]), bench.peer_address) for number in range(20)]
    bench.endpoint.send(packets[:6])  # 3 sent, 3 queued
    bench.endpoint.send(packets[6:])  # 5 queued, 9 dropped
    assert bench.reactor.writers == {bench.endpoint}
    assert bench.endpoint.counters.dropped == 9
    buffers.room = 2
    bench.endpoint.doWrite()
    assert bench.reactor.writers == {bench.endpoint}
    buffers.room = 100
    bench.endpoint.doWrite()
    assert bench.reactor.writers == set()
    assert [bench.peer.recv(9) for _ in range(11)] == [bytes([number]) for number in range(11)]
    bench.close()


def test_stop_closes_counts_the_queue_and_ends_a_drain(bench: Bench) -> None:
    bench.endpoint._buffers = Congested(bench.peer.family, 4, 100)
    bench.endpoint.send([(b"x", bench.peer_address)] * 3)
    bench.endpoint.stop()
    bench.endpoint.stop()
    bench.endpoint.send([(b"x", bench.peer_address)])
    assert bench.endpoint.fileno() == -1 and bench.endpoint.counters.dropped == 4
    assert bench.reactor.readers == set() == bench.reactor.writers
    assert bench.endpoint.address[1] > 0


def test_stopping_from_within_receive(bench: Bench) -> None:
    for _ in range(9):
        bench.peer.sendto(b"x", bench.endpoint.address)
    bench.endpoint._receive = lambda batch: bench.endpoint.stop()
    bench.endpoint.doRead()
    assert bench.endpoint.counters.received == 4


def test_a_failing_receiver_is_logged_and_the_endpoint_goes_on(bench: Bench) -> None:
    failures: list[LogEvent] = []

    @provider(ILogObserver)
    def observe(event: LogEvent) -> None:
        if "log_failure" in event:
            failures.append(event)

    def receive(batch: list[tuple[bytes, Address]]) -> None:
        raise ValueError("no")

    globalLogPublisher.addObserver(observe)
    try:
        bench.endpoint._receive = receive
        for _ in range(5):
            bench.peer.sendto(b"x", bench.endpoint.address)
        bench.endpoint.doRead()
    finally:
        globalLogPublisher.removeObserver(observe)
    assert len(failures) == 2 and bench.endpoint.fileno() >= 0


def test_echo_through_the_real_reactor() -> None:
    async def main() -> list[bytes]:
        done: Deferred[list[bytes]] = Deferred()
        got: list[bytes] = []

        def collect(batch: list[tuple[bytes, Address]]) -> None:
            got.extend(data for data, _ in batch)
            if len(got) == 500:
                done.callback(got)

        reactor = installed_reactor()
        server = DatagramEndpoint(bind_datagram("127.0.0.1", 0), lambda batch: server.send(batch), reactor)
        client = DatagramEndpoint(bind_datagram("127.0.0.1", 0), collect, reactor)
        server.start()
        client.start()
        try:
            for number in range(500):
                client.send([(number.to_bytes(2, "big"), pack(*server.address))])
            return await done
        finally:
            server.stop()
            client.stop()

    assert run(main) == [number.to_bytes(2, "big") for number in range(500)]
