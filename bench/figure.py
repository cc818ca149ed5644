"""What a benchmark yields: one figure, with what it is compared to."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class Figure:
    """One measurement. `value` and `peer` are in `unit`; `target` is the largest ratio that is met."""

    name: str
    value: float
    unit: str
    peer: float | None = None
    peer_name: str = ""
    target: float | None = None

    @property
    def ratio(self) -> float | None:
        """Ours over the peer's."""
        return self.value / self.peer if self.peer else None

    @property
    def verdict(self) -> str:
        """`met`, `missed`, or nothing where no target is set."""
        if self.ratio is None or self.target is None:
            return ""
        return "met" if self.ratio <= self.target else "missed"

    def row(self) -> tuple[str, str, str, str, str, str]:
        """Name, ours, peer, ratio, target, verdict."""
        return (
            self.name,
            f"{self.value:.3g} {self.unit}",
            f"{self.peer:.3g} {self.peer_name}" if self.peer else "",
            f"{self.ratio:.2f}" if self.ratio else "",
            f"≤ {self.target:.2f}" if self.target else "",
            self.verdict,
        )


HEADINGS = ("what", "ours", "peer", "ratio", "target", "verdict")


def table(figures: Iterable[Figure]) -> str:
    """A Markdown table of the figures."""
    rows = [HEADINGS, *(figure.row() for figure in figures)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(HEADINGS))]
    lines = [
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |"
        for row in rows
    ]
    lines.insert(1, "|" + "|".join("-" * (width + 2) for width in widths) + "|")
    return "\n".join(lines)
