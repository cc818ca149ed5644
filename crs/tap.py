"""`twistd crs`: options, settings, and every socket bound before the daemon starts."""

from __future__ import annotations

import sys

if "twisted.internet.reactor" not in sys.modules:
    from rtlib import openssl

    openssl.load()

    from twisted.internet import asyncioreactor

    asyncioreactor.install()

from pathlib import Path
from socket import socket
from typing import Any

from twisted.internet import reactor as installed_reactor
from twisted.logger import Logger

from crs.accounts import AccountError, Accounts
from crs.home import DATABASE, DEFAULT_HOME, RELAY_SOCKET, SOCKET, log_folder, notify_script
from crs.relay.daemon import RelayDaemon
from crs.relay.inside import NAME as RELAY_NAME
from crs.service import NAME, Server, Sockets
from crs.settings import Settings, load
from crs.update.error import ArchiveError
from rtlib import psk
from rtlib.daemon import DaemonOptions, DaemonService, fail, refusing
from rtlib.listen import ListenError, bind_datagram, bind_stream, bind_unix, listening
from rtlib.log import Divided, LogFile, LogObserver
from rtlib.notify import DEFAULT_SCRIPT
from rtlib.store import StoreError
from rtlib.store.sqlite import check_file

log = Logger()

ROLES = {"crs": NAME, "relay": RELAY_NAME}
FOLDERS = {"accounts": 0o700, "data": 0o700, "backup": 0o700, "run": 0o700, "scripts": 0o755}


class Options(DaemonOptions):
    """Options of `twistd crs`."""

    name = NAME
    optParameters = [
        ["home", None, str(DEFAULT_HOME), "Directory of configuration, accounts and data."],
        ["role", None, "crs", "What to run: crs, or relay for a relay-service that is separate."],
    ]

    @property
    def home(self) -> Path:
        """The home directory."""
        return Path(self["home"]).absolute()

    @property
    def service(self) -> str:
        """What to run: `crs` or `crs_relay`."""
        return ROLES[self["role"]]

    @property
    def log(self) -> Path:
        """The log file: where the manual says, or in another home."""
        return log_folder(self.home) / f"{self.service}.log"

    def pidfile(self) -> Path:
        """Where the pid file goes unless twistd's --pidfile says otherwise."""
        return self.home / "run" / f"{self.service}.pid"

    def postOptions(self) -> None:
        """Check the role, then as every daemon."""
        if self["role"] not in ROLES:
            fail(NAME, f"--role {self['role']}: there is no such role; it is crs or relay")
        super().postOptions()


def makeService(options: Options, reactor: Any = installed_reactor) -> DaemonService:
    """Read, check and bind everything, or end the process with the reason on stderr and exit code 1."""
    with refusing(options.service, AccountError, ArchiveError, ListenError, StoreError, psk.PskUnavailable):
        home = options.home
        _prepare(home, options.log.parent)
        settings = load(home)
        if options.service == RELAY_NAME:
            return _relay(options, settings, reactor)
        return _server(options, settings, reactor)


def _server(options: Options, settings: Settings, reactor: Any) -> Server:
    home = options.home
    accounts = Accounts(home / "accounts")
    accounts.load()
    if settings.main.store == "sqlite":
        check_file(home / DATABASE)
    psk.self_test()
    sockets = _bind(home, settings)
    observer = _observer(options, settings)
    return Server(home, settings, sockets, accounts, reactor=reactor, observer=observer)


def _observer(options: Options, settings: Settings) -> LogObserver | Divided | None:
    """Of the server's log; a relay that is a part of it has its own, as the manual says (6.2)."""
    observer = options.observer(options.log, *settings.main.log)
    if observer is None or settings.main.relay_service == "separate":
        return observer
    file = LogFile(options.log.with_name(f"{RELAY_NAME}.log"))
    return Divided(RELAY_NAME, LogObserver([file.write], *settings.main.log), observer)


def _relay(options: Options, settings: Settings, reactor: Any) -> RelayDaemon:
    main = settings.main
    if main.relay_service != "separate":
        fail(RELAY_NAME, "crs itself is the relay: crs.conf must say `relay-service separate` first")
    media = _bind_media(settings)
    commands = listening("control socket", bind_unix, options.home / RELAY_SOCKET)
    observer = options.observer(options.log, *main.log)
    return RelayDaemon(
        media,
        commands,
        settings.relay_limits,
        pause=main.relay_pause / 1e6,
        log=lambda: load(options.home).main.log,
        script=notify_script(options.home),
        reactor=reactor,
        observer=observer,
    )


def _prepare(home: Path, log_folder: Path) -> None:
    """Make what an empty home lacks. The home itself is made by who decides where it is."""
    if not home.is_dir():
        fail(NAME, f"--home {home}: there is no such directory; make it first, empty if you like")
    for name, mode in FOLDERS.items():
        (home / name).mkdir(mode=mode, exist_ok=True)
    log_folder.mkdir(mode=0o750, exist_ok=True)
    script = notify_script(home)
    if not script.exists():
        script.write_text(DEFAULT_SCRIPT)
        script.chmod(0o755)


def _bind(home: Path, settings: Settings) -> Sockets:
    main, ip = settings.main, settings.listen_ip
    clients = listening("client-listen-port", bind_stream, ip, main.client_listen_port, dual=True)
    relay = _bind_media(settings) if main.relay_service == "inside" else None
    metrics = manhole = None
    if main.metrics_listen is not None:
        page = main.metrics_listen
        metrics = listening("metrics-listen", bind_stream, page.host, page.port)
    if main.manhole_keys is not None:
        manhole = listening("manhole-keys", bind_unix, home / "run" / "manhole.sock")
    return Sockets(
        clients=clients,
        relay=relay,
        metrics=metrics,
        manhole=manhole,
        # The last one: who waits for its file may connect to all the others as well.
        commands=listening("command socket", bind_unix, home / SOCKET),
    )


def _bind_media(settings: Settings) -> socket:
    port = settings.main.relay_listen_port
    return listening("relay-listen-port", bind_datagram, settings.listen_ip, port, dual=True)
