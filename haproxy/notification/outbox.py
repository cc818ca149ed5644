"""What waits for one server: in order, bounded, tried again ever less often. No I/O, no clock."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

LIMIT: Final = 1000
"""Notifications that may wait for one server; then the oldest are dropped: the latest state matters most."""

FIRST: Final = 1.0
"""Seconds until the second attempt, about; it doubles with each failure."""

LONGEST: Final = 60.0
"""Seconds between two attempts at most, unless the server asks for more."""

RETRY_AFTER: Final = 600.0
"""Seconds that a server may ask for."""

UNWANTED: Final = frozenset({413, 415, 422})
"""Status codes that are about this one notification: to send it again is no use.

400 is not among them: nginx answers that where it misses a client certificate.
"""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of an attempt."""

    code: int = 0
    """Status code of the last answer; 0 where there was none."""
    error: str = ""
    """Empty where the server took it."""
    retry_after: float = 0.0
    """Seconds that the server wants us to wait."""


class Outbox:
    """The notifications for one server. One is tried at a time."""

    def __init__(self, random: Callable[[], float], limit: int = LIMIT) -> None:
        """`random` gives numbers from 0 to 1: servers that failed together are not tried together."""
        self._random = random
        self._limit = limit
        self._waiting: deque[bytes] = deque()
        self._trying: bytes | None = None
        self._failures = 0
        self._next = 0.0
        self.last = Outcome()
        self.sent = 0
        self.failed = 0
        """Attempts that failed."""
        self.refused = 0
        """Notifications that the server did not want."""
        self.dropped = 0
        """Notifications for which there was no room."""

    def __len__(self) -> int:
        """How many wait, the one that is being tried included."""
        return len(self._waiting) + (self._trying is not None)

    @property
    def failing(self) -> bool:
        """Whether the last attempt failed."""
        return self._failures > 0

    @property
    def trying(self) -> bool:
        """Whether an attempt is under way."""
        return self._trying is not None

    def put(self, body: bytes) -> bool:
        """Add a notification; False if the oldest that waited had to go for it."""
        self._waiting.append(body)
        if len(self) <= self._limit:
            return True
        self._waiting.popleft()
        self.dropped += 1
        return False

    def due(self, now: float) -> bytes | None:
        """The notification to try now, if there is one; `ended` is to follow."""
        if self._trying is not None or not self._waiting or now < self._next:
            return None
        self._trying = self._waiting.popleft()
        return self._trying

    def ended(self, outcome: Outcome, now: float) -> None:
        """An attempt has ended."""
        assert self._trying is not None
        body, self._trying = self._trying, None
        self.last = outcome
        if not outcome.error:
            self.sent += 1
            self._failures = 0
        elif outcome.code in UNWANTED:
            self.refused += 1
            self._failures = 0
        else:
            self.failed += 1
            self._waiting.appendleft(body)
            self._next = now + self._pause(outcome)
            self._failures += 1

    def get_timer(self) -> float | None:
        """When the next attempt is due; None where nothing waits for it."""
        return self._next if self._waiting and self._trying is None else None

    def hurry(self) -> None:
        """Try again at once: something has changed, or time is running out."""
        self._next = 0.0

    def clear(self) -> int:
        """Drop everything that waits; how many."""
        count = len(self._waiting)
        self._waiting.clear()
        self.dropped += count
        return count

    def _pause(self, outcome: Outcome) -> float:
        longest = min(LONGEST, FIRST * 2.0 ** min(self._failures, 30))
        pause = longest * (0.5 + 0.5 * self._random())
        return max(pause, min(outcome.retry_after, RETRY_AFTER))
