"""Stopping without cutting off anybody: no new calls, wait for those that run, then stop."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from twisted.application.service import Service
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall
from twisted.logger import Logger

from rtlib.command.error import BadArgument, Conflict
from rtlib.log import init

log = Logger()

INTERVAL: Final = 0.5
"""Seconds between two looks whether the last call has ended."""
MAX_PATIENCE: Final = 86400
REFUSAL: Final = "this server is being stopped and takes no new calls"


def ask(drain: Drain, patience: int, cancel: bool) -> str:
    """What the command `drain` does; its reply. Raises BadArgument and Conflict."""
    if cancel:
        if not drain.active:
            raise Conflict("the server is not being drained")
        drain.cancel()
        return "new calls are accepted again"
    if not 0 <= patience <= MAX_PATIENCE:
        raise BadArgument(f"--patience: must be 0 to {MAX_PATIENCE} seconds")
    if drain.active:
        raise Conflict("the server is being drained already")
    running = drain.begin(patience)
    return f"no new calls are taken; the server stops when those that run have ended: {running}"


class Drain(Service):
    """Watches the calls that run while the server takes no new ones."""

    def __init__(
        self,
        clock: IReactorTime,
        *,
        refuse: Callable[[str], None],
        calls: Callable[[], int],
        stop: Callable[[], object],
        notify: Callable[[str], None],
    ) -> None:
        """`refuse(reason)` makes new calls be refused, "" accepted again; `calls()` counts those that run.

        `notify` is told of both events.
        """
        self._clock = clock
        self._refuse = refuse
        self._calls = calls
        self._stop = stop
        self._notify = notify
        self._deadline = 0.0
        self._watch = LoopingCall(self._look)
        self._watch.clock = clock

    @property
    def active(self) -> bool:
        """Whether the server is being drained."""
        return self._watch.running

    def begin(self, patience: float) -> int:
        """Refuse new calls, and stop after the last one, or after `patience` seconds; how many calls run."""
        running = self._calls()
        self._refuse(REFUSAL)
        self._deadline = self._clock.seconds() + patience
        init(log, "no new calls; the server stops when those that run have ended: {count}", count=running)
        self._notify("draining")
        # Not at once: whoever asked for it is to get an answer.
        self._watch.start(INTERVAL, now=False)
        return running

    def cancel(self) -> None:
        """Accept calls again, and do not stop."""
        self._watch.stop()
        self._refuse("")
        init(log, "new calls are accepted again")
        self._notify("draining cancelled")

    def stopService(self) -> None:
        """The server stops, for this reason or another."""
        super().stopService()
        if self.active:
            self._watch.stop()

    def _look(self) -> None:
        running = self._calls()
        if running and self._clock.seconds() < self._deadline:
            return
        if running:
            log.warn("{count} calls have not ended in time and are cut off", count=running)
        self._watch.stop()
        self._stop()
