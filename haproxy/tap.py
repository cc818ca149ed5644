"""`twistd genproxy`: options, settings, and every socket bound before the daemon starts."""

from __future__ import annotations

import sys

if "twisted.internet.reactor" not in sys.modules:
    from twisted.internet import asyncioreactor

    asyncioreactor.install()

import os
import secrets
import time
from pathlib import Path
from typing import Any

from twisted.internet import reactor as installed_reactor

from haproxy.network import bind_all, bind_control, sides_of
from haproxy.proxy.side import Sides
from haproxy.registrar.database import Database, DatabaseError
from haproxy.service import NAME, Genproxy, Sockets, State
from haproxy.settings import Settings
from haproxy.tls.error import TlsError
from haproxy.tls.store import TlsStore
from haproxy.tlsconfig import DEFAULT_PAIR, default_pair, sections_of, uses_tls
from rtlib.daemon import DaemonOptions, refusing
from rtlib.listen import ListenError, bind_stream, bind_unix, listening
from rtlib.notify import DEFAULT_SCRIPT
from rtlib.settings import toml

DEFAULT_CONFIG = "/etc/genproxy/genproxy.toml"
DEFAULT_STATE = "/var/lib/genproxy"
DEFAULT_LOG = Path("/var/log/genproxy")
FOLDERS = {"run": 0o700, "scripts": 0o755}
KEY_SIZE = 32


class Options(DaemonOptions):
    """Options of `twistd genproxy`."""

    name = NAME
    optParameters = [
        ["config", None, DEFAULT_CONFIG, "Configuration file."],
        ["state-dir", None, DEFAULT_STATE, "Directory of the database, sockets and scripts."],
    ]

    @property
    def config(self) -> Path:
        """The configuration file."""
        return Path(self["config"]).absolute()

    @property
    def state(self) -> Path:
        """The state directory."""
        return Path(self["state-dir"]).absolute()

    def pidfile(self) -> Path:
        """Where the pid file goes unless twistd's --pidfile says otherwise."""
        return self.state / "run" / "genproxy.pid"

    def log(self, settings: Settings) -> Path:
        """The log file."""
        if settings.system.logFile is not None:
            return Path(settings.system.logFile)
        folder = DEFAULT_LOG if self.state == Path(DEFAULT_STATE) else self.state / "log"
        return folder / "genproxy.log"


def makeService(options: Options, reactor: Any = installed_reactor) -> Genproxy:
    """Read, check and bind everything, or end the process with the reason on stderr and exit code 1."""
    with refusing(NAME, ListenError, DatabaseError, TlsError):
        settings = _read(options.config)
        log = options.log(settings)
        _prepare(options.state, log.parent)
        sides = sides_of(settings)
        tls = _tls(settings, options.state)
        sockets = _bind(settings, sides, options.state / "run")
        database = Database(options.state / "genproxy.db")
        database.open()
        state = State(options.state, _key(options.state / "genproxy.key"), database, tls)
        observer = options.observer(log, settings.system.logLevel, settings.system.logFormat)
        return Genproxy(
            settings,
            sides,
            sockets,
            state,
            read=lambda: _read(options.config),
            reactor=reactor,
            observer=observer,
        )


def _read(path: Path) -> Settings:
    return toml.read(path, Settings)


def _prepare(state: Path, log_folder: Path) -> None:
    """Make what an empty state directory lacks."""
    state.mkdir(mode=0o750, parents=True, exist_ok=True)
    for name, mode in FOLDERS.items():
        (state / name).mkdir(mode=mode, exist_ok=True)
    log_folder.mkdir(mode=0o750, exist_ok=True)
    script = state / "scripts" / "notify.sh"
    if not script.exists():
        script.write_text(DEFAULT_SCRIPT)
        script.chmod(0o755)


def _tls(settings: Settings, state: Path) -> TlsStore | None:
    """All keys and certificates, read now; None where nothing needs them. Raises TlsError."""
    if not uses_tls(settings):
        return None
    return TlsStore(sections_of(settings, default_pair(settings, state / DEFAULT_PAIR, time.time())))


def _bind(settings: Settings, sides: Sides, run: Path) -> Sockets:
    """Bind everything. Raises ListenError."""
    metrics = settings.system.metricsListen
    return Sockets(
        list(bind_all(settings, sides)),
        listening("command socket", bind_unix, run / "genproxy.sock"),
        listening("manhole", bind_unix, run / "manhole.sock"),
        None if metrics is None else listening("metricsListen", bind_stream, metrics.host, metrics.port),
        list(bind_control(settings)),
    )


def _key(path: Path) -> bytes:
    """The secret key of this system; a new one, mode 0600, where there is none."""
    if not path.exists():
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(secrets.token_bytes(KEY_SIZE))
    return path.read_bytes()
