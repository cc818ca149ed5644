"""`python -m demo.run`, which `make run` calls: both servers with sample configuration, until ctrl-c.

The folder `run` holds their configuration, logs and data; it is kept, and may be edited between runs.
Another folder, and another loopback address than 127.0.0.1, can be given as arguments.
"""

from __future__ import annotations

import os
import re
import secrets
import signal
import sys
from collections.abc import Mapping
from contextlib import ExitStack, suppress
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Final

from demo.report import NotHeld
from demo.servers import Crs
from haproxy.testing.genproxy import READY as PROXY_READY
from haproxy.testing.genproxy import Settings, toml
from rtlib.testing.daemon import Daemon, DaemonError, twistd, wait_until

FOLDER: Final = Path("run")
HOST: Final = "127.0.0.1"
CLIENT_PORT: Final = 5223
RELAY_PORT: Final = 5146
"""146, the manual's, needs privileges."""

ACCOUNT: Final = "DEMO"

_SAID: Final = re.compile(r"\| INIT \| [^]]*\] (.*)")

_CRS: Final = """\
crs, the rendezvous server
  it says        {said}
  phones         connect to {host}:{client_port} (TLS); their media goes to {relay_port}/udp
  configuration  {home}/crs.conf
  log            {log}
  try first      {cli} --home {home} show version
                 {cli} --home {home} list account
  two phones     {client} listen --answer --uri bob@demo.test \\
                     {login}
                 {client} call bob@demo.test --seconds 5 --uri alice@demo.test \\
                     {login}
"""
_PROXY: Final = """\
genproxy, the SIP proxy
  it says        {said}
  configuration  {config}
                 (at its end: who may register, and with which password)
  log            {log}
  try first      {cli} --socket {socket} show dispatcher
  then           register an Asterisk or a phone as genesis_a, another phone as 5000; dial genesis_a
"""


def sample_proxy(folder: Path, host: str) -> tuple[Path, Path]:
    """Configuration file and state directory of genproxy, made unless they are there."""
    config, state = folder / "genproxy.toml", folder / "state"
    state.mkdir(parents=True, exist_ok=True)
    if not config.exists():
        settings: Settings = {
            "system": {"privateIP": host, "privateSubnet": "8"},
            "proxy": {"enableRegAuth": True},
            "media": {},
        }
        users = ("5000", "5001", "genesis_a", "genesis_b")
        config.touch(mode=0o600)
        config.write_text(toml(settings, {f"{user}@{host}": secrets.token_hex(8) for user in users}))
    return config, state


def secret_file(crs: Crs, path: Path) -> Path:
    """A file with the secret of the sample account, which is created unless it is there."""
    if not crs.has_account(ACCOUNT):
        crs.cli("create", "account", ACCOUNT)
    path.touch(mode=0o600)
    path.write_text(crs.account_secret(ACCOUNT) + "\n")
    return path


class Ended(Exception):
    """A server did not start, or has ended; the text holds what it said last."""


def start(name: str, daemon: Daemon) -> None:
    """Start a server. Raises Ended with its own words."""
    try:
        daemon.start()
    except DaemonError as error:
        raise Ended(f"{name} did not start:\n{daemon.output[-2000:].strip() or error}") from error


def wait_for_the_end(daemons: Mapping[str, Daemon]) -> int:
    """Return after ctrl-c or SIGTERM, with the signal. Raises Ended when a server ends on its own."""
    asked: SimpleQueue[int] = SimpleQueue()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda number, frame: asked.put(number))
    while True:
        with suppress(Empty):
            return asked.get(timeout=0.5)
        for name, daemon in daemons.items():
            if daemon.returncode is not None:
                raise Ended(f"{name} has ended with {daemon.returncode}:\n{daemon.output[-2000:].strip()}")


def stop(daemons: Mapping[str, Daemon], number: int) -> None:
    """Stop them and wait. A terminal has sent ctrl-c to them, too: twistd does not like a second signal."""
    if number == signal.SIGINT:
        with suppress(AssertionError):
            wait_until(lambda: all(daemon.returncode is not None for daemon in daemons.values()), 2.5)
    for daemon in daemons.values():
        daemon.process.terminate()
        daemon.process.wait(5)


def said(daemon: Daemon) -> str:
    """What a server has announced when it started: the addresses as they really are."""
    return "\n                 ".join(_SAID.findall(daemon.output))


def program(name: str) -> str:
    """How to call one of our programs from this folder, also without an activated environment."""
    path = Path(sys.executable).parent / name
    return os.path.relpath(path) if path.exists() else name


def greeting(crs: Crs, secret: Path, proxy: Daemon, config: Path, state: Path) -> str:
    """What to print when both are up."""
    login = f"--server {crs.host}:{crs.client_port} --account {ACCOUNT} --secret-file {secret}"
    first = _CRS.format(
        said=said(crs.daemon),
        host=crs.host,
        client_port=crs.client_port,
        relay_port=crs.relay_port,
        home=crs.home,
        log=crs.log,
        cli=program("crs-cli"),
        client=program("crs-client"),
        login=login,
    )
    second = _PROXY.format(
        said=said(proxy),
        config=config,
        log=state / "log" / "genproxy.log",
        cli=program("genproxy-cli"),
        socket=state / "run" / "genproxy.sock",
    )
    return f"\nBoth servers are running.\n\n{first}\n{second}\nCtrl-C stops both.\n"


def main(folder: Path = FOLDER, host: str = HOST) -> int:
    """Start, print, wait, stop; the exit code."""
    crs = Crs(folder / "crs", host, CLIENT_PORT, RELAY_PORT)
    config, state = sample_proxy(folder / "genproxy", host)
    command = twistd("-n", "--pidfile=", "genproxy", "--config", config, "--state-dir", state)
    proxy = Daemon(command, PROXY_READY, timeout=30)
    daemons = {"crs": crs.daemon, "genproxy": proxy}
    # While they start, SIGTERM is like ctrl-c: it ends the block below, which leaves no server behind.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with ExitStack() as stack:
        try:
            for name, daemon in daemons.items():
                stack.callback(daemon.close)
                start(name, daemon)
            secret = secret_file(crs, folder / "secret")
            print(greeting(crs, secret, proxy, config, state), flush=True)
            stop(daemons, wait_for_the_end(daemons))
        except (Ended, NotHeld, KeyboardInterrupt) as error:
            print(str(error) or "interrupted", file=sys.stderr)
            return 1
    print("Both servers have stopped.")
    return 0


if __name__ == "__main__":
    sys.exit(main(*(kind(word) for kind, word in zip((Path, str), sys.argv[1:], strict=False))))
