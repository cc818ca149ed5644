"""How late the reactor is: whatever holds it up, holds up everybody whom it serves."""

from __future__ import annotations

from collections import Counter
from typing import Final

from twisted.application.service import Service
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

from rtlib.metrics import Metrics

INTERVAL: Final = 0.05
"""Seconds between two looks."""
STEPS: Final = (0.005, 0.02, 0.1, 0.5)
"""Seconds; nothing should hold the reactor up for longer than the first."""
WORTH_A_WARNING: Final = 0.5
PAUSE: Final = 60.0
"""Seconds between two warnings at least."""

log = Logger()


class Lateness(Service):
    """Has itself called at regular times and keeps by how much that is late."""

    def __init__(self, clock: IReactorTime) -> None:
        self._clock = clock
        self._call: IDelayedCall | None = None
        self._due = 0.0
        self._warn_after = 0.0
        self._longest = 0.0
        self.late: Counter[str] = Counter({_label(step): 0 for step in STEPS})
        """How many looks were later than so many milliseconds."""

    def startService(self) -> None:
        """Begin to look."""
        super().startService()
        self._next()

    def stopService(self) -> None:
        """Look no longer."""
        super().stopService()
        if self._call is not None:
            self._call.cancel()
            self._call = None

    def take_longest(self) -> float:
        """Seconds that a look was late at most since this was asked last."""
        longest, self._longest = self._longest, 0.0
        return longest

    def add_to(self, metrics: Metrics) -> None:
        """Show it."""
        metrics.gauge(
            "reactor_late_longest_seconds",
            "How late the reactor was since the last scrape.",
            self.take_longest,
        )
        metrics.counter(
            "reactor_late", "Looks at the clock, 20 a second, that were later.", lambda: dict(self.late), "ms"
        )

    def _next(self) -> None:
        self._due = self._clock.seconds() + INTERVAL
        self._call = self._clock.callLater(INTERVAL, self._look)

    def _look(self) -> None:
        late = self._clock.seconds() - self._due
        if late > STEPS[0]:
            self.late.update(_label(step) for step in STEPS if late > step)
        self._longest = max(self._longest, late)
        if late > WORTH_A_WARNING and self._clock.seconds() >= self._warn_after:
            self._warn_after = self._clock.seconds() + PAUSE
            log.warn("nobody was served for {late} ms", late=round(late * 1000))
        self._next()


def _label(step: float) -> str:
    return str(round(step * 1000))
