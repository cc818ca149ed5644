"""What a long run says from the command line, and how it ends."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable
from typing import NoReturn, TypeAlias

Report: TypeAlias = Callable[[str], None]


def clock() -> Report:
    """Prints lines, each with the minutes since this was called."""
    started = time.monotonic()

    def report(text: str) -> None:
        print(f"{(time.monotonic() - started) / 60:6.1f} min  {text}", flush=True)

    return report


def conclude(problems: Iterable[str]) -> NoReturn:
    """Print what is wrong and end the program: exit code 1 if anything is."""
    told = [f"WRONG: {problem}" for problem in problems]
    for line in told:
        print(line)
    sys.exit(1 if told else 0)
