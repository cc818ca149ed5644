"""A real `twistd genproxy` with a configuration of its own, for the demonstration and the scenario tests."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import mkdtemp
from types import TracebackType
from typing import Any, Final, TypeAlias
from urllib.request import urlopen

from rtlib.command.client import Client
from rtlib.testing.daemon import ROOT, Daemon, twistd

Value: TypeAlias = str | int | bool | list[str]
Settings: TypeAlias = Mapping[str, Mapping[str, Value]]
"""Section of genproxy.toml -> key -> value."""
Tables: TypeAlias = Mapping[str, Sequence[Mapping[str, Value]]]
"""List of tables of genproxy.toml, such as `tls` -> its entries."""

PORT: Final = 5060
TLS_PORT: Final = 5061
METRICS_PORT: Final = 9100
READY: Final = r"\bINIT\b.*\bprivate side: "
"""What it prints once it serves (regular expression), in both forms of the log."""


def own_host() -> str:
    """An address of the loopback network that no other test uses: every 127.x.y.z is this machine."""
    first, second, third = os.urandom(3)
    return f"127.{1 + first % 254}.{second}.{1 + third % 254}"


def toml(settings: Settings, subscribers: Mapping[str, str], tables: Tables | None = None) -> str:
    """The text of genproxy.toml; `subscribers` maps `user@domain` to a password."""
    lines = []
    for section, values in settings.items():
        lines += [f"[{section}]", *(f"{key} = {json.dumps(value)}" for key, value in values.items()), ""]
    for name, password in subscribers.items():
        user, _, domain = name.partition("@")
        lines += [
            "[[subscribers]]",
            f"username = {json.dumps(user)}",
            f'domain = "{domain}"',
            f"password = {json.dumps(password)}",
            "",
        ]
    for table, entries in (tables or {}).items():
        for entry in entries:
            lines += [f"[[{table}]]", *(f"{key} = {json.dumps(value)}" for key, value in entry.items()), ""]
    return "\n".join(lines)


class Genproxy:
    """One proxy on an address of its own; started ready and stopped as a context manager."""

    def __init__(
        self,
        folder: Path,
        *,
        host: str = "",
        settings: Settings | None = None,
        subscribers: Mapping[str, str] | None = None,
        tables: Tables | None = None,
    ) -> None:
        """`folder` is made, for configuration and log; `settings` are added to what a lone proxy needs.

        `subscribers` maps `user`, or `user@domain`, to a password; without a domain it is `host`.
        """
        self.host = host or own_host()
        self.port = PORT
        folder.mkdir()
        self.config = folder / "genproxy.toml"
        self.log = folder / "genproxy.log"
        # Not in `folder`: a UNIX socket's path has at most 107 bytes, and a test's folder has a long one.
        self.state = Path(mkdtemp(prefix="genproxy-"))
        needed: dict[str, dict[str, Value]] = {
            "system": {
                "privateIP": self.host,
                "privateSubnet": "8",
                "metricsListen": f"{self.host}:{METRICS_PORT}",
                "logFile": str(self.log),
            },
            # What one address sends in a test would be a flood in the field.
            "proxy": {"enableAntiFlood": False},
            "media": {},
        }
        merged = {name: {**needed.get(name, {}), **(settings or {}).get(name, {})} for name in needed}
        users = {
            name if "@" in name else f"{name}@{self.host}": word for name, word in (subscribers or {}).items()
        }
        self.config.write_text(toml(merged, users, tables))
        self.config.chmod(0o600)
        self.daemon = Daemon(self.command, READY, timeout=60)

    @property
    def command(self) -> list[str]:
        """The argument vector that starts it."""
        return twistd("-n", "--pidfile=", "genproxy", "--config", self.config, "--state-dir", self.state)

    @property
    def server(self) -> str:
        """HOST:PORT of its SIP sockets."""
        return f"{self.host}:{self.port}"

    def __enter__(self) -> Genproxy:
        try:
            self.daemon.start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Kill it if it still runs, and remove its state."""
        self.daemon.close()
        shutil.rmtree(self.state, ignore_errors=True)

    def cli(self, *words: str) -> str:
        """What `genproxy-cli WORDS` prints. Raises subprocess.CalledProcessError."""
        command = [sys.executable, "-m", "haproxy.cli", "--socket", str(self.socket), *words]
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        done = subprocess.run(
            command, env=environment, capture_output=True, text=True, check=True, timeout=10
        )
        return done.stdout

    def reply(self, command: str, **arguments: Value) -> Any:
        """What `genproxy-cli --json` would print, as values: without a process, so a test may ask often.

        Raises CommandError.
        """
        return Client("genproxy", self.socket).call(command, arguments)

    def change(self, before: str, after: str) -> dict[str, str]:
        """Put `after` in the place of `before` in genproxy.toml, and reload: what became of each key."""
        text = self.config.read_text()
        assert before in text
        self.config.write_text(text.replace(before, after, 1))
        return {row["setting"]: row["effect"] for row in json.loads(self.cli("--json", "reload"))}

    def metric(self, name: str, label: str = "") -> float:
        """A Prometheus metric, named without `genproxy_`: the sum over its labels, 0 where absent.

        Only those rows that have `label`, such as `kind="x"`, if it is given.
        """
        with urlopen(f"http://{self.host}:{METRICS_PORT}/metrics", timeout=5) as page:
            lines = page.read().decode().splitlines()
        rows = [line for line in lines if re.match(rf"genproxy_{name}(\{{|\s)", line) and label in line]
        return sum(float(line.rpartition(" ")[2]) for line in rows)

    def blocked(self) -> dict[str, dict[str, Any]]:
        """Who is blocked, by address: the rows of `show blocked`."""
        return {row["address"]: row for row in self.reply("show blocked")}

    def statuses(self) -> list[str]:
        """The status of each Genesis system, the secondary set first: of the rows of `dispatcher show`."""
        return [row["status"] for row in self.reply("dispatcher show")]

    @property
    def socket(self) -> Path:
        """Where genproxy-cli reaches it."""
        return self.state / "run" / "genproxy.sock"
