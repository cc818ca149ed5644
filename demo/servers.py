"""The servers of the demonstration: real twistd processes on free loopback ports, in a temporary folder."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

from twisted.internet.threads import deferToThreadPool

from demo.report import NotHeld
from rtlib.testing.daemon import ROOT, Daemon, free_port, twistd

P = ParamSpec("P")
T = TypeVar("T")


class Threads:
    """Runs what would block the reactor (starting a daemon, a command line program) in its thread pool."""

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor

    async def run(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Call `work` in a thread and wait for it."""
        result: T = await deferToThreadPool(
            self._reactor, self._reactor.getThreadPool(), work, *args, **kwargs
        )
        return result


class Program:
    """A command line program of this project, as an operator would call it."""

    def __init__(self, name: str, module: str, *options: str | Path) -> None:
        """`options` are given at every call and not shown."""
        self._name = name
        self._command = [sys.executable, "-m", module, *map(str, options)]

    def __call__(self, *words: str) -> str:
        """Run it and return what it printed. Raises NotHeld when it fails."""
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        done = subprocess.run(
            [*self._command, *words], env=environment, capture_output=True, text=True, check=False, timeout=15
        )
        if done.returncode:
            raise NotHeld(
                f"{self._name} {shlex.join(words)}: exit code {done.returncode}: {done.stderr.strip()}"
            )
        return done.stdout.strip()

    def line(self, *words: str) -> str:
        """The same as an operator types it."""
        return f"$ {self._name} {shlex.join(words)}"


class Crs:
    """`twistd crs` with a home of its own."""

    def __init__(
        self, home: Path, host: str = "127.0.0.1", client_port: int = 0, relay_port: int = 0
    ) -> None:
        """Make `home` and its crs.conf unless they are there; port 0 means a free one."""
        self.host = host
        self.client_port = client_port or free_port("tcp", host)
        self.relay_port = relay_port or free_port("udp", host)
        self.home = home
        home.mkdir(parents=True, exist_ok=True)
        if not (home / "crs.conf").exists():
            (home / "crs.conf").write_text(
                f"listen-ip {self.host}\n"
                f"client-listen-port {self.client_port}\n"
                f"relay-listen-port {self.relay_port}\n"
            )
        self.log = home / "log" / "crs.log"
        self.command = twistd("-n", "--pidfile=", "crs", "--home", home)
        self.daemon = Daemon(self.command, "accepting clients on", timeout=30)
        self.cli = Program("crs-cli", "crs.cli", "--home", home)

    def has_account(self, account: str) -> bool:
        """Whether the account is there."""
        return self._account(account).exists()

    def account_secret(self, account: str) -> str:
        """The account's secret in base64, as a provisioning system would hand it to phones."""
        words = [line.split() for line in self._account(account).read_text().splitlines()]
        return next(rest[0] for name, *rest in filter(None, words) if name == "secret")

    def _account(self, account: str) -> Path:
        return self.home / "accounts" / account / "account.conf"
