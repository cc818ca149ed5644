"""The load program: compiled once for each run of the benchmark, and started against one relay at a time."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

K = TypeVar("K")

SOURCE = Path(__file__).with_name("load.c")
BUFFER = 4 << 20
FIRST_SSRC = 1000
"""Of the first stream; the others count on."""
FAVOURED = 'echo -20 >/proc/self/autogroup; exec nice -n -20 taskset -c "$0" "$@"'


@dataclass(frozen=True)
class Stream:
    """One sender's packets: where they go, and what comes before their RTP header."""

    sender: socket.socket
    port: int
    ssrc: int
    prefix: bytes = b""

    def line(self) -> str:
        """What the load program reads."""
        return f"{self.sender.fileno()} {self.port} {self.ssrc} {self.prefix.hex() or '-'}\n"


@dataclass(frozen=True)
class Running:
    """A relay that runs: its process, and the streams that it forwards."""

    process: int
    streams: list[Stream]


@dataclass(frozen=True)
class Sample:
    """What one run showed; times in seconds."""

    sent: int
    received: int
    passed: float
    cpu: float
    delay_median: float
    delay_p99: float

    @property
    def cost(self) -> float:
        """CPU time of the relay in µs for each packet that arrived."""
        return self.cpu * 1e6 / max(self.received, 1)

    @property
    def rate(self) -> float:
        """Packets/s that arrived."""
        return self.received / self.passed

    @property
    def loss(self) -> float:
        """Percent of what was sent."""
        return 100 * (1 - self.received / max(self.sent, 1))


class Load:
    """The compiled program, the sink, and the senders that it and the relay's set-up know."""

    def __init__(self, folder: Path, core: int) -> None:
        self._program = folder / "load"
        self._core = core
        build(SOURCE, self._program)
        self.sink = bound()
        self.senders = [bound()]

    def more_senders(self, count: int) -> list[socket.socket]:
        """Have `count` senders, each with a port of its own."""
        self.senders += [bound() for _ in range(count - len(self.senders))]
        return self.senders[:count]

    def run(self, relay: Running, rate: float, seconds: float = 0.4, rest: int = 0) -> Sample:
        """Run once; `rate` is packets/s, 0 for as many as the relay can do; `rest` is us of sleep when there
        is nothing to do, which lets another load run on this core.
        """
        words = (seconds, rate, relay.process, self.sink.fileno(), rest)
        command = [str(self._program), *map(str, words)]
        done = subprocess.run(
            favoured(self._core, *command),
            input="".join(stream.line() for stream in relay.streams),
            pass_fds=[sock.fileno() for sock in {self.sink, *(stream.sender for stream in relay.streams)}],
            capture_output=True,
            text=True,
            check=True,
            timeout=seconds + 10,
            start_new_session=True,
        )
        sent, received, *times = (int(word) for word in done.stdout.split())
        return Sample(sent, received, *(time / 1e9 for time in times))

    def compare(self, runs: Mapping[K, tuple[Running, float]], rounds: int = 5) -> dict[K, Sample]:
        """Measure relays in turn, each at its rate, and give the run of median cost for each.

        In turn, because what else the machine does then falls on all of them alike.
        """
        samples: dict[K, list[Sample]] = {name: [] for name in runs}
        for relay, _ in runs.values():
            self.run(relay, 5000, 0.1)
        for _ in range(rounds):
            for name, (relay, rate) in runs.items():
                samples[name].append(self.run(relay, rate))
        return {
            name: sorted(some, key=lambda sample: sample.cost)[rounds // 2] for name, some in samples.items()
        }

    def close(self) -> None:
        """Close the sockets."""
        for sock in (self.sink, *self.senders):
            sock.close()


def build(source: Path, program: Path) -> None:
    """Compile a C program. CalledProcessError, with the compiler's words on stderr, if it cannot be."""
    subprocess.run([shutil.which("cc") or "gcc", "-std=c11", "-O2", "-o", program, source], check=True)


def bound() -> socket.socket:
    """A UDP socket on loopback with large buffers."""
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    for option in (socket.SO_RCVBUF, socket.SO_SNDBUF):
        sock.setsockopt(socket.SOL_SOCKET, option, BUFFER)
    sock.bind(("127.0.0.1", 0))
    return sock


def favoured(core: int, *command: str) -> list[str]:
    """Give a command that runs another one on a core, before all else on this machine if that is permitted.

    It needs a session of its own, since priorities count within sessions (sched(7), autogroup).
    """
    return ["sh", "-c", FAVOURED, str(core), *command]


def cores() -> tuple[int, int]:
    """One core for the relay and another for the load, where there are two."""
    usable = sorted(os.sched_getaffinity(0))
    return usable[0], usable[-1]
