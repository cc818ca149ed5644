"""Calendar months, in UTC: what updates are for."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Final, NamedTuple

_TEXT: Final = re.compile(r"([0-9]{4})-(0[1-9]|1[0-2])", re.ASCII)
FIRST_YEAR: Final = 1970


class Month(NamedTuple):
    """One month; months compare by time."""

    year: int
    number: int
    """1 to 12."""

    def __str__(self) -> str:
        return f"{self.year:04}-{self.number:02}"

    @classmethod
    def parse(cls, text: str) -> Month:
        """`2026-09`. Raises ValueError."""
        found = _TEXT.fullmatch(text)
        if found is None or int(found[1]) < FIRST_YEAR:
            raise ValueError(f"{text!r} is not a month like 2026-09")
        return cls(int(found[1]), int(found[2]))

    @classmethod
    def of(cls, when: datetime) -> Month:
        """The month of an aware time."""
        utc = when.astimezone(UTC)
        return cls(utc.year, utc.month)

    @property
    def next(self) -> Month:
        """The month after this one."""
        return Month(self.year + 1, 1) if self.number == 12 else Month(self.year, self.number + 1)
