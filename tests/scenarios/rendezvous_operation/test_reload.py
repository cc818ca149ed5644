"""SIGHUP applies every directive that needs no new port, and names those that need a restart; the manhole."""

from __future__ import annotations

import json
import re
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from crs.client.testing import ACCOUNT, CrsServer
from rtlib.testing.daemon import wait_until
from rtlib.testing.ssh import make_key, ssh

APPLIED = {
    "key": "another-key-of-the-pool",
    "ip": "crs1 203.0.113.1",
    "host": "crs1",
    "limit": "requests-per-second 33",
    "log-level": "debug",
    "cps": "cps.example.com 5230 id 0123456789abcdef",
    "features": "push",
    "addr-map": "203.0.113.2 198.51.100.2",
    "keep-alive": "0.0.0.0/0 ws 1000000 30000",
    "detach-cleanup": "0.0.0.0/0 5000",
    "log-format": "json",
}
RESTART = {
    "relay-pause": "700",
    "iw-listen-port": "8099",
}


@pytest.fixture
def server(tmp_path: Path) -> Iterator[CrsServer]:
    key = make_key(tmp_path / "known_key")
    server = CrsServer(tmp_path / "crs", ["manhole-keys authorized_keys"])
    (server.home / "authorized_keys").write_text(key)
    (server.home / "authorized_keys").chmod(0o600)
    with server:
        yield server


def hang_up(server: CrsServer, lines: dict[str, str]) -> None:
    file = server.home / "crs.conf"
    file.write_text(file.read_text() + "".join(f"{name} {value}\n" for name, value in lines.items()))
    server.daemon.process.send_signal(signal.SIGHUP)


def test_each_directive_is_applied_or_named(server: CrsServer) -> None:
    hang_up(server, {**RESTART, **APPLIED})
    server.daemon.wait_for_text("detach-cleanup is changed")
    for name in RESTART:
        server.daemon.wait_for_text(rf"{name} is changed in its file, which needs a restart")
    text = server.daemon.text
    for name in APPLIED:
        assert re.search(rf"\b{name} is changed\W*$", text, re.M), name
        assert not re.search(rf"\b{name} is changed in its file", text), name
    server.ok("show", "account")
    log = server.home / "log" / "crs.log"
    wait_until(lambda: '"information":"' in log.read_text(), 10, "JSON lines")
    events = [json.loads(line) for line in log.read_text().splitlines() if line.startswith("{")]
    assert all({"time", "type", "module", "pid", "information"} <= event.keys() for event in events)
    assert {event["pid"] for event in events} == {server.daemon.pid}
    assert "show account" in " ".join(event["information"] for event in events)
    lines = [line for line in log.read_text().splitlines() if not line.startswith("{")]
    assert all(re.match(r"\[\S+Z \| (DEBUG|INFO|WARN|INIT) \| [\w-]+\(\d+\)\] ", line) for line in lines)


@pytest.mark.peer("ssh")
@pytest.mark.peer("ssh-keygen")
def test_the_manhole_shows_the_live_service_and_its_commands(server: CrsServer, tmp_path: Path) -> None:
    words = "registry.call_now('show account')[0].accounts\r\nserver.name, len(registry.specs) > 60\r\n\x04"
    done = ssh(tmp_path, "known_key", words, server.home / "run" / "manhole.sock")
    assert f"['{ACCOUNT}']" in done.stdout, done
    assert "('crs', True)" in done.stdout, done
