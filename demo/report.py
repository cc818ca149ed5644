"""What the demonstration prints: chapters, steps with a verdict and their time, and the summary."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final, TextIO

from twisted.internet.defer import CancelledError

WIDTH: Final = 96
"""Columns; longer text is wrapped, tables are not."""

_INDENT: Final = " " * 17


class NotHeld(Exception):
    """A step did not do what it promised; the text says what happened instead."""


class Skipped(Exception):
    """The rest of a chapter cannot be tried, because the step just reported did not hold."""


@dataclass
class Step:
    """One promise: its text, what was seen, and whether it held."""

    text: str
    held: bool = False
    seconds: float = 0.0
    notes: list[str] = field(default_factory=list)

    def note(self, text: str) -> None:
        """Add a line to print below the step, as it is."""
        self.notes.extend(text.splitlines())


@dataclass(frozen=True)
class Traffic:
    """Media of one direction, for the summary."""

    call: str
    direction: str
    sent: int
    received: int
    tone: float
    """Share of the received sound that is the sender's tone, 0 to 1."""

    @property
    def held(self) -> bool:
        """Everything arrived (but for the last packets on their way at the hang-up), as it was sent."""
        return self.received > 0 and self.received >= self.sent - 5 and self.tone > 0.9


class Report:
    """Prints as things happen; `finish` prints the summary and tells whether everything held."""

    def __init__(self, out: TextIO, clock: Callable[[], float]) -> None:
        """`clock` gives monotonic seconds."""
        self._out = out
        self._clock = clock
        self._begin = clock()
        self._chapters = 0
        self._steps: list[Step] = []
        self._traffic: list[Traffic] = []
        self._times: list[tuple[str, str]] = []

    def title(self, title: str, text: str) -> None:
        """Print the heading of the whole."""
        self._print("", title, "=" * len(title), "")
        self._paragraph(text)

    def chapter(self, title: str, text: str) -> None:
        """Begin a chapter."""
        self._chapters += 1
        heading = f"{self._chapters}. {title}"
        self._print("", heading, "-" * len(heading), "")
        self._paragraph(text)
        self._print("")

    @contextmanager
    def step(self, text: str) -> Iterator[Step]:
        """Do what `text` says inside the block. Raises Skipped when the block raises."""
        step, begin = Step(text), self._clock()
        self._steps.append(step)
        try:
            yield step
            step.held = True
        except CancelledError:
            step.note("interrupted")
            raise
        except Exception as error:
            step.note(f"{'' if isinstance(error, NotHeld) else type(error).__name__ + ': '}{error}")
            raise Skipped(text) from error
        finally:
            step.seconds = self._clock() - begin
            self._show(step)

    def traffic(self, row: Traffic) -> None:
        """Remember a row for the summary."""
        self._traffic.append(row)

    def time(self, what: str, seconds: float) -> str:
        """Remember a duration for the summary; it as text."""
        text = f"{1000 * seconds:.0f} ms"
        self._times.append((what, text))
        return text

    def finish(self) -> bool:
        """Print the summary; True when every step and every stream of media held."""
        self._print("", "Summary", "-------", "")
        if self._traffic:
            self._print(*table(_TRAFFIC_HEADER, [_row(row) for row in self._traffic]), "")
        if self._times:
            self._print(*table(("measured", "time"), self._times), "")
        for step in self._steps:
            if not step.held:
                self._print(f"FAILED: {step.text}", *(f"        {note}" for note in step.notes))
        held = sum(step.held for step in self._steps)
        seconds = self._clock() - self._begin
        self._print(f"{held} of {len(self._steps)} steps held, in {seconds:.1f} seconds.")
        return held == len(self._steps) > 0 and all(row.held for row in self._traffic)

    def _show(self, step: Step) -> None:
        lead = f"  {'ok' if step.held else 'FAILED':<7}{step.seconds:4.1f} s"
        lines = textwrap.wrap(step.text, WIDTH - len(_INDENT)) or [""]
        self._print(f"{lead:<{len(_INDENT)}}{lines[0]}", *(_INDENT + line for line in lines[1:]))
        if step.notes:
            self._print(*(_INDENT + note for note in step.notes), "")

    def _paragraph(self, text: str) -> None:
        self._print(*textwrap.wrap(text, WIDTH))

    def _print(self, *lines: str) -> None:
        self._out.write("".join(line.rstrip() + "\n" for line in lines))
        self._out.flush()


_TRAFFIC_HEADER: Final = ("call", "media", "sent", "received", "tone heard", "verdict")


def _row(row: Traffic) -> tuple[str, ...]:
    verdict = "ok" if row.held else "FAILED"
    return row.call, row.direction, f"{row.sent}", f"{row.received}", f"{row.tone:.0%}", verdict


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Lines of a table: columns as wide as their longest entry, numbers to the right."""
    widths = [max(len(row[column]) for row in [header, *rows]) for column in range(len(header))]
    right = [all(row[column][:1].isdigit() for row in rows) for column in range(len(header))]

    def line(row: Sequence[str]) -> str:
        cells = zip(row, widths, right, strict=True)
        return "  ".join(cell.rjust(width) if number else cell.ljust(width) for cell, width, number in cells)

    return [line(header), "  ".join("-" * width for width in widths), *map(line, rows)]
