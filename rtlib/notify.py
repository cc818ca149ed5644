"""Tells the outside of system events with a script: `notify.sh <unit/module> <event>` (CRS manual 7.1)."""

from __future__ import annotations

import os
from collections import deque
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, Protocol

from twisted.application.service import Service
from twisted.internet.defer import Deferred
from twisted.internet.error import ProcessExitedAlready
from twisted.internet.interfaces import IDelayedCall, IProcessTransport
from twisted.internet.protocol import ProcessProtocol
from twisted.logger import Logger
from twisted.python.failure import Failure

log = Logger()

DEFAULT_SCRIPT: Final = """\
#!/bin/sh
# Called for every system event: notify.sh <unit/module> <event>
# Add commands here to tell an external fault management system.
exec logger -t "$1" -- "$2"
"""

STOP_GRACE: Final = 1.0
"""Seconds that scripts get when the daemon stops."""

_PATH: Final = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


class Notifier(Protocol):
    """Where services report events that an operator's monitoring should hear of."""

    def notify(self, unit: str, event: str) -> None:
        """Report an event; never blocks and never raises."""


class Announcer(Service):
    """Reports when a unit starts and stops; the last of its services, so that it is the first to stop."""

    def __init__(self, notifier: Notifier, unit: str) -> None:
        self._notifier = notifier
        self._unit = unit

    def startService(self) -> None:
        """All is started."""
        super().startService()
        self._notifier.notify(self._unit, "started")

    def stopService(self) -> None:
        """Everything will be stopped."""
        super().stopService()
        self._notifier.notify(self._unit, "stopping")


class ScriptNotifier(Service):
    """Runs the script once for each event, a few at a time, and kills it when it takes too long."""

    def __init__(
        self,
        reactor: Any,
        script: Path,
        *,
        timeout: float = 10.0,
        queue: int = 100,
        parallel: int = 2,
    ) -> None:
        """`reactor` provides IReactorProcess and IReactorTime; `timeout` is in seconds."""
        self.dropped = 0
        self.failed = 0
        self.script = script
        self._reactor = reactor
        self._timeout = timeout
        self._limit = queue
        self._parallel = parallel
        self._waiting: deque[tuple[str, str]] = deque()
        self._running: set[_Script] = set()
        self._idle: Deferred[None] | None = None
        self._stopped = False

    def notify(self, unit: str, event: str) -> None:
        """Run `<script> <unit> <event>` soon; when too many wait, the event is dropped and counted.

        The event becomes one line.
        """
        event = " ".join(event.split())
        if not self.script.is_file():
            log.info("{unit}: {event} (no script {script})", unit=unit, event=event, script=str(self.script))
            return
        if self._stopped or len(self._waiting) >= self._limit:
            self.dropped += 1
            return
        self._waiting.append((unit, event))
        self._next()

    async def drained(self) -> None:
        """Wait until every script has ended."""
        while self._running or self._waiting:
            self._idle = self._idle or Deferred()
            await self._idle

    def stopService(self) -> Deferred[None]:
        """Let scripts that run or wait end, within STOP_GRACE seconds; then kill and drop them."""
        super().stopService()
        self._stopped = True
        return Deferred.fromCoroutine(self._finish())

    async def _finish(self) -> None:
        timer = self._reactor.callLater(STOP_GRACE, self._give_up)
        await self.drained()
        if timer.active():
            timer.cancel()

    def _give_up(self) -> None:
        self.dropped += len(self._waiting)
        self._waiting.clear()
        for script in list(self._running):
            script.expire()

    def _next(self) -> None:
        while self._waiting and len(self._running) < self._parallel:
            self._start(*self._waiting.popleft())
        if not self._running and self._idle is not None:
            idle, self._idle = self._idle, None
            idle.callback(None)

    def _start(self, unit: str, event: str) -> None:
        script = _Script(self, unit, event)
        self._running.add(script)
        arguments = [str(self.script), unit, event]
        # First the timer: a short script may have ended when spawnProcess returns.
        script.timer = self._reactor.callLater(self._timeout, script.expire)
        try:
            self._spawn(script, arguments)
        except OSError as error:
            script.timer.cancel()
            self._running.discard(script)
            self.failed += 1
            log.warn("{script} cannot be run: {error}", script=arguments[0], error=error.strerror)

    def _spawn(self, script: _Script, arguments: list[str]) -> None:
        # No pipes: a background process of the script would hold them open long after its end.
        with Path(os.devnull).open("r+b", buffering=0) as null:
            files = dict.fromkeys(range(3), null.fileno())
            self._reactor.spawnProcess(script, arguments[0], arguments, env={"PATH": _PATH}, childFDs=files)

    def _ended(self, script: _Script, problem: str) -> None:
        self._running.discard(script)
        if problem:
            self.failed += 1
            log.warn(
                "{path} {unit} {event!r}: {problem}",
                path=str(self.script),
                unit=script.unit,
                event=script.event,
                problem=problem,
            )
        self._next()


class _Script(ProcessProtocol):
    """One run of the script. What it prints is ignored."""

    timer: IDelayedCall | None = None
    transport: IProcessTransport

    def __init__(self, owner: ScriptNotifier, unit: str, event: str) -> None:
        self.unit, self.event = unit, event
        self._owner = owner
        self._expired = False

    def expire(self) -> None:
        self._expired = True
        with suppress(ProcessExitedAlready):
            self.transport.signalProcess("KILL")

    def processEnded(self, reason: Failure) -> None:
        if self.timer is not None and self.timer.active():
            self.timer.cancel()
        code = getattr(reason.value, "exitCode", None)
        problem = "" if code == 0 else f"ended with {code}"
        self._owner._ended(self, "took too long and was killed" if self._expired else problem)
