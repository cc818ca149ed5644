"""When to ask which Genesis system whether it is alive (guide 7.1.16, 7.1.18, 7.1.19). Sans-IO.

The prober decides; whoever owns the transactions sends OPTIONS or INFO and tells the outcome.
"""

from __future__ import annotations

from dataclasses import dataclass

from haproxy.dispatcher.destination import Destination, State
from haproxy.dispatcher.set import Dispatcher

INTERVAL = 30.0
"""Seconds between two probes of one destination (`astPingInterval`)."""

PATIENCE = 4.0
"""Seconds to wait for the answer to a probe (`astPingTimeout`); as long as a call waits."""

AGAIN = 2.0
"""Seconds after a failure until the next probe (`astPingRetry`)."""

DEAD = frozenset({408, 503})
"""Answers that mean the system, or the way to it, is not working. All others are a sign of life:
many systems answer 404, 405 or 481 to a request outside of a call."""


@dataclass(frozen=True, slots=True)
class Pace:
    """How often is asked, and how long waited, in seconds."""

    interval: float = INTERVAL
    again: float = AGAIN
    patience: float = PATIENCE


class Prober:
    """A schedule of probes for all destinations of a dispatcher.

    An active destination is asked every interval; one that has failed again soon, and once it is inactive
    at intervals that double up to the usual one; one that answers again soon, until it is active.
    """

    def __init__(self, dispatcher: Dispatcher, pace: Pace | None = None) -> None:
        self.pace = pace or Pace()
        """May be changed while running."""
        self.outcomes = {"answered": 0, "refused": 0, "failed": 0}
        """Probes by what came of them; refused: answered 503 or 408."""
        self._dispatcher = dispatcher
        self._due: dict[Destination, float] = {}
        self._asked: dict[Destination, float] = {}
        """Who was asked when, and has not answered yet."""
        self._last: dict[Destination, float] = {}
        """When each was asked last."""
        self._next: float | None = None

    def refresh(self, now: float) -> None:
        """Take notice of destinations that joined or left."""
        present = self._dispatcher.destinations()
        for destination in self._due.keys() - set(present):
            del self._due[destination]
            self._asked.pop(destination, None)
            self._last.pop(destination, None)
        for index, destination in enumerate(present):
            # Spread, so that many systems are not all asked in the same instant. Who has not been heard
            # of since a restart of ours may be dead.
            heard = destination.heard > float("-inf")
            first = (self.pace.interval if heard else self.pace.again) * (index + 1) / (len(present) + 1)
            self._due.setdefault(destination, now + first)
        self._next = min(self._due.values(), default=None)

    def get_timer(self) -> float | None:
        """When `due` has something to ask."""
        return self._next

    def due(self, now: float) -> list[Destination]:
        """Whom to probe now; each is given out once until its outcome is told."""
        if self._next is None or now < self._next:
            return []
        ready = [d for d, when in self._due.items() if when <= now]
        asked = [d for d in ready if d not in self._asked]
        for destination in ready:
            self._due[destination] = now + self.pace.interval
        for destination in asked:
            self._asked[destination] = self._last[destination] = now
        self._next = min(self._due.values(), default=None)
        return asked

    def next_of(self, destination: Destination) -> float | None:
        """When a destination is asked next; None where it is waited for, or is not known."""
        return None if destination in self._asked else self._due.get(destination)

    def suspect(self, destination: Destination, now: float) -> None:
        """Something says that it might be dead, or back: ask it now, if it was not asked a moment ago."""
        if destination in self._due and destination not in self._asked:
            soon = max(now, self._last.get(destination, now - self.pace.again) + self.pace.again)
            self._plan(destination, min(self._due[destination], soon))

    def suspect_flow(self, flow: object, now: float) -> None:
        """The same for all that registered on this flow: the network says that it does not work."""
        for destination in self._due:
            if destination.flow == flow:
                self.suspect(destination, now)

    def answered(
        self, destination: Destination, status: int, now: float, rtt: float | None, kind: str
    ) -> None:
        """A final response came."""
        if status in DEAD:
            self.outcomes["refused"] += 1
            if self._concluded(destination):
                reason = f"answered {status} to a probe"
                self._dispatcher.failed(destination, reason, now, certain=False, kind=kind, status=status)
                self._plan(destination, now + self._delay(destination, now))
            return
        self.outcomes["answered"] += 1
        if self._concluded(destination):
            self._dispatcher.answered(destination, now, kind=kind, status=status, rtt=rtt)
            self._plan(destination, now + self._delay(destination, now))

    def failed(
        self, destination: Destination, reason: str, now: float, *, certain: bool, asked: float, kind: str
    ) -> None:
        """No response in time; `certain` when the network said that nobody is there."""
        self.outcomes["failed"] += 1
        if self._concluded(destination):
            self._dispatcher.failed(destination, reason, now, certain=certain, since=asked, kind=kind)
            self._plan(destination, now + self._delay(destination, now))

    def postponed(self, destination: Destination, now: float) -> None:
        """It could not be asked, which is no fault of its own."""
        if self._concluded(destination):
            self._plan(destination, now + self.pace.again)

    def _concluded(self, destination: Destination) -> bool:
        """Whether the destination is still there."""
        self._asked.pop(destination, None)
        return destination in self._due

    def _delay(self, destination: Destination, now: float) -> float:
        """Seconds until the next probe."""
        rules, pace = self._dispatcher.rules, self.pace
        if destination.state is State.ACTIVE:
            return min(pace.interval, pace.again) if destination.pardons else pace.interval
        if destination.state is State.PROBING:
            return min(pace.interval, pace.again)
        if not destination.successes:
            times: float = 2 ** min(16, max(0, destination.failures - rules.down))
            return min(pace.interval, pace.again * times)
        held = destination.held_until - now if rules.is_well(destination) else 0.0
        return min(pace.interval, max(held, pace.again))

    def _plan(self, destination: Destination, when: float) -> None:
        self._due[destination] = when
        self._next = min(self._due.values())
