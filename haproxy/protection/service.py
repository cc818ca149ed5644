"""The guard at work: at the sockets, with a clock, the log and the counters."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, Final

from twisted.application.service import Service
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall
from twisted.logger import Logger

from haproxy.protection.backlog import Backlog, PassOn
from haproxy.protection.guard import BACKLOG, Blocked, Datagrams, Guard, Unblocked
from rtlib.address import Address
from rtlib.offence import OffenceLog

TICK: Final = 1.0
"""Seconds between two looks at the blocks that end, and two writings of the log."""

LINES: Final = 20
"""Of the log, for one tick: whoever forges many senders must not fill the disk."""

log = Logger()


class Protection(Service):
    """What the transport asks before it hands anything up."""

    def __init__(
        self, reactor: Any, guard: Guard, offences: OffenceLog, now: Callable[[], float] = time.monotonic
    ) -> None:
        """`now` must be the clock that all its times are on."""
        self.guard = guard
        self.now = now
        self.backlog = Backlog(IReactorTime(reactor))
        self._offences = offences
        self._tick = LoopingCall(self.look)
        self._tick.clock = IReactorTime(reactor)

    def startService(self) -> None:
        """End blocks from now on."""
        super().startService()
        if self.guard.policy.dry_run:
            log.warn("protectionDryRun: floods and scanners are counted and logged, and not blocked")
        self._tick.start(TICK, now=False)

    def stopService(self) -> None:
        """Stop the clock."""
        super().stopService()
        self.backlog.stop()
        if self._tick.running:
            self._tick.stop()

    def admit(self, batch: Datagrams, later: PassOn | None = None) -> Datagrams:
        """Those messages that may be worked on.

        `later` gets those of a source that sends more than it may for long, in further turns of the reactor,
        so that nobody waits for what may be the beginning of a flood. Without it they are among the others.
        """
        admitted, hasty = self.guard.admit(batch, self.now())
        if later is None:
            admitted += hasty
        elif hasty:
            self.guard.dropped[BACKLOG] += self.backlog.add(hasty, later)
        return admitted

    def shuts(self, address: Address) -> bool:
        """Whether connections from there are not worth having."""
        return self.guard.shuts(address)

    def offend(self, address: Address) -> None:
        """Count what a peer did wrong against its limit."""
        self.guard.offend(address, self.now())

    def look(self) -> None:
        """Let blocks end, and write down what has happened."""
        self.guard.handle_timer(self.now())
        lines = more = 0
        while (event := self.guard.next_event()) is not None:
            if lines >= LINES:
                more += 1
            elif self._write(event):
                lines += 1
        if more:
            log.warn("{more} more addresses were blocked or freed", more=more)

    def _write(self, event: Blocked | Unblocked) -> bool:
        """Log it, unless this source has been in the log for the same a moment ago."""
        if isinstance(event, Unblocked):
            text = f"{event.host} is not blocked any more: {event.reason}; {event.dropped} messages"
            log.info("{text}", text=text)
        elif event.again:
            text = (
                f"{event.host} stays blocked for {event.seconds:g} s ({event.kind}): it has not become quiet"
            )
            log.info("{text}", text=text)
        elif self._offences.count(event.kind, event.host, self.now()):
            done = "would be blocked" if self.guard.policy.dry_run else "is blocked"
            text = f"{event.kind} from {event.host}: {event.reason}; {done} for {event.seconds:g} s"
            log.warn("{text}", text=text)
        else:
            return False
        return True
