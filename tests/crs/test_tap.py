"""`twistd crs` as an operator starts it; what it serves is in tests/scenarios."""

from __future__ import annotations

import socket
import subprocess
from pathlib import Path

import pytest

from rtlib.testing.daemon import Daemon, twistd

CONF = "listen-ip 127.0.0.1\nclient-listen-port 0\nrelay-listen-port 0\n"


def refused(home: Path) -> str:
    """What it says on stderr when it does not start; the exit code is 1."""
    command = twistd("-n", "--pidfile=", "crs", "--home", home)
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 1, done
    assert "Traceback" not in done.stderr
    return done.stderr


def test_a_home_that_is_not_there(tmp_path: Path) -> None:
    assert refused(tmp_path / "nowhere").startswith("crs: --home ")


def test_a_bad_line_is_named(tmp_path: Path) -> None:
    (tmp_path / "crs.conf").write_text("listen-ip 127.0.0.1\nrelay-listen-port many\n")
    problem = refused(tmp_path)
    assert problem == f"crs: {tmp_path}/crs.conf:2: relay-listen-port: 'many' must be a whole number\n"


@pytest.mark.parametrize("kind", ["client", "relay"])
def test_a_port_in_use_is_named_with_its_setting(tmp_path: Path, kind: str) -> None:
    with socket.socket(type=socket.SOCK_STREAM if kind == "client" else socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        port = sock.getsockname()[1]
        if kind == "client":
            sock.listen()
        (tmp_path / "crs.conf").write_text(
            CONF.replace(f"{kind}-listen-port 0", f"{kind}-listen-port {port}")
        )
        assert refused(tmp_path) == f"crs: {kind}-listen-port 127.0.0.1:{port}: address already in use\n"


def test_an_empty_home_gets_what_it_needs_and_stops_in_time(tmp_path: Path) -> None:
    (tmp_path / "crs.conf").write_text(CONF + "features push\n")
    command = twistd("-n", "--pidfile=", "crs", "--home", tmp_path)
    with Daemon(
        command, r"accepting clients on 127\.0\.0\.1:\d+", log=tmp_path / "log" / "crs.log"
    ) as daemon:
        assert (tmp_path / "run" / "crs.sock").stat().st_mode & 0o777 == 0o600
        assert (tmp_path / "data" / "crs.db").stat().st_mode & 0o777 == 0o600
        assert daemon.stop() < 2.0
        assert "features has no effect in this version" in daemon.log
    assert not (tmp_path / "run" / "crs.sock").exists()
