"""Looks after the certificates: reads changed files, and warns of those that end."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from twisted.application.service import Service
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall
from twisted.internet.threads import deferToThreadPool
from twisted.logger import Logger

from haproxy.tls.store import TlsStore
from rtlib.log import init

INTERVAL: Final = 5.0
"""Seconds between two looks at the files."""

REMINDER: Final = 86400.0
"""Seconds between two warnings about the same."""

log = Logger()


class TlsWatch(Service):
    """One timer for all sections."""

    def __init__(
        self,
        reactor: Any,
        store: TlsStore,
        wall: Callable[[], float],
        tell: Callable[[str, str], None],
    ) -> None:
        """`reactor` provides IReactorTime and IReactorThreads; `wall` gives seconds of UTC.

        `tell` gets a section's name, and what an operator has to do something about.
        """
        self._reactor = reactor
        self._store = store
        self._wall = wall
        self._tell = tell
        self._warned: dict[tuple[str, str], float] = {}
        self._look = LoopingCall(self._start)
        self._look.clock = IReactorTime(reactor)

    def startService(self) -> None:
        """Say what ends soon, and begin to look."""
        super().startService()
        self.warn()
        self._look.start(INTERVAL, now=False)

    def stopService(self) -> None:
        """Look no more."""
        super().stopService()
        if self._look.running:
            self._look.stop()

    def _start(self) -> Deferred[None]:
        return Deferred.fromCoroutine(self.look())

    async def look(self) -> None:
        """Read what has changed: in a thread, because lists may be long."""
        try:
            updates = await deferToThreadPool(
                self._reactor, self._reactor.getThreadPool(), self._store.changed
            )
        except Exception:  # noqa: BLE001 - the next look may succeed, and must come
            log.failure("looking at the TLS files failed")
            return
        self._store.apply(updates)
        for update in updates:
            if update.loaded is None:
                text = f"{update.reason}; the one before stays in use"
                log.warn("{text}", text=text)
                self._tell(update.section.name, text)
            else:
                init(log, "TLS section {name}: its files were read again", name=update.section.name)
        self.warn()

    def warn(self) -> None:
        """Write into the log what ends soon or has ended, once a day."""
        now = self._wall()
        for reminder in self._store.reminders(now):
            key = reminder.section.name, reminder.about
            if now - self._warned.get(key, -REMINDER) >= REMINDER:
                self._warned[key] = now
                log.warn("TLS section {name}: {text}", name=reminder.section.name, text=reminder.text)
                self._tell(reminder.section.name, reminder.text)
        self._warned = {key: when for key, when in self._warned.items() if now - when < REMINDER}
