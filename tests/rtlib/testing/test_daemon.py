"""Subprocesses under a test."""

from __future__ import annotations

import signal
import socket
import sys
from pathlib import Path

import pytest

from rtlib.testing.daemon import Daemon, DaemonError, free_port, twistd, wait_until

SERVE = "import signal; print('ready', flush=True); signal.pause()"
STUBBORN = "import signal; signal.signal(15, print); print('ready', flush=True)\nwhile 1: signal.pause()"


def python(program: str) -> list[str]:
    return [sys.executable, "-S", "-c", program]


def test_starts_stops_and_starts_again() -> None:
    with Daemon(python(SERVE), "ready") as daemon:
        first = daemon.pid
        assert daemon.stop() < 2.0
        assert daemon.returncode == -signal.SIGTERM
        daemon.start()
        assert daemon.pid != first
        assert daemon.output.split() == ["ready", "ready"]
    assert daemon.returncode == -signal.SIGKILL


def test_a_daemon_that_dies_early_is_reported_with_its_output() -> None:
    with pytest.raises(DaemonError, match=r"(?s)ended with 1 .*NameError"), Daemon(python("x"), "ready"):
        pass


def test_a_daemon_that_is_never_ready_is_killed() -> None:
    daemon = Daemon(python("import signal; signal.pause()"), "ready", timeout=0.2)
    with pytest.raises(DaemonError, match="readiness did not come true"), daemon:
        pass
    assert daemon.returncode == -signal.SIGKILL


def test_a_daemon_that_ignores_sigterm_is_reported() -> None:
    with Daemon(python(STUBBORN), "ready") as daemon, pytest.raises(DaemonError, match="still ran"):
        daemon.stop(within=0.2)


def test_readiness_and_text_come_from_the_log_file_too(tmp_path: Path) -> None:
    log = tmp_path / "log"
    program = f"import signal; open({str(log)!r}, 'w').write('up at port 17'); signal.pause()"
    with Daemon(python(program), "up at", log=log) as daemon:
        assert daemon.wait_for_text(r"port (\d+)")[1] == "17"
        with pytest.raises(DaemonError, match="up at port 17"):
            daemon.wait_for_text("never", timeout=0.05)


def test_packages_of_this_repository_are_importable_from_anywhere(tmp_path: Path) -> None:
    with Daemon(
        [sys.executable, "-c", f"import rtlib.testing; {SERVE}"], "ready", directory=tmp_path
    ) as daemon:
        assert daemon.returncode is None


def test_twistd_is_twistd() -> None:
    with Daemon(twistd("--version"), r"twistd \(the Twisted daemon\)") as daemon:
        assert daemon.process.wait(10) == 0


def test_free_ports_can_be_bound() -> None:
    with socket.socket() as tcp, socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as udp:
        tcp.bind(("127.0.0.1", free_port()))
        udp.bind(("::1", free_port("udp", "::1")))


def test_wait_until_names_what_did_not_happen() -> None:
    wait_until(lambda: True)
    with pytest.raises(AssertionError, match="the moon did not come true within"):
        wait_until(lambda: False, 0.02, "the moon")
