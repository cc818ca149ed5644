"""Keys of many slots in one order, asking each slot for no more than it takes."""

from __future__ import annotations

from collections.abc import Iterable

Entry = tuple[str, bytes]


class Merge:
    """Finds the first `limit` keys behind `after` of all slots; the caller reads what is `wanted`."""

    def __init__(self, slots: Iterable[int], after: str, limit: int) -> None:
        self._limit = limit
        self._found: list[Entry] = []
        self._rest = dict.fromkeys(slots, after)
        self.count = 2 * limit // max(1, len(self._rest)) + 1
        """How many keys to read of each slot that is wanted now."""

    def wanted(self) -> dict[int, str]:
        """The slots of which more keys must be known, with the key to read on behind."""
        self._found.sort()
        if len(self._found) < self._limit:
            return dict(self._rest)
        horizon = self._found[self._limit - 1][0] if self._limit else ""
        return {slot: last for slot, last in self._rest.items() if last < horizon}

    def add(self, slot: int, page: list[Entry]) -> None:
        """Take what was read of a slot: `count` entries, or fewer when that is all."""
        self._found += page
        if len(page) < self.count:
            del self._rest[slot]
        else:
            self._rest[slot] = page[-1][0]

    def result(self) -> list[Entry]:
        """The keys and values, when nothing is wanted any more."""
        return self._found[: self._limit]
