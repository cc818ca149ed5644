"""Real daemons as subprocesses: start, wait until ready, read what they print, stop, measure."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryFile
from types import TracebackType
from typing import IO, Final, Literal, Self

ROOT: Final = Path(__file__).resolve().parents[2]
"""The folder that holds the packages and twisted/plugins."""

TAIL: Final = 4000
"""Characters of output shown when a daemon fails."""

_POLL: Final = 0.01


class DaemonError(AssertionError):
    """A daemon died, did not become ready or did not stop; the text ends with what it printed last."""


def free_port(kind: Literal["tcp", "udp", "both"] = "tcp", host: str = "127.0.0.1") -> int:
    """A port that nobody uses right now. Only for programs that cannot be told to bind port 0."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM if kind == "udp" else socket.SOCK_STREAM) as sock:
        sock.bind((host, 0))
        port: int = sock.getsockname()[1]
        return free_port(kind, host) if kind == "both" and not bindable(host, port) else port


def bindable(host: str, port: int) -> bool:
    """Whether nobody uses this UDP port right now."""
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM) as sock:
        try:
            sock.bind((host, port))
        except OSError:
            return False
        return True


def datagram_sockets() -> Iterator[tuple[str, int, int, int]]:
    """All UDP sockets over IPv4: host, port, inode, and how many datagrams found the buffer full (udp(7))."""
    for line in Path("/proc/net/udp").read_text().splitlines()[1:]:
        words = line.split()
        host, port = words[1].split(":")
        yield socket.inet_ntoa(bytes.fromhex(host)[::-1]), int(port, 16), int(words[9]), int(words[12])


def bound(host: str, port: int) -> bool:
    """Whether a UDP socket over IPv4 is bound to this address."""
    return any((host, port) == place[:2] for place in datagram_sockets())


def wait_until(predicate: Callable[[], object], timeout: float = 10.0, what: str = "the condition") -> None:
    """Return once `predicate()` is true; raise AssertionError naming `what` after `timeout` seconds."""
    deadline = time.monotonic() + timeout
    idle = threading.Event()
    while not predicate():
        if time.monotonic() > deadline:
            raise AssertionError(f"{what} did not come true within {timeout} s")
        idle.wait(_POLL)


def twistd(*arguments: str | Path) -> list[str]:
    """The argument vector of `twistd ARGUMENTS` under this interpreter, installed as a script or not."""
    program = "import sys; sys.argv[0] = 'twistd'; from twisted.scripts.twistd import run; run()"
    return [sys.executable, "-c", program, *map(str, arguments)]


class Daemon:
    """One subprocess, started and ended as a context manager, restartable in between.

    It is ready when `ready` is found in what it printed or in its log file (a regular expression),
    or when `ready()` is true. Standard output and error go to one file, so they never block it.
    """

    def __init__(
        self,
        command: Sequence[str | Path],
        ready: str | Callable[[], object],
        *,
        directory: Path | None = None,
        environment: Mapping[str, str] | None = None,
        log: Path | None = None,
        timeout: float = 120.0,
    ) -> None:
        """`environment` is added to this process's, `log` is a log file to read.

        `timeout`: seconds until it has to be ready. Patience costs nothing, as one that dies fails at once;
        on two busy cores crs was ready after 39.7 s, of which it had waited 38.1 s for a processor.
        """
        self.command = [str(word) for word in command]
        self.ready = ready
        self._directory = directory
        self._environment = _environment(environment or {})
        self._log = log
        self._timeout = timeout
        self._output: IO[bytes] = TemporaryFile()  # noqa: SIM115  closed by close(), it outlives restarts
        self._process: subprocess.Popen[bytes] | None = None
        self._seen = (0, 0)

    def __enter__(self) -> Self:
        try:
            return self.start()
        except BaseException:
            self.close()
            raise

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def start(self) -> Self:
        """Start it (again) and wait until it is ready. Raises DaemonError."""
        self._seen = (len(self.output), len(self.log))
        self._process = subprocess.Popen(
            self.command,
            cwd=self._directory,
            env=self._environment,
            stdin=subprocess.DEVNULL,
            stdout=self._output,
            stderr=subprocess.STDOUT,
        )
        self.wait_until(self._is_ready, self._timeout, "readiness")
        return self

    @property
    def process(self) -> subprocess.Popen[bytes]:
        """The running, or the last, subprocess."""
        if self._process is None:
            raise DaemonError(f"{self.command} was not started")
        return self._process

    @property
    def pid(self) -> int:
        """Its process id."""
        return self.process.pid

    @property
    def returncode(self) -> int | None:
        """Its exit code, the negative signal number, or None while it runs."""
        return self.process.poll()

    @property
    def output(self) -> str:
        """What it printed so far, all starts together."""
        length = os.fstat(self._output.fileno()).st_size
        return os.pread(self._output.fileno(), length, 0).decode(errors="replace")

    @property
    def log(self) -> str:
        """The text of its log file; empty while there is none."""
        if self._log is None or not self._log.exists():
            return ""
        return self._log.read_text(errors="replace")

    @property
    def text(self) -> str:
        """What it printed, then its log."""
        return self.output + self.log

    def wait_until(
        self, predicate: Callable[[], object], timeout: float = 10.0, what: str = "the condition"
    ) -> None:
        """Like the function of this name, but fails at once, with the output, when the daemon dies."""

        def holds_or_dead() -> bool:
            return bool(predicate()) or self.returncode is not None

        try:
            wait_until(holds_or_dead, timeout, what)
        except AssertionError as error:
            raise DaemonError(f"{error}{self._tail()}") from None
        if self.returncode is not None and not predicate():
            raise DaemonError(f"{self.command} ended with {self.returncode} before {what}{self._tail()}")

    def wait_for_text(self, pattern: str, timeout: float = 10.0) -> re.Match[str]:
        """Wait until the output or the log has a match of this regular expression; the first one."""
        self.wait_until(lambda: re.search(pattern, self.text), timeout, f"output matching {pattern!r}")
        match = re.search(pattern, self.text)
        assert match is not None
        return match

    def stop(self, within: float = 5.0) -> float:
        """Send SIGTERM and return the seconds until it ended cleanly; DaemonError when that takes longer."""
        started = time.monotonic()
        self.process.send_signal(signal.SIGTERM)
        try:
            code = self.process.wait(within)
        except subprocess.TimeoutExpired:
            raise DaemonError(f"{self.command} still ran {within} s after SIGTERM{self._tail()}") from None
        # twistd ends by raising the signal again once its services have stopped.
        if code not in {0, -signal.SIGTERM}:
            raise DaemonError(f"{self.command} ended with {code} after SIGTERM{self._tail()}")
        return time.monotonic() - started

    def kill(self) -> None:
        """End it like a crash (SIGKILL) and wait for it."""
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
            self._process.wait()

    def close(self) -> None:
        """Kill it if it still runs, and forget its output."""
        self.kill()
        self._output.close()

    def _is_ready(self) -> object:
        if callable(self.ready):
            return self.ready()
        output, log = self._seen
        return re.search(self.ready, self.output[output:] + self.log[log:])

    def _tail(self) -> str:
        return "\n---- its last output ----\n" + self.text[-TAIL:]


def _environment(extra: Mapping[str, str]) -> dict[str, str]:
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    return {**os.environ, "PYTHONPATH": path, "PYTHONUNBUFFERED": "1", **extra}
