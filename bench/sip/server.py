"""genproxy under load: `twistd genproxy` with a configuration that does what the peer's does."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bench.forwarder.load import favoured
from bench.sip.load import Load, Server, alone
from rtlib.testing.daemon import ROOT, Daemon, free_port, twistd

SETTINGS = """\
[system]
privateIP = "127.0.0.1"
privatePort = {port}
privateSubnet = "8"
alias = ["bench.example"]

[proxy]
enableRegAuth = {digest}
enableAstFailover = false
allowList = ["127.0.0.2"]
denyList = ["127.0.0.3"]
"""
UNPROTECTED = """\
proxyList = ["127.0.0.4"]
floodRate = 1000000
floodBurst = 1000000
"""
PROTECTED = """\
proxyList = ["127.0.0.1"]
"""
"""What floods, at the rates that the settings have of themselves; callers are on the list."""
SUBSCRIBER = '\n[[subscribers]]\nusername = "{name}"\ndomain = "bench.example"\npassword = "secret"\n'
REGISTER = (
    "REGISTER sip:bench.example SIP/2.0\r\nVia: SIP/2.0/UDP 127.0.0.1:{port};branch=z9hG4bKgenesis\r\n"
    "From: <sip:genesis_a@bench.example>;tag=1\r\nTo: <sip:genesis_a@bench.example>\r\n"
    "Call-ID: genesis\r\nCSeq: 1 REGISTER\r\nContact: <sip:genesis@127.0.0.1:{port}>\r\n"
    "Max-Forwards: 70\r\nExpires: 86400\r\nContent-Length: 0\r\n\r\n"
)
ATTEMPTS = 50
COMPILED = ROOT / "build" / "compiled"
"""Where `make compiled` puts the packages with the hot path in machine code."""


@contextmanager
def genproxy(
    core: int, folder: Path, load: Load, *, digest: bool, protected: bool = False, root: Path = ROOT
) -> Iterator[Server]:
    """Run genproxy, with the load's sink as its Genesis system and its users as subscribers.

    `protected`: from floods, but for the load. `root`: where its packages are.
    """
    folder.mkdir()
    port = free_port("both")
    config = folder / "genproxy.toml"
    names = ["genesis_a", *(f"u{number}" for number in range(load.users))]
    text = SETTINGS.format(port=port, digest=str(digest).lower())
    text += PROTECTED if protected else UNPROTECTED
    config.write_text(text + "".join(SUBSCRIBER.format(name=name) for name in names))
    options = ("genproxy", "--config", config, "--state-dir", folder / "state")
    command = alone(favoured(core, *twistd("-n", *options)))
    log = folder / "state" / "log" / "genproxy.log"
    with Daemon(command, r"private side", directory=root, log=log, timeout=60) as daemon:
        if not digest:
            _enrol(load.genesis, port)
        yield Server("genproxy", daemon.pid, port)


def _enrol(genesis: socket.socket, port: int) -> None:
    """Register the Genesis system. TimeoutError if nobody answers."""
    request = REGISTER.format(port=genesis.getsockname()[1]).encode()
    genesis.settimeout(0.2)
    for _ in range(ATTEMPTS):
        genesis.sendto(request, ("127.0.0.1", port))
        try:
            if genesis.recv(65536).startswith(b"SIP/2.0 200 "):
                return
        except (TimeoutError, ConnectionRefusedError):
            time.sleep(0.1)
    raise TimeoutError(f"the proxy at 127.0.0.1:{port} did not take the registration")
