"""Which calls are up, as far as a proxy can know: those with a 2xx and without a BYE. Sans-IO."""

from __future__ import annotations

from typing import Final

MOST: Final = 100_000
LONGEST: Final = 86400.0
"""Seconds after which a call is taken for ended whose BYE never came this way."""


class Calls:
    """Call-IDs of answered calls, oldest first."""

    def __init__(self, most: int = MOST) -> None:
        self._most = most
        self._since: dict[bytes, float] = {}

    def __len__(self) -> int:
        return len(self._since)

    def answered(self, call_id: bytes, now: float) -> None:
        """A call is up; the oldest is forgotten where there are too many."""
        self._since.setdefault(call_id, now)
        if len(self._since) > self._most:
            del self._since[next(iter(self._since))]

    def ended(self, call_id: bytes) -> None:
        """A BYE was answered."""
        self._since.pop(call_id, None)

    def count(self, now: float) -> int:
        """How many are up, without those that are too old to be true."""
        while self._since:
            call_id, since = next(iter(self._since.items()))
            if now - since < LONGEST:
                break
            del self._since[call_id]
        return len(self._since)
