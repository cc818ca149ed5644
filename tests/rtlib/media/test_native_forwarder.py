"""What the native forwarder does beyond the contract of all: its thread, its errors, its bounds."""

from __future__ import annotations

import errno
import os
import select
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import pytest
from twisted.internet.defer import Deferred

from rtlib.address import Address, pack
from rtlib.listen import bind_datagram
from rtlib.media import native_forwarder
from rtlib.media.forwarder import PAUSE, Classify
from rtlib.media.native_forwarder import NativeForwarder
from rtlib.testing.loop import installed_reactor, run

pytestmark = pytest.mark.skipif(
    not native_forwarder.available() and not os.environ.get("REQUIRE_NATIVE"),
    reason="the native forwarder was not built",
)

LOCAL = "127.0.0.1"
SSRC = 7
RTP = b"\x80\x00\x00\x01" + bytes(4) + SSRC.to_bytes(4, "big") + b"voice"
FORKING = f"""
import os, socket, sys
from rtlib.address import pack
from rtlib.listen import bind_datagram
from rtlib.media.forwarder import Classify
from rtlib.media.native_forwarder import NativeForwarder
from tests.rtlib.media.test_native_forwarder import Readers, party
RTP = {RTP!r}

def forward(forwarder):
    one, two = party(), party()
    port = forwarder.open(bind_datagram("127.0.0.1", 0), Classify.PORT)
    forwarder.set_flow(port, 0, pack(*one.getsockname()), [(port, pack(*two.getsockname()))])
    one.sendto(RTP, forwarder.address(port))
    assert two.recv(100) == RTP

def in_child(work):
    child = os.fork()
    if child == 0:
        try:
            work()
        except BaseException as error:
            print(error, flush=True)
            os._exit(1)
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0, "the child failed"
"""


class Readers:
    """As much of a reactor as the forwarder needs."""

    def __init__(self) -> None:
        self.readers: list[Any] = []

    def addReader(self, reader: Any) -> None:
        self.readers.append(reader)

    def removeReader(self, reader: Any) -> None:
        self.readers.remove(reader)


class Rig:
    def __init__(self, pause: float = PAUSE) -> None:
        self.reactor = Readers()
        self.forwarder = NativeForwarder(cast(Any, self.reactor), pause)
        self.up: list[tuple[int, bytes, Address]] = []
        self.errors: list[tuple[int, Address, int]] = []
        self.forwarder.on_unmatched = lambda port, batch: self.up.extend((port, *packet) for packet in batch)
        self.forwarder.on_error = lambda *error: self.errors.append(error)

    def port(self, classify: Classify = Classify.RELAY, host: str = LOCAL) -> int:
        return self.forwarder.open(bind_datagram(host, 0), classify)

    def wait(self) -> None:
        """Do what the reactor does when something waits."""
        assert select.select([self.forwarder], [], [], 10)[0], "nothing came up"
        self.forwarder.doRead()


def party() -> socket.socket:
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.bind((LOCAL, 0))
    sock.settimeout(10)
    return sock


def at(sock: socket.socket) -> Address:
    return pack(*sock.getsockname())


def dead() -> Address:
    """An address where nobody listens."""
    with party() as sock:
        return at(sock)


def threads() -> int:
    names = [task.joinpath("comm").read_text() for task in Path("/proc/self/task").iterdir()]
    return names.count("forwarder\n")


@pytest.fixture
def rig() -> Iterator[Rig]:
    rig = Rig()
    yield rig
    rig.forwarder.stop()
    assert rig.reactor.readers == []


def test_the_thread_lives_from_the_first_open_to_the_stop(rig: Rig) -> None:
    before = threads()
    for _ in range(2):
        assert threads() == before
        rig.port()
        rig.port()
        assert threads() == before + 1
        rig.forwarder.stop()
    assert threads() == before


def test_a_forwarder_that_is_forgotten_ends_its_thread() -> None:
    before = threads()
    rig = Rig()
    rig.port()
    rig.reactor.readers.clear()
    rig.forwarder.on_unmatched = rig.forwarder.on_error = native_forwarder._ignore
    del rig
    assert threads() == before


def forked(script: str) -> None:
    root = Path(__file__).parents[3]
    done = subprocess.run(
        [sys.executable, "-c", FORKING + script], cwd=root, capture_output=True, text=True, timeout=60
    )
    assert (done.returncode, done.stdout) == (0, "done\n"), done.stdout + done.stderr


def test_a_daemon_forks_before_it_opens() -> None:
    forked(
        "forwarder = NativeForwarder(Readers())\n"
        "in_child(lambda: (forward(forwarder), forwarder.stop()))\n"
        "print('done')\n"
    )


def test_a_child_forked_later_cannot_hurt_the_parent() -> None:
    forked(
        "forwarder = NativeForwarder(Readers())\n"
        "forward(forwarder)\n"
        "in_child(forwarder.stop)\n"
        "def reopen():\n"
        "    try:\n"
        "        forward(forwarder)\n"
        "    except ChildProcessError:\n"
        "        return\n"
        "    raise AssertionError('opened without a thread')\n"
        "in_child(reopen)\n"
        "forward(forwarder)\n"
        "forwarder.stop()\n"
        "print('done')\n"
    )


def test_what_goes_up_wakes_the_reactor() -> None:
    one = party()

    async def main() -> tuple[int, list[tuple[bytes, Address]]]:
        forwarder = NativeForwarder(installed_reactor())
        got: Deferred[tuple[int, list[tuple[bytes, Address]]]] = Deferred()
        forwarder.on_unmatched = lambda port, batch: got.callback((port, batch))
        port = forwarder.open(bind_datagram(LOCAL, 0), Classify.RELAY)
        one.sendto(RTP, forwarder.address(port))
        try:
            return await got
        finally:
            forwarder.stop()

    assert run(main)[1] == [(RTP, at(one))]
    one.close()


def test_a_dead_port_becomes_an_event(rig: Rig) -> None:
    port, nobody = rig.port(), dead()
    with party() as one, party() as two:
        rig.forwarder.set_flow(port, SSRC, at(one), [(port, nobody), (port, at(two))])
        for _ in range(3):
            one.sendto(RTP, rig.forwarder.address(port))
            assert two.recv(100) == RTP  # the others do not suffer
        rig.wait()
    assert set(rig.errors) == {(port, nobody, errno.ECONNREFUSED)}
    assert rig.forwarder.port_counters(port).send_errors == 0


def test_ipv6_errors_are_events_too(rig: Rig) -> None:
    port = rig.port(host="::1")
    with bind_datagram("::1", 0) as one, bind_datagram("::1", 0) as gone:
        nobody = pack("::1", gone.getsockname()[1])
        gone.close()
        rig.forwarder.set_flow(port, SSRC, pack("::1", one.getsockname()[1]), [(port, nobody)])
        one.sendto(RTP, rig.forwarder.address(port))
        rig.wait()
    assert rig.errors == [(port, nobody, errno.ECONNREFUSED)]


def test_a_packet_that_cannot_be_sent_is_skipped(rig: Rig) -> None:
    port, nowhere, broadcast = rig.port(), pack(LOCAL, 0), pack("255.255.255.255", 9)
    with party() as one, party() as two:
        targets = [nowhere, at(two), broadcast, pack("::1", 9), at(two)]
        rig.forwarder.set_flow(port, SSRC, at(one), [(port, target) for target in targets])
        one.sendto(RTP, rig.forwarder.address(port))
        assert two.recv(100) == two.recv(100) == RTP
        rig.wait()
    assert rig.errors == [(port, nowhere, errno.EINVAL), (port, broadcast, errno.EACCES)]
    counters = rig.forwarder.port_counters(port)
    assert (counters.sent, counters.send_errors) == (2, 3)


def test_answers_that_cannot_be_sent_are_counted(rig: Rig) -> None:
    port = rig.port()
    for data, address in ((b"ack", pack("::1", 9)), (b"ack", pack(LOCAL, 0)), (bytes(1501), dead())):
        rig.forwarder.send(port, data, address)
    assert rig.forwarder.port_counters(port).send_errors == 3


def test_many_targets_and_more_packets_than_a_batch(rig: Rig) -> None:
    port = rig.port()
    with party() as one, bind_datagram(LOCAL, 0) as two:
        targets = [(port, at(two))] * 256
        rig.forwarder.set_flow(port, SSRC, at(one), targets)
        with pytest.raises(ValueError, match="256 targets"):
            rig.forwarder.set_flow(port, SSRC, at(one), [*targets, (port, at(two))])
        two.settimeout(10)
        for _ in range(10):
            one.sendto(RTP, rig.forwarder.address(port))
        assert [two.recv(100) for _ in range(2560)] == [RTP] * 2560
        assert rig.forwarder.flow(port, SSRC).tx == 2560


def test_thousands_of_flows_come_and_go(rig: Rig) -> None:
    port = rig.port()
    with party() as one, party() as two:
        for key in range(5000):
            rig.forwarder.set_flow(port, key, at(one), [(port, at(two))])
        for key in range(0, 5000, 2):
            rig.forwarder.remove_flow(port, key)
        for key in (4999, 1, 2501):
            packet = RTP[:8] + key.to_bytes(4, "big")
            one.sendto(packet, rig.forwarder.address(port))
            assert two.recv(100) == packet
        for key in range(5000):
            if key % 2:
                assert rig.forwarder.flow(port, key).source == at(one)
            else:
                with pytest.raises(KeyError):
                    rig.forwarder.flow(port, key)


def test_handles_are_never_used_again(rig: Rig) -> None:
    seen = set()
    for _ in range(100):
        ports = [rig.port(Classify.PORT) for _ in range(3)]
        seen.update(ports)
        for port in ports:
            rig.forwarder.close(port)
    assert len(seen) == 300 and min(seen) > 0


def test_a_closed_port_is_free_at_once(rig: Rig) -> None:
    with party() as one, party() as two:
        for _ in range(50):
            port = rig.port(Classify.PORT)
            rig.forwarder.set_flow(port, 0, at(one), [(port, at(two))])
            number = rig.forwarder.address(port)[1]
            for _ in range(10):
                one.sendto(RTP, (LOCAL, number))
            rig.forwarder.close(port)
            bind_datagram(LOCAL, number).close()


def test_nothing_goes_up_from_a_port_that_was_closed(rig: Rig) -> None:
    port, other = rig.port(), rig.port()
    with party() as one:
        one.sendto(RTP, rig.forwarder.address(port))
        one.sendto(RTP, rig.forwarder.address(other))

        def take_and_stop(port: int, batch: list[tuple[bytes, Address]]) -> None:
            rig.up.extend((port, *packet) for packet in batch)
            rig.forwarder.stop()

        rig.forwarder.on_unmatched = take_and_stop
        rig.wait()
    assert len(rig.up) == 1  # the first callback has closed the other port


def test_what_cannot_be(rig: Rig) -> None:
    port = rig.port()
    for pause in (0.011, -1):
        with pytest.raises(ValueError, match="pause"):
            Rig(pause)
    with socket.socket() as stream, pytest.raises(ValueError):
        rig.forwarder.open(stream, Classify.PORT)
    for address in (b"", b"x", bytes(16), dead()[:15], bytes(28), pack("::1", 1) + b"x"):
        with pytest.raises(ValueError):
            rig.forwarder.set_flow(port, SSRC, address, [])
        with pytest.raises(ValueError):
            rig.forwarder.set_flow(port, SSRC, None, [(port, address)])
    wrong: Any
    for wrong in ([1], [(port,)], [[port, dead()]], [(port, "x")], 5, [("x", dead())]):
        with pytest.raises(TypeError):
            rig.forwarder.set_flow(port, SSRC, None, wrong)


def test_flows_change_while_packets_pass(rig: Rig) -> None:
    """Every packet takes the old way or the new one; the table and its counters stay sound."""
    port = rig.port()
    stop = threading.Event()
    with party() as one, bind_datagram(LOCAL, 0) as two:
        rig.forwarder.set_flow(port, SSRC, at(one), [(port, at(two))])

        def send() -> None:
            while not stop.is_set():
                one.sendto(RTP, rig.forwarder.address(port))

        sender = threading.Thread(target=send)
        sender.start()
        for turn in range(3000):
            rig.forwarder.set_flow(port, SSRC, at(one), [(port, at(two))] * (turn % 3))
            rig.forwarder.set_flow(port, 1000 + turn, None, [])
            rig.forwarder.remove_flow(port, 1000 + turn - 10)
            rig.forwarder.doRead()
        stop.set()
        sender.join()
    flow, counters = rig.forwarder.flow(port, SSRC), rig.forwarder.port_counters(port)
    assert 0 < flow.rx <= counters.received and counters.unmatched == 0
