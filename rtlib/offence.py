"""Counting of bad input, with logging limited to once in a while for each source and kind."""

from __future__ import annotations

from collections import Counter, OrderedDict
from typing import Final

LINES: Final = 20
"""Of one kind in a second: whoever forges many sources must neither fill the disk nor cost us a line each."""


class OffenceLog:
    """Says which offences to log, so that a hostile peer cannot fill the disk; counts them all.

    `limit`: seconds between two log lines of the same kind and source. `sources`: how many (kind, source)
    pairs are remembered; the longest silent ones are forgotten first, so memory is bounded.
    """

    def __init__(self, limit: float = 60.0, sources: int = 1024) -> None:
        self._limit = limit
        self._sources = sources
        self._logged: OrderedDict[tuple[str, str], float] = OrderedDict()
        self.totals: Counter[str] = Counter()
        """Offences by kind since start, logged or not."""
        self.unlogged = 0
        """Those of new sources that were not logged because there were too many at a time."""
        self._lines: Counter[str] = Counter()
        self._second = 0.0

    def count(self, kind: str, source: str, now: float) -> bool:
        """Count one offence; True if it should be logged now. `source` is best an address without its
        port.
        """
        self.totals[kind] += 1
        key = (kind, source)
        last = self._logged.get(key)
        if last is not None and now - last < self._limit:
            self._logged.move_to_end(key)
            return False
        if not self._room(kind, now):
            self.unlogged += 1
            return False
        self._logged[key] = now
        self._logged.move_to_end(key)
        if len(self._logged) > self._sources:
            self._logged.popitem(last=False)
        return True

    def _room(self, kind: str, now: float) -> bool:
        """Take one of the lines of this second."""
        if now - self._second >= 1.0:
            self._second = now
            self._lines.clear()
        self._lines[kind] += 1
        return self._lines[kind] <= LINES
