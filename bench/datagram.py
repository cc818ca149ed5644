"""UDP echo: CPU per packet of rtlib's batching endpoint against Twisted's own UDP port.

`python -m bench.datagram` takes about 5 s. The server is pinned to one core and the load runs on the
others. The load keeps `WINDOW` packets of 172 bytes (20 ms of PCMU with its RTP header) in flight, so
that the server is always busy; the figure is the server's CPU time, user and system, divided by the
packets it echoed.
"""

from __future__ import annotations

import os
import resource
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from bench.figure import Figure, table
from rtlib.address import Address, pack
from rtlib.datagram import DatagramEndpoint
from rtlib.listen import bind_datagram
from rtlib.mmsg import Batch

SECONDS = 2.0
SIZE = 172
WINDOW = 512
TARGET = 0.5
"""Of the CPU of Twisted's port. Most of what is left is the kernel's own work."""

Counter = Callable[[], int]


def measure() -> Iterator[Figure]:
    """Run both servers, one after the other."""
    ours, our_rate = _run("batched")
    twisted, rate = _run("twisted")
    yield Figure("echo CPU per packet", ours, "us", twisted, "us (Twisted UDP port)", TARGET)
    yield Figure("echo rate", our_rate, "packets/s", rate, "packets/s (Twisted UDP port)")


def _run(kind: str) -> tuple[float, float]:
    """Load one server; give microseconds per packet and packets per second."""
    command = [sys.executable, "-m", "bench.datagram", "serve", kind]
    root = Path(__file__).parent.parent
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=root
    ) as server:
        assert server.stdin is not None and server.stdout is not None
        os.sched_setaffinity(server.pid, {max(os.sched_getaffinity(0))})
        load(int(server.stdout.readline()))
        server.stdin.close()
        packets, cpu = server.stdout.readline().split()
    return float(cpu) / int(packets) * 1e6, int(packets) / SECONDS


def load(port: int) -> None:
    """Keep packets in flight; those lost are made up for when nothing has come back for 50 ms."""
    with bind_datagram("127.0.0.1", 0) as sock:
        sock.settimeout(0.05)
        buffers = Batch(socket.AF_INET, 64, SIZE)
        datagrams = [(bytes(SIZE), pack("127.0.0.1", port))] * 64
        end, pending = time.monotonic() + SECONDS, 0
        while time.monotonic() < end:
            while pending < WINDOW:
                pending += buffers.send(sock.fileno(), datagrams)
            try:
                sock.recv(SIZE)
                pending -= 1 + len(buffers.receive(sock.fileno()))
            except TimeoutError:
                pending = 0


def serve(kind: str) -> None:
    """Echo until stdin is closed, then print the packets echoed and the CPU seconds they took."""
    from twisted.internet import asyncioreactor

    asyncioreactor.install()
    from twisted.internet import reactor as installed
    from twisted.internet.protocol import Protocol
    from twisted.internet.stdio import StandardIO

    reactor: Any = installed

    class Supervisor(Protocol):
        def connectionLost(self, reason: object = None) -> None:
            reactor.stop()

    port, count = SERVERS[kind](reactor)
    print(port, flush=True)
    started = _cpu()
    StandardIO(Supervisor(), reactor=reactor)
    reactor.run()
    print(count(), _cpu() - started, flush=True)


def _batched(reactor: Any) -> tuple[int, Counter]:
    def echo(batch: list[tuple[bytes, Address]]) -> None:
        endpoint.send(batch)

    endpoint = DatagramEndpoint(bind_datagram("127.0.0.1", 0), echo, reactor, max_size=1500)
    endpoint.start()
    return endpoint.address[1], lambda: endpoint.counters.sent


def _twisted(reactor: Any) -> tuple[int, Counter]:
    from twisted.internet.protocol import DatagramProtocol

    class Echo(DatagramProtocol):
        count = 0

        def datagramReceived(self, datagram: bytes, addr: Any) -> None:
            self.count += 1
            assert self.transport is not None
            self.transport.write(datagram, addr)

    echo = Echo()
    port = reactor.listenUDP(0, echo, interface="127.0.0.1")
    return port.getHost().port, lambda: echo.count


SERVERS: dict[str, Callable[[Any], tuple[int, Counter]]] = {"batched": _batched, "twisted": _twisted}


def _cpu() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def main() -> None:
    """Measure and print, or be the server of a measurement."""
    if sys.argv[1:2] == ["serve"]:
        serve(sys.argv[2])
        return
    figures = list(measure())
    for figure in figures:
        print(f"datagram.{figure.name.replace(' ', '_')} {figure.value:.4g} {figure.unit}")
    print(f"\n{table(figures)}")


if __name__ == "__main__":
    main()
