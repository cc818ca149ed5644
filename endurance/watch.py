"""Looks at a running server from outside: memory, descriptors, threads, and what its metrics say."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from crs.client.testing import CrsServer

PAGE: Final = os.sysconf("SC_PAGE_SIZE")

GAUGES: Final = (
    "connections",
    "attached",
    "suspended",
    "sessions",
    "relays",
    "asks_pending",
    "store_waiting",
    "timers",
)
"""The server's gauges: each is 0 once nobody is there, but for `timers`."""


@dataclass(frozen=True)
class Sample:
    """A server at one moment."""

    when: float
    """Seconds of a monotonic clock."""
    memory: float
    """Resident bytes."""
    descriptors: int
    threads: int
    cpu: float
    """Seconds of all its threads so far."""
    gauges: dict[str, int]


def sample(server: CrsServer) -> Sample:
    """The server now (proc(5)). Blocks."""
    metrics = server.metrics()
    process = Path(f"/proc/{server.daemon.pid}")
    fields = (process / "stat").read_text().rpartition(")")[2].split()
    return Sample(
        time.monotonic(),
        int((process / "statm").read_text().split()[1]) * PAGE,
        len(list((process / "fd").iterdir())),
        int(fields[17]),
        (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK"),
        {gauge: _sum(metrics, f"crs_{gauge}") for gauge in GAUGES},
    )


def growth(samples: Sequence[Sample]) -> float:
    """Bytes per second by which memory grows: the slope of the line through all samples (least squares)."""
    times = [each.when for each in samples]
    sizes = [each.memory for each in samples]
    middle, mean = sum(times) / len(times), sum(sizes) / len(sizes)
    spread = sum((when - middle) ** 2 for when in times)
    return sum((when - middle) * (size - mean) for when, size in zip(times, sizes, strict=True)) / spread


def _sum(metrics: dict[str, float], name: str) -> int:
    """The metric of this name, that of all its labels together; 0 while no label has been seen."""
    return int(sum(value for key, value in metrics.items() if key.partition("{")[0] == name))
