"""For tests and the demo: a real `twistd crs` in its own directory, and clients that keep what they hear."""

from __future__ import annotations

import re
import secrets
import subprocess
import sys
from base64 import b64encode
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Final
from urllib.request import urlopen

from twisted.internet.defer import DeferredQueue

from crs.client.call import IncomingCall
from crs.client.change import IncomingChange
from crs.client.client import Client
from crs.client.credentials import Credentials, Server
from crs.client.error import ClientError
from crs.client.group import GroupCall
from crs.client.listener import Listener
from crs.signaling.message import Deliver, Offer
from rtlib.command.cli import LISTENING
from rtlib.testing.daemon import ROOT, Daemon, free_port, twistd

ACCOUNT: Final = "demo"
READY: Final = r"accepting clients on "
PROGRAM_TIMEOUT: Final = 60.0
"""Seconds that a program may take to run, or a server to start, on a machine that others use too."""


class Trace(Daemon):
    """A trace that runs; ready once the server sends it what happens."""

    @property
    def events(self) -> list[str]:
        """A line for each event so far."""
        return [line for line in self.output.splitlines() if line != LISTENING]


class CrsServer:
    """A home with one account or several, whose server runs while the context is open."""

    def __init__(
        self, home: Path, settings: Sequence[str] = (), accounts: Sequence[str] = (ACCOUNT,)
    ) -> None:
        """`settings` are further lines of crs.conf. Ports are free ones of 127.0.0.1."""
        self.home = home
        self.secrets = {account: secrets.token_bytes(16) for account in accounts}
        self.address = Server("127.0.0.1", free_port("tcp"))
        self.relay_port = free_port("udp")
        self.metrics_port = free_port("tcp")
        lines = (
            "listen-ip 127.0.0.1",
            f"client-listen-port {self.address.port}",
            f"relay-listen-port {self.relay_port}",
            f"metrics-listen 127.0.0.1:{self.metrics_port}",
        )
        home.mkdir(exist_ok=True)
        (home / "crs.conf").write_text("\n".join((*lines, *settings)) + "\n")
        for account, secret in self.secrets.items():
            self._write_account(account, secret)
        self.daemon = Daemon(
            twistd("-n", "crs", "--home", home), READY, directory=home, timeout=PROGRAM_TIMEOUT
        )

    def __enter__(self) -> CrsServer:
        self.daemon.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.daemon.__exit__(kind, error, trace)

    def relay(self) -> Daemon:
        """The relay's own process, not started yet; for the setting `relay-service separate`."""
        command = twistd("-n", "crs", "--role", "relay", "--home", self.home)
        return Daemon(command, "crs_relay started", directory=self.home, timeout=PROGRAM_TIMEOUT)

    @property
    def secret(self) -> bytes:
        """That of the account ACCOUNT."""
        return self.secrets[ACCOUNT]

    def credentials(self, uri: str, account: str = ACCOUNT) -> Credentials:
        """A client's name in its account, and its key."""
        return Credentials.derived(uri, account, self.secrets[account])

    def client(
        self, reactor: Any, uri: str, secret: bytes | None = None, *, account: str = ACCOUNT
    ) -> tuple[Client, Memory]:
        """A client that is not connected yet, and what it will be told."""
        memory = Memory()
        credentials = self.credentials(uri, account)
        return Client(reactor, self.address, credentials, memory, secret=secret), memory

    async def attached(
        self, reactor: Any, uri: str, secret: bytes | None = None, *, account: str = ACCOUNT
    ) -> tuple[Client, Memory]:
        """A client that is attached."""
        client, memory = self.client(reactor, uri, secret, account=account)
        await client.connect()
        await client.attach()
        return client, memory

    def cli(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run `crs-cli ARGUMENTS` for this server."""
        return run("crs.cli", "--home", str(self.home), *arguments)

    def trace(self, element: str) -> Trace:
        """`crs-cli trace ELEMENT`, not started yet."""
        return Trace(program("crs.cli", "--home", str(self.home), "trace", element), LISTENING)

    def ok(self, *arguments: str) -> str:
        """What `crs-cli ARGUMENTS` prints, which must succeed."""
        done = self.cli(*arguments)
        if done.returncode or done.stderr:
            raise AssertionError(done)
        return done.stdout

    def metrics(self) -> dict[str, float]:
        """All metrics now, by name and labels as they are written."""
        with urlopen(f"http://127.0.0.1:{self.metrics_port}/metrics") as page:
            text = page.read().decode()
        lines = [line for line in text.splitlines() if not line.startswith("#")]
        return {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines)}

    def counted(self, metric: str, label: str) -> Counter[str]:
        """A counter by its one label."""
        found = re.compile(rf'crs_{metric}_total\{{{label}="(.+)"\}}').fullmatch
        matches = [(found(name), value) for name, value in self.metrics().items()]
        return Counter({match[1]: int(value) for match, value in matches if match is not None})

    def offences(self) -> Counter[str]:
        """What clients and strangers did wrong so far, by kind."""
        return self.counted("offences", "kind")

    def _write_account(self, account: str, secret: bytes) -> None:
        folder = self.home / "accounts" / account
        folder.mkdir(parents=True, exist_ok=True)
        file = folder / "account.conf"
        file.write_text(f"secret {b64encode(secret).decode()}\ncreated 2026-01-01T00:00:00Z\n")
        file.chmod(0o600)


def program(module: str, *arguments: str) -> list[str]:
    """The argument vector of a command line program, installed as a script or not."""
    return [sys.executable, "-c", f"from {module} import main; main()", *arguments]


def run(module: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a command line program to its end."""
    command = program(module, *arguments)
    return subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, timeout=PROGRAM_TIMEOUT, check=False
    )


class Memory(Listener):
    """Keeps what a client is told, for whoever waits for it."""

    def __init__(self) -> None:
        self.keep_messages = True
        """Whether messages are confirmed."""
        self.calls: DeferredQueue[IncomingCall] = DeferredQueue()
        self.messages: DeferredQueue[Deliver] = DeferredQueue()
        self.receipts: DeferredQueue[Deliver] = DeferredQueue()
        self.changes: DeferredQueue[IncomingChange] = DeferredQueue()
        self.groups: DeferredQueue[GroupCall] = DeferredQueue()
        self.offers: DeferredQueue[Offer] = DeferredQueue()
        self.detachments: DeferredQueue[str] = DeferredQueue()

    def incoming(self, call: IncomingCall) -> None:
        """Keep the call; whoever takes it answers or declines it."""
        self.calls.put(call)

    def changing(self, change: IncomingChange) -> None:
        """Keep the change; whoever takes it accepts or refuses it."""
        self.changes.put(change)

    def group(self, call: GroupCall) -> None:
        """Keep the group call; whoever takes it joins or leaves it."""
        self.groups.put(call)

    def message(self, item: Deliver) -> bool:
        """Keep the message."""
        self.messages.put(item)
        return self.keep_messages

    def receipt(self, item: Deliver) -> bool:
        """Keep the receipt."""
        self.receipts.put(item)
        return True

    def offered(self, offer: Offer) -> None:
        """Keep the offer."""
        self.offers.put(offer)

    def detached(self, reason: str) -> None:
        """Keep the reason."""
        self.detachments.put(reason)

    def lost(self, reason: ClientError) -> None:
        """The client knows it: `Client.lost`."""
