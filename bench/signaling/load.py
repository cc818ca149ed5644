"""The load program: compiled once for each run of the benchmark, and started against one server at a time."""

from __future__ import annotations

import hashlib
import hmac
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Literal, TypeAlias

from bench.forwarder.load import favoured
from bench.sip.load import Server
from crs.identity import KEY_SALT

SOURCE = Path(__file__).with_name("load.c")

Protocol: TypeAlias = Literal["crs", "mqtt"]
Mode: TypeAlias = Literal["open", "attach", "idle", "relay", "reply", "call", "store"]
"""See load.c."""

LEAVING = 30.0
"""Seconds that the clients have to end their calls."""


@dataclass(frozen=True)
class Party:
    """A server under load: what it speaks, and the secret that its clients' keys are made of."""

    server: Server
    protocol: Protocol
    secret: bytes


@dataclass(frozen=True)
class Sample:
    """What one run showed; times in seconds. `connecting` is how long all clients took to attach."""

    begun: int
    done: int
    lost: int
    passed: float
    median: float
    p99: float
    most: float
    cpu: float
    connecting: float

    @property
    def cost(self) -> float:
        """µs of the server's CPU time for each that was done."""
        return self.cpu * 1e6 / max(self.done, 1)

    @property
    def rate(self) -> float:
        """How many were done in a second."""
        return self.done / self.passed


class Clients:
    """The program while it runs: connected, and waiting for the word."""

    def __init__(self, process: subprocess.Popen[str], party: Party) -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        self._input: IO[str] = process.stdin
        self._output: IO[str] = process.stdout
        self._party = party
        self.connecting = int(self._output.readline().split()[1]) / 1e9

    def go(self) -> Sample:
        """Have it do what it was started for."""
        before = self._party.server.cpu()
        self._input.write("\n")
        self._input.flush()
        line = self._output.readline()
        # What was received last may still be worked on.
        time.sleep(0.1)
        cpu = self._party.server.cpu() - before
        begun, done, lost, *times = (int(word) for word in line.split())
        passed, median, p99, most = (value / 1e9 for value in times)
        return Sample(begun, done, lost, passed, median, p99, most, cpu, self.connecting)


class Load:
    """The compiled program."""

    def __init__(self, folder: Path, core: int) -> None:
        self._program = folder / "load"
        self._core = core
        compiler = shutil.which("cc") or "gcc"
        options = ("-std=c11", "-O2", "-o", self._program, SOURCE, "-lssl", "-lcrypto")
        subprocess.run([compiler, *options], check=True)

    @contextmanager
    def clients(
        self, party: Party, mode: Mode, count: int, seconds: float = 0.0, rate: float = 0.0
    ) -> Iterator[Clients]:
        """Connect `count` clients, and keep them while the context is open."""
        key = hmac.digest(KEY_SALT, party.secret, hashlib.sha256).hex()
        words = [party.protocol, party.server.port, key, count, mode, seconds, rate]
        with subprocess.Popen(
            favoured(self._core, str(self._program), *map(str, words)),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        ) as process:
            try:
                yield Clients(process, party)
                assert process.stdin is not None
                process.stdin.close()
                process.wait(LEAVING)
            finally:
                process.kill()

    def run(self, party: Party, mode: Mode, count: int, seconds: float, rate: float = 0.0) -> Sample:
        """Connect clients, let them work for so long, and let them go."""
        with self.clients(party, mode, count, seconds, rate) as clients:
            return clients.go()
