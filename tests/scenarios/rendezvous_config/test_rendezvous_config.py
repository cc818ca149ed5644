"""A bad configuration or a port in use stops the start: the reason on stderr, exit code 1, no traceback."""

import socket
import subprocess
from pathlib import Path

import pytest

from crs.client.testing import CrsServer
from rtlib.testing.daemon import ROOT, free_port, twistd


def start(home: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """Run `twistd -n crs` that is expected to end by itself."""
    command = twistd("-n", *options, "crs", "--home", home)
    environment = {"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin"}
    return subprocess.run(command, cwd=home, env=environment, capture_output=True, text=True, timeout=60)


def refused(home: Path, *options: str) -> str:
    """The lines on stderr of a start that was refused properly."""
    done = start(home, *options)
    assert done.returncode == 1, done
    assert "Traceback" not in done.stdout + done.stderr
    assert all(line.startswith("crs: ") for line in done.stderr.splitlines()), done.stderr
    return done.stderr


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A home whose settings are good."""
    return CrsServer(tmp_path / "home").home


@pytest.mark.parametrize(
    ("file", "line", "expected"),
    [
        ("crs.conf", "client-listen-prot 1", "client-listen-port"),
        ("crs.conf", "relay-listen-port 70000", "relay-listen-port"),
        ("crs.conf", "relay-listen-port", "relay-listen-port"),
        ("crs.conf", "ip crs1 300.1.2.3", "ip"),
        ("crs.conf", "keep-alive 10.0.0.0/8 carrier-pigeon 1000", "keep-alive"),
        ("crs.conf", "log-level loud", "log-level"),
        ("crs-local.conf", "db-backup perhaps", "db-backup"),
        ("crs-relay.conf", "MAX_RTP_RELAYS=many", "MAX_RTP_RELAYS"),
        ("crs-relay.conf", "MAX_RTP_RELAY=1", "MAX_RTP_RELAYS"),
    ],
)
def test_a_bad_line_is_named(home: Path, file: str, line: str, expected: str) -> None:
    path = home / file
    before = path.read_text() if path.exists() else "# nothing yet\n"
    kept = "".join(f"{old}\n" for old in before.splitlines() if old.split()[0] != line.split(maxsplit=1)[0])
    path.write_text(kept + line + "\n")
    number = len(kept.splitlines()) + 1
    errors = refused(home)
    assert f"crs: {path}:{number}: " in errors
    assert expected in errors


def test_all_problems_at_once(home: Path) -> None:
    path = home / "crs.conf"
    good = path.read_text()
    path.write_text(good + "nonsense 1\nlog-level loud\n")
    number = len(good.splitlines())
    errors = refused(home)
    assert f"{path}:{number + 1}: " in errors
    assert f"{path}:{number + 2}: " in errors


@pytest.mark.parametrize(
    ("setting", "kind"),
    [("client-listen-port", socket.SOCK_STREAM), ("relay-listen-port", socket.SOCK_DGRAM)],
)
def test_a_port_in_use_is_named_with_its_setting(home: Path, setting: str, kind: int) -> None:
    lines = dict(line.split() for line in (home / "crs.conf").read_text().splitlines())
    with socket.socket(socket.AF_INET, kind) as occupied:
        occupied.bind(("127.0.0.1", int(lines[setting])))
        if kind == socket.SOCK_STREAM:
            occupied.listen()
        assert refused(home) == f"crs: {setting} 127.0.0.1:{lines[setting]}: address already in use\n"


def test_an_address_that_this_host_lacks(home: Path) -> None:
    text = (home / "crs.conf").read_text().replace("127.0.0.1", "192.0.2.99")
    (home / "crs.conf").write_text(text)
    assert "192.0.2.99" in refused(home)


def test_another_server_in_the_same_home(tmp_path: Path) -> None:
    with CrsServer(tmp_path / "home") as running:
        with (running.home / "crs.conf").open("w") as file:
            file.write("listen-ip 127.0.0.1\n")
            file.write(f"client-listen-port {free_port()}\nrelay-listen-port {free_port('udp')}\n")
        done = start(running.home, "--pidfile", str(tmp_path / "second.pid"))
        assert done.returncode == 1
        assert "run/crs.sock" in done.stderr
        assert "Traceback" not in done.stdout + done.stderr
        assert running.cli("show", "attach").returncode == 0, "the first one still has its command socket"


def test_a_damaged_account_stops_the_start(home: Path) -> None:
    file = home / "accounts" / "demo" / "account.conf"
    file.write_text("secret ???\n")
    assert f"crs: {file}: the shared secret is not base64" in refused(home)


def test_a_missing_home_says_what_to_do(tmp_path: Path) -> None:
    done = subprocess.run(
        twistd("-n", "crs", "--home", tmp_path / "none"),
        cwd=tmp_path,
        env={"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 1
    assert str(tmp_path / "none") in done.stderr
    assert "Traceback" not in done.stderr


def test_another_reactor_is_refused(home: Path) -> None:
    done = start(home, "--reactor=epoll")
    assert done.returncode == 1
    assert "asyncio" in done.stderr
    assert "Traceback" not in done.stderr
