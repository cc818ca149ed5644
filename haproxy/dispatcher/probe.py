"""When to ask which Genesis system whether it is alive (guide 7.1.16, 7.1.18, 7.1.19). Sans-IO.

The prober decides; whoever owns the transactions sends OPTIONS or INFO and tells the outcome.
"""

from __future__ import annotations

from haproxy.dispatcher.set import Destination, Dispatcher, State

INTERVAL = 30.0
"""Seconds between two probes of one destination (`astPingInterval`)."""

PATIENCE = 4.0
"""Seconds to wait for the answer to a probe; as long as a call waits before it goes elsewhere."""

AGAIN = 2.0
"""Seconds after a first unanswered probe until the second, which decides."""

DEAD = frozenset({408, 503})
"""Answers that mean the system, or the way to it, is not working. All others are a sign of life:
many systems answer 404, 405 or 481 to a request outside of a call."""


class Prober:
    """A schedule of probes for all destinations of a dispatcher."""

    def __init__(self, dispatcher: Dispatcher, interval: float = INTERVAL) -> None:
        self._dispatcher = dispatcher
        self._interval = interval
        self._due: dict[Destination, float] = {}
        self._asked: set[Destination] = set()
        self._next: float | None = None

    def refresh(self, now: float) -> None:
        """Take notice of destinations that joined or left."""
        present = self._dispatcher.destinations()
        gone = self._due.keys() - set(present)
        for destination in gone:
            del self._due[destination]
            self._asked.discard(destination)
        for index, destination in enumerate(present):
            # Spread, so that many systems are not all asked in the same instant.
            first = now + self._interval * (index + 1) / (len(present) + 1)
            self._due.setdefault(destination, first)
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
            self._due[destination] = now + self._interval
        self._asked.update(asked)
        self._next = min(self._due.values(), default=None)
        return asked

    def answered(self, destination: Destination, status: int, now: float) -> None:
        """A final response came."""
        if status in DEAD:
            self.failed(destination, f"answered {status} to a probe", now)
            return
        self._asked.discard(destination)
        self._dispatcher.answered(destination, now)

    def failed(self, destination: Destination, reason: str, now: float, certain: bool = False) -> None:
        """No response in time; `certain` when the network said that nobody is there."""
        self._asked.discard(destination)
        if destination not in self._due:
            return
        self._dispatcher.failed(destination, reason, now, certain)
        if destination.state is State.PROBING:
            self._due[destination] = now + AGAIN
            self._next = min(self._due.values())
