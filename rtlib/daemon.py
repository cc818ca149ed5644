"""What both daemons' tap.py share: twistd's options, errors at the start, the log, reload, stop.

twistd reads its own options first, then the plugin's, then finishes its own: so a plugin's
`postOptions` can still give twistd's pid file another default. A log observer is given to the
application as the component that twistd looks for.
"""

from __future__ import annotations

import atexit
import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import Any, ClassVar, Final, NoReturn

from twisted.application.service import MultiService
from twisted.internet.defer import Deferred
from twisted.logger import ILogObserver, Logger
from twisted.python import usage

from rtlib.log import Format, Level, LogFile, LogObserver, Write, init, stream_writer
from rtlib.settings import SettingsError

TWISTD_PIDFILE: Final = "twistd.pid"
"""twistd's own default, which two daemons in one folder would fight over."""

STOP_LIMIT: Final = 1.5
"""Seconds that services get to stop, so that the process ends within 2 s of SIGTERM."""


def fail(name: str, message: str) -> NoReturn:
    """Print `name: message` on stderr, each line so, and end with exit code 1, without a traceback."""
    sys.stderr.write("".join(f"{name}: {line}\n" for line in message.splitlines()))
    sys.stderr.flush()
    raise SystemExit(1)


@contextmanager
def refusing(name: str, *errors: type[Exception]) -> Iterator[None]:
    """Make these errors, SettingsError and OSError a `fail` instead of a traceback."""
    try:
        yield
    except SettingsError as error:
        fail(name, str(error))
    except errors as error:
        fail(name, str(error))
    except OSError as error:
        place = f"{error.filename}: " if error.filename else ""
        fail(name, f"{place}{error.strerror or error}")


def require_asyncio_reactor(name: str) -> None:
    """Refuse (`fail`) to run on another reactor, which `twistd --reactor` installs."""
    reactor = sys.modules.get("twisted.internet.reactor")
    kind = type(reactor)
    if kind.__module__ != "twisted.internet.asyncioreactor":
        fail(name, f"runs on the asyncio reactor only, not on {kind.__name__}: leave out --reactor")


class DaemonOptions(usage.Options):
    """Base of a daemon's options. A subclass sets `name` and overrides `pidfile`."""

    name: ClassVar[str] = ""

    def pidfile(self) -> Path:
        """Where the pid file goes unless twistd's --pidfile says otherwise."""
        raise NotImplementedError

    def postOptions(self) -> None:
        """Check the reactor and give twistd this daemon's pid file."""
        super().postOptions()
        require_asyncio_reactor(self.name)
        if self.parent is not None and self._twistd("pidfile") == TWISTD_PIDFILE:
            self.parent["pidfile"] = str(self.pidfile())
            _discard_own(self.pidfile())

    def observer(self, path: Path, level: Level = "info", format: Format = "text") -> LogObserver | None:
        """The log observer: the file `path` (or twistd's --logfile), with -n standard output as well.

        None when twistd's --logger or --syslog is given: then the log is left to those. Raises OSError.
        """
        if self._twistd("logger") or self._twistd("syslog"):
            return None
        chosen = self._twistd("logfile")
        writes: list[Write] = []
        if chosen != "-":
            writes.append(LogFile(Path(chosen or path).absolute()).write)
        if self._twistd("nodaemon"):
            writes.append(stream_writer(sys.stdout))
        return LogObserver(writes, level, format)

    def _twistd(self, option: str) -> Any:
        parent = getattr(self, "parent", None)
        return parent.get(option) if parent is not None else None


def _discard_own(pidfile: Path) -> None:
    """Remove a pid file that names this very process.

    A container that was killed gives the next start the same process id, and twistd would take
    the daemon for another one that runs already.
    """
    with suppress(OSError, ValueError):
        if int(pidfile.read_text()) == os.getpid():
            pidfile.unlink()


@contextmanager
def _deaf_to_signals() -> Iterator[None]:
    """Ignore further signals to stop: Twisted takes a second one for an error and logs a traceback."""
    before = {number: signal.signal(number, signal.SIG_IGN) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _exit_in_failure() -> None:
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(1)


class DaemonService(MultiService):
    """The root service: hands twistd the log observer, reloads on SIGHUP, bounds the time to stop.

    Children are added with `setServiceParent`; they start in that order and stop in reverse.
    """

    def __init__(
        self,
        name: str,
        reactor: Any,
        observer: ILogObserver | None = None,
        reload: Callable[[], object] | None = None,
    ) -> None:
        """`reactor` provides IReactorCore, -Time and -FromThreads; `reload` is called in it on SIGHUP."""
        super().__init__()
        self.setName(name)
        # Two underscores: daemons are subclasses with many attributes of their own.
        self.__reactor = reactor
        self.__observer = observer
        self.__reload = reload
        self.__log = Logger(namespace=name)

    def setServiceParent(self, parent: Any) -> None:
        """Join twistd's application, and give it the log observer."""
        if self.__observer is not None:
            parent.setComponent(ILogObserver, self.__observer)
        super().setServiceParent(parent)

    def startService(self) -> None:
        """Start the children in order."""
        if self.__reload is not None:
            signal.signal(signal.SIGHUP, self.__hang_up)
        super().startService()
        # Not before the reactor has taken over SIGTERM: whoever waits for this line may stop us at once.
        self.__reactor.callWhenRunning(self.__started)

    def stopService(self) -> Deferred[None]:
        """Say farewell, stop the children; STOP_LIMIT seconds from now the process ends in any case."""
        init(self.__log, "{name} stops", name=self.name)
        return Deferred.fromCoroutine(self.__stop())

    def __started(self) -> None:
        init(self.__log, "{name} started, process {pid}", name=self.name, pid=os.getpid())

    def give_up(self) -> None:
        """Stop because of an error: the process ends with exit code 1. Also while it is still starting."""
        # The last thing at exit; twistd itself knows no other code than 0.
        atexit.register(_exit_in_failure)
        self.__reactor.callWhenRunning(self.__reactor.stop)

    async def farewell(self) -> None:
        """What is to be done before the services stop. It has to end by itself, within half a second."""

    async def __stop(self) -> None:
        deadline = self.__reactor.seconds() + STOP_LIMIT
        with _deaf_to_signals():
            await self.__part()
            clean = await self.__stop_children(max(0.0, deadline - self.__reactor.seconds()))
        if clean:
            init(self.__log, "{name} stopped", name=self.name)
        else:
            self.__log.warn(
                "{name} did not stop within {limit} s and ends now", name=self.name, limit=STOP_LIMIT
            )

    async def __part(self) -> None:
        try:
            await self.farewell()
        except Exception:  # noqa: BLE001  the services have to stop in any case
            self.__log.failure("the farewell failed")

    async def __stop_children(self, limit: float) -> bool:
        """Stop them; whether all have stopped in time, which is `limit` seconds."""
        ended: Deferred[bool] = Deferred()
        timer = self.__reactor.callLater(limit, ended.callback, False)

        def stopped(results: list[tuple[bool, Any]]) -> None:
            for success, failure in results:
                if not success:
                    self.__log.failure("a service did not stop cleanly", failure)
            if timer.active():
                timer.cancel()
                ended.callback(True)

        super().stopService().addCallback(stopped)
        return await ended

    def __hang_up(self, number: int, frame: FrameType | None) -> None:
        self.__reactor.callFromThread(self.__reload_logged)

    def __reload_logged(self) -> None:
        assert self.__reload is not None
        try:
            self.__reload()
        except SettingsError as error:
            for line in str(error).splitlines():
                self.__log.warn("nothing was reloaded: {line}", line=line)
        except Exception:  # noqa: BLE001  a reload that fails must leave the running daemon as it was
            self.__log.failure("nothing was reloaded")
