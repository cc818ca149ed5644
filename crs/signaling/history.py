"""Calls that never began because their callee could not be reached, kept for `show session`."""

from __future__ import annotations

from collections import deque
from typing import Final, NamedTuple

from crs.identity import Identity

LISTED: Final = 60.0
LIMIT: Final = 1000


class Attempt(NamedTuple):
    """One of them; `state` is `responder not found` or `responder not connected`."""

    caller: Identity
    callee: Identity
    state: str
    when: float


class History:
    """The last attempts, each for 60 seconds, at most 1,000."""

    def __init__(self) -> None:
        self._attempts: deque[Attempt] = deque(maxlen=LIMIT)

    def add(self, attempt: Attempt, now: float) -> None:
        """Keep one more."""
        self._prune(now)
        self._attempts.append(attempt)

    def recent(self, now: float) -> list[Attempt]:
        """Those not older than 60 seconds, the oldest first."""
        self._prune(now)
        return list(self._attempts)

    def _prune(self, now: float) -> None:
        while self._attempts and self._attempts[0].when <= now - LISTED:
            self._attempts.popleft()
