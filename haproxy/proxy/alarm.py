"""What the proxy core's timer wheel calls back."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, TypeAlias

from rtlib.wheel import Entry


class Alarm(Protocol):
    """Something that waits, and gives up at some time."""

    def expired(self, now: float) -> None:
        """The time is over."""


Timer: TypeAlias = "Entry[Alarm]"
Schedule: TypeAlias = Callable[[Alarm, float], Timer]
