"""The load program: compiled once for each run of the benchmark, and started against one proxy at a time."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias

from bench.forwarder.load import favoured

SOURCE = Path(__file__).with_name("load.c")
BUFFER = 32 << 20
WINDOW = 48
"""Calls, or registrations, that are open at a time."""

Mode: TypeAlias = Literal["call", "register", "change", "digest"]
Kind: TypeAlias = Literal["good", "scanner", "garbage", "forged"]

TICKS = os.sysconf("SC_CLK_TCK")
USER_TIME, SYSTEM_TIME = 11, 12
"""Places in /proc/PID/stat (proc(5)), counted from the state, which follows the name."""


@dataclass(frozen=True)
class Server:
    """A proxy that runs on 127.0.0.1."""

    name: str
    process: int
    port: int

    def cpu(self) -> float:
        """Seconds of CPU time, user and system, of all its processes until now."""
        return sum(_cpu(process) for process in _family(self.process))

    def kib(self) -> float:
        """KiB of memory of all its processes, shared pages counted once."""
        return sum(_kib(process, "Pss") for process in _family(self.process))


@dataclass(frozen=True)
class Sample:
    """What one run showed; times in seconds."""

    begun: int
    done: int
    passed: float
    cpu: float
    median: float
    """Of the time from INVITE, or the first REGISTER, to 200."""
    p99: float
    flooded: int
    """Messages of the flood beside it."""

    @property
    def cost(self) -> float:
        """µs of the proxy's CPU time for each that was done."""
        return self.cpu * 1e6 / max(self.done, 1)

    @property
    def lost(self) -> int:
        """Neither done nor answered, or refused."""
        return self.begun - self.done


@dataclass(frozen=True)
class Flood:
    """What comes beside calls and nobody wants: messages/s from an address of this machine.

    They are well formed, a known scanner's, random bytes, or well formed and each from another address.
    """

    kind: Kind
    rate: int
    host: str


class Load:
    """The compiled program, and the sockets of the caller (or phones) and of the Genesis system."""

    def __init__(self, folder: Path, core: int, users: int) -> None:
        self._program = folder / "load"
        self._core = core
        self.users = users
        compiler = shutil.which("cc") or "gcc"
        subprocess.run([compiler, "-std=c11", "-O2", "-o", self._program, SOURCE, "-lm"], check=True)
        self.caller, self.genesis = _socket(), _socket()

    def run(
        self,
        server: Server,
        mode: Mode,
        amount: str,
        users: range | None = None,
        *,
        window: str = str(WINDOW),
        flood: Flood | None = None,
    ) -> Sample:
        """Run once, for `amount` seconds or as many as it says (`500x`); all users register, or these.

        `window` is how many are open at a time, or how many begin in a second (`500/s`).
        """
        with ExitStack() as stack:
            sockets = [self.caller.fileno(), self.genesis.fileno()]
            some = range(self.users) if users is None else users
            words = [mode, amount, window, some.start, len(some), server.port, *sockets]
            if flood is not None:
                source = stack.enter_context(_socket(flood.host))
                sockets.append(source.fileno())
                words += [source.fileno(), flood.kind, flood.rate]
            before = server.cpu()
            done = subprocess.run(
                favoured(self._core, str(self._program), *map(str, words)),
                pass_fds=sockets,
                stdout=subprocess.PIPE,
                text=True,
                check=True,
                timeout=120,
                start_new_session=True,
            )
        # What was received last may still be worked on.
        time.sleep(0.1)
        begun, finished, _, *times, flooded = (int(word) for word in done.stdout.split())
        passed, median, p99 = (each / 1e9 for each in times)
        return Sample(begun, finished, passed, server.cpu() - before, median, p99, flooded)

    def close(self) -> None:
        """Close the sockets."""
        self.caller.close()
        self.genesis.close()


def alone(command: list[str]) -> list[str]:
    """The command in a session of its own, so that its priority counts for nobody else."""
    return ["setsid", *command]


def _socket(host: str = "127.0.0.1") -> socket.socket:
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    for option in (socket.SO_RCVBUF, socket.SO_SNDBUF):
        sock.setsockopt(socket.SOL_SOCKET, option, BUFFER)
    sock.bind((host, 0))
    return sock


def _family(process: int) -> list[int]:
    """A process and all that it has started."""
    family = [process]
    for member in family:
        for task in Path(f"/proc/{member}/task").glob("*/children"):
            family += [int(word) for word in task.read_text().split()]
    return family


def _cpu(process: int) -> float:
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[USER_TIME]) + int(fields[SYSTEM_TIME])) / TICKS


def _kib(process: int, name: str) -> float:
    lines = Path(f"/proc/{process}/smaps_rollup").read_text().splitlines()
    return next(float(line.split()[1]) for line in lines if line.startswith(f"{name}:"))
