"""The pair of servers to play with, used as its greeting says."""

import os
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from haproxy.testing.genproxy import own_host
from rtlib.testing.daemon import ROOT, Daemon

PROGRAMS = {"crs-cli": "crs.cli", "crs-client": "crs.client.cli", "genproxy-cli": "haproxy.cli"}


@contextmanager
def running() -> Iterator[tuple[Daemon, Path]]:
    """What `make run` runs, on an address of its own, and its folder."""
    # Not tmp_path: UNIX sockets are made below it, and their paths are limited to 107 bytes.
    with TemporaryDirectory(prefix="r-") as name:
        folder = Path(name) / "run"
        command = [sys.executable, "-m", "demo.run", str(folder), own_host()]
        daemon = Daemon(command, "Ctrl-C stops both", directory=ROOT, timeout=60)
        try:
            daemon.start()
            yield daemon, folder
        finally:
            daemon.process.terminate()  # killed, it would leave its servers running
            daemon.process.wait(15)
            daemon.close()


@pytest.fixture(scope="module")
def run() -> Iterator[tuple[Daemon, Path]]:
    with running() as both:
        yield both


def printed(daemon: Daemon, words: str) -> list[str]:
    """The command line that was printed with these words, as an argument vector that runs it."""
    text = daemon.output.replace("\\\n", " ")
    line = next(line for line in text.splitlines() if words in line)
    arguments = shlex.split(line[17:])
    module = PROGRAMS[Path(arguments[0]).name]
    return [sys.executable, "-c", f"from {module} import main; main()", *arguments[1:]]


def call(command: list[str]) -> str:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 0, (command, done.stdout, done.stderr)
    return done.stdout


@pytest.mark.parametrize(
    ("words", "answer"),
    [("show version", "0.1.0"), ("list account", "DEMO"), ("show dispatcher", "DISPATCH SET")],
)
def test_what_to_try_first_works(run: tuple[Daemon, Path], words: str, answer: str) -> None:
    assert answer in call(printed(run[0], words))


def test_two_phones_call_each_other(run: tuple[Daemon, Path]) -> None:
    with Daemon(printed(run[0], "listen --answer"), "attached"):
        call(printed(run[0], "call bob@demo.test"))


def test_the_files_it_names_are_there_and_secrets_are_private(run: tuple[Daemon, Path]) -> None:
    daemon, folder = run
    for line in daemon.output.splitlines():
        if line[2:].startswith(("configuration", "log")):
            assert Path(line[17:]).is_file()
    for name in ("secret", "genproxy/genproxy.toml"):
        assert (folder / name).stat().st_mode & 0o077 == 0


def test_a_port_in_use_is_told_in_the_servers_own_words(run: tuple[Daemon, Path]) -> None:
    host = (run[1] / "crs" / "crs.conf").read_text().split()[1]
    second = subprocess.run(
        [sys.executable, "-m", "demo.run", run[1].parent / "other", host],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert second.returncode == 1
    assert f"client-listen-port {host}:5223: address already in use" in second.stderr
    assert "Traceback" not in second.stderr


def test_ctrl_c_stops_both_and_the_folder_can_be_used_again() -> None:
    with running() as (daemon, _):
        daemon.process.send_signal(signal.SIGINT)
        assert daemon.process.wait(10) == 0
        assert "Both servers have stopped." in daemon.output
        daemon.start()
