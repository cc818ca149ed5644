"""A small daemon under the real twistd: exit codes, pid file, log, reload, stop."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from twisted.python import usage

from rtlib.command.client import Client
from rtlib.daemon import STOP_LIMIT, TWISTD_PIDFILE, DaemonOptions
from rtlib.testing.daemon import ROOT, Daemon, twistd, wait_until

PLUGIN = """\
from twisted.application.service import ServiceMaker
toy = ServiceMaker("toy", "toyd_tap", "A toy.", "toy")
"""

TAP = '''\
"""A daemon as small as one can be that uses rtlib.daemon as crs and genproxy do."""
import sys
if "twisted.internet.reactor" not in sys.modules:
    from twisted.internet import asyncioreactor
    asyncioreactor.install()
from pathlib import Path
from twisted.application.service import Service
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater
from twisted.logger import Logger
from rtlib.command.registry import Registry, command
from rtlib.command.server import CommandFactory
from rtlib.daemon import DaemonOptions, DaemonService, refusing
from rtlib.listen import ListenError, StreamPort, bind_stream, bind_unix, listening
from rtlib.offence import OffenceLog
from rtlib.settings import Section, setting
from rtlib.settings.keyvalue import read

class Toy(Section):
    port: int = setting(0, "A port.", alias="PORT", ge=0)
    hang: bool = setting(False, "Never stop.", alias="HANG")
    crash: bool = setting(False, "Fail in startService.", alias="CRASH")
    farewell: bool = setting(False, "Say farewell, and fail.", alias="FAREWELL")

class Commands:
    @command("show pid")
    def pid(self) -> str:
        """Show it.

        Example: toy show pid
        """
        import os
        return str(os.getpid())

class Options(DaemonOptions):
    name = "toy"
    optParameters = [["home", None, ".", "Its directory."]]
    def pidfile(self):
        return Path(self["home"]) / "toy.pid"

class Odd(Service):
    def __init__(self, settings):
        self.settings = settings
    def startService(self):
        if self.settings.crash:
            raise RuntimeError("no luck")
    def stopService(self):
        Logger(namespace="toy").info("odd stops")
        return Deferred() if self.settings.hang else None

class Daemon(DaemonService):
    said = False
    async def farewell(self):
        if self.said:
            await deferLater(reactor, 0.05)
            Logger(namespace="toy").info("farewell")
            raise RuntimeError("too sad")

def makeService(options):
    home = Path(options["home"])
    with refusing("toy", ListenError):
        settings = read(home / "toy.conf", Toy)
        tcp = listening("PORT", bind_stream, "127.0.0.1", settings.port)
        sock = listening("socket", bind_unix, home / "toy.sock")
        observer = options.observer(home / "toy.log")
    log = Logger(namespace="toy")
    def reload():
        log.info("read again: {settings}", settings=read(home / "toy.conf", Toy))
    service = Daemon("toy", reactor, observer, reload)
    service.said = settings.farewell
    registry = Registry()
    registry.add(Commands())
    factory = CommandFactory(registry, reactor, OffenceLog())
    StreamPort(sock, factory, reactor).setServiceParent(service)
    StreamPort(tcp, factory, reactor).setServiceParent(service)
    Odd(settings).setServiceParent(service)
    return service
'''

STARTED = r"\| INIT \| toy\(\d+\)\] toy started, process \d+\n"


class Toy:
    """The toy's directory and its plugin's."""

    def __init__(self, folder: Path) -> None:
        plugins = folder / "code" / "twisted" / "plugins"
        plugins.mkdir(parents=True)
        (plugins / "toy_plugin.py").write_text(PLUGIN)
        (folder / "code" / "toyd_tap.py").write_text(TAP)
        self.home = folder / "home"
        self.home.mkdir()
        self.log = self.home / "toy.log"
        self.pidfile = self.home / "toy.pid"
        self.configure("")
        inherited = os.environ.get("PYTHONPATH", "")
        self.environment = {"PYTHONPATH": os.pathsep.join([str(folder / "code"), str(ROOT), inherited])}

    def configure(self, text: str) -> None:
        (self.home / "toy.conf").write_text(text)

    def command(self, *options: str) -> list[str]:
        return twistd(*options, "toy", "--home", self.home)

    def foreground(self, *options: str, log: Path | None = None) -> Daemon:
        return Daemon(
            self.command("-n", *options), STARTED, environment=self.environment, directory=self.home, log=log
        )

    def run(self, *options: str) -> subprocess.CompletedProcess[str]:
        """Start it where it is expected to end, or to become a daemon."""
        return subprocess.run(
            self.command(*options),
            env={**os.environ, **self.environment},
            cwd=self.home,
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )

    def pid(self) -> int:
        return int(self.pidfile.read_text())


@pytest.fixture
def toy(tmp_path: Path) -> Iterator[Toy]:
    made = Toy(tmp_path)
    yield made
    if made.pidfile.exists():
        # A test has failed, or killed its daemon: then there is a pid file and perhaps no process.
        with contextlib.suppress(ProcessLookupError):
            os.kill(made.pid(), signal.SIGKILL)


def ended(pid: int) -> Callable[[], bool]:
    """Whether a process that is not our child has ended; a zombie that nobody has waited for has."""

    def look() -> bool:
        try:
            return "\nState:\tZ" in Path(f"/proc/{pid}/status").read_text()
        except FileNotFoundError:
            return True

    return look


def test_in_the_foreground_it_logs_to_file_and_terminal_and_stops_by_sigterm(toy: Toy) -> None:
    with toy.foreground() as daemon:
        assert toy.pid() == daemon.pid
        assert Client("toy", toy.home / "toy.sock").call("show pid", {}) == str(daemon.pid)
        assert daemon.stop() < 2.0
        assert "| INIT | toy(" in daemon.output
        assert "toy stopped" in daemon.output
        assert toy.log.read_text() == daemon.output
    assert not toy.pidfile.exists()
    assert not (toy.home / "toy.sock").exists()


def test_in_the_background_it_returns_when_started_and_logs_to_the_file(toy: Toy) -> None:
    started = toy.run()
    assert (started.returncode, started.stdout, started.stderr) == (0, "", "")
    wait_until(lambda: "toy started" in toy.log.read_text())
    pid = toy.pid()
    assert Client("toy", toy.home / "toy.sock").call("show pid", {}) == str(pid)
    again = toy.run()
    assert again.returncode == 1
    assert f"Another twistd server is running, PID {pid}" in again.stderr
    os.kill(pid, signal.SIGTERM)
    wait_until(ended(pid), 5, "the end")
    assert f"toy({pid})] toy stopped\n" in toy.log.read_text()
    assert not toy.pidfile.exists()


@pytest.mark.parametrize("options", [("-n",), ()])
def test_a_bad_configuration_stops_the_start(toy: Toy, options: tuple[str, ...]) -> None:
    toy.configure("PORT=x\nPROT=1\n")
    result = toy.run(*options)
    assert result.returncode == 1
    assert result.stderr == (
        f"toy: {toy.home}/toy.conf:1: PORT: 'x' must be a whole number\n"
        f"toy: {toy.home}/toy.conf:2: PROT: unknown key (did you mean PORT?)\n"
    )
    assert not toy.pidfile.exists()


@pytest.mark.parametrize("options", [("-n",), ()])
def test_a_port_in_use_says_which_and_by_which_setting(toy: Toy, options: tuple[str, ...]) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        toy.configure(f"PORT={port}\n")
        result = toy.run(*options)
    assert result.returncode == 1
    assert result.stderr == f"toy: PORT 127.0.0.1:{port}: address already in use\n"


def test_a_log_that_cannot_be_opened_stops_the_start(toy: Toy) -> None:
    toy.log.mkdir()
    result = toy.run("-n")
    assert (result.returncode, result.stderr) == (1, f"toy: {toy.log}: Is a directory\n")


def test_another_reactor_is_refused(toy: Toy) -> None:
    result = toy.run("-n", "--reactor=poll")
    assert result.returncode == 1
    assert result.stderr == (
        "toy: runs on the asyncio reactor only, not on PollReactor: leave out --reactor\n"
    )


def test_a_service_that_cannot_start_ends_the_process(toy: Toy) -> None:
    toy.configure("CRASH=yes\n")
    result = toy.run()
    assert result.returncode == 1
    assert "no luck" in result.stderr
    wait_until(lambda: not toy.pidfile.exists(), what="the end of the daemon, which its parent tells early")


def test_what_the_user_gives_twistd_goes_before_the_defaults(toy: Toy, tmp_path: Path) -> None:
    log, pidfile = tmp_path / "other.log", tmp_path / "other.pid"
    with toy.foreground(f"--logfile={log}", f"--pidfile={pidfile}") as daemon:
        assert int(pidfile.read_text()) == daemon.pid
        assert not toy.pidfile.exists()
        assert "toy started" in log.read_text()
        assert not toy.log.exists()
        daemon.stop()


def test_twistds_own_logger_is_left_alone(toy: Toy) -> None:
    with Daemon(
        toy.command("-n", "--logger=twisted.logger.STDLibLogObserver", "--pidfile="),
        lambda: (toy.home / "toy.sock").exists(),
        environment=toy.environment,
    ):
        assert not toy.log.exists()


def test_sighup_reads_the_configuration_again_or_changes_nothing(toy: Toy) -> None:
    with toy.foreground() as daemon:
        toy.configure("PORT=17\n")
        daemon.process.send_signal(signal.SIGHUP)
        daemon.wait_for_text(r"read again: port=17 ")
        toy.configure("PORT=-1\n")
        daemon.process.send_signal(signal.SIGHUP)
        daemon.wait_for_text(r"WARN \| toy\(\d+\)\] nothing was reloaded: .*toy.conf:1: PORT: '-1' must be")
        assert "Traceback" not in daemon.output
        assert daemon.stop() < 2.0


def test_a_service_that_does_not_stop_is_left_behind_in_time(toy: Toy) -> None:
    toy.configure("HANG=yes\n")
    with toy.foreground() as daemon:
        assert STOP_LIMIT <= daemon.stop(within=2.0) < 2.0
        assert "toy did not stop within 1.5 s and ends now" in daemon.output


def test_a_farewell_comes_before_all_services_stop(toy: Toy) -> None:
    toy.configure("FAREWELL=yes\n")
    with toy.foreground() as daemon:
        daemon.stop()
        said, failed, stopped = (daemon.output.index(text) for text in ("farewell", "too sad", "odd stops"))
        assert said < failed < stopped
        assert "toy stopped" in daemon.output


def test_more_signals_while_it_stops_change_nothing(toy: Toy) -> None:
    toy.configure("HANG=yes\n")
    with toy.foreground() as daemon:
        daemon.process.terminate()
        daemon.wait_for_text(r"toy stops")
        daemon.process.send_signal(signal.SIGINT)
        assert daemon.stop(within=2.0) < 2.0
        assert "toy did not stop within 1.5 s and ends now" in daemon.output
        assert "Traceback" not in daemon.output


def test_a_rotated_log_is_followed(toy: Toy) -> None:
    with toy.foreground() as daemon:
        toy.log.rename(toy.home / "toy.log.1")
        client = Client("toy", toy.home / "toy.sock")

        def followed() -> bool:
            client.call("show pid", {})
            return toy.log.exists()

        daemon.wait_until(followed, 5, "a new log file")


def test_it_starts_again_after_a_crash(toy: Toy) -> None:
    with toy.foreground() as daemon:
        daemon.kill()
        assert toy.pidfile.exists()
        daemon.start()
        assert toy.pid() == daemon.pid


@pytest.mark.parametrize("ours", [True, False])
def test_a_pid_file_with_our_own_pid_is_a_killed_containers(tmp_path: Path, ours: bool) -> None:
    class Options(DaemonOptions):
        name = "toy"

        def pidfile(self) -> Path:
            return tmp_path / "toy.pid"

    (tmp_path / "toy.pid").write_text(str(os.getpid() if ours else 1))
    options = Options()
    options.parent = usage.Options()
    options.parent["pidfile"] = TWISTD_PIDFILE
    options.postOptions()
    assert options.parent["pidfile"] == str(tmp_path / "toy.pid")
    assert (tmp_path / "toy.pid").exists() is not ours
