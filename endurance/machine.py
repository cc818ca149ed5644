"""The machine under a run: what else it had to do, how late it was, what its sockets lost."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

from rtlib.testing.daemon import datagram_sockets

INTERVAL: Final = 1.0
BUSY: Final = 0.1
"""A share of the machine that others took, above which a second is a busy one."""
_TICK: Final = os.sysconf("SC_CLK_TCK")
_IDLE: Final = (3, 4)
"""idle and iowait of proc_stat(5), counted from 0."""


class Times(NamedTuple):
    """Seconds of all processors since the machine started."""

    all: float
    busy: float
    """Stolen by the host included."""
    own: float
    """Of this process and those that it has started."""


class Overrun(NamedTuple):
    """Datagrams that found the buffer of a socket full."""

    number: int
    first: float
    last: float
    """Seconds since the epoch: when the first and the last of them were seen to be lost."""


class Machine:
    """Looks once a second, in a thread of its own; a context manager."""

    def __init__(self) -> None:
        self.others: list[float] = []
        """Each second, the share of the machine (0 to 1) that neither we nor our processes had."""
        self.late = 0.0
        """Seconds by which this thread was called late, at most."""
        self._overruns: dict[tuple[str, int], Overrun] = {}
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)

    def __enter__(self) -> Machine:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped.set()
        self._thread.join()

    def overruns(self) -> dict[str, Overrun]:
        """What was lost at the sockets of each host."""
        found: dict[str, Overrun] = {}
        for (host, _), one in list(self._overruns.items()):
            before = found.get(host, Overrun(0, one.first, one.last))
            number = before.number + one.number
            found[host] = Overrun(number, min(before.first, one.first), max(before.last, one.last))
        return found

    def __str__(self) -> str:
        share, busy = sum(self.others) / max(1, len(self.others)), sum(each > BUSY for each in self.others)
        return (
            f"others had {share:.0%} of the machine, and more than {BUSY:.0%} in {busy} of"
            f" {len(self.others)} s; it was {self.late:.1f} s late at most"
        )

    @property
    def is_quiet(self) -> bool:
        """Whether others left the machine to us."""
        return sum(each > BUSY for each in self.others) <= len(self.others) / 20

    def _look(self) -> None:
        before, due = times(), time.monotonic() + INTERVAL
        while not self._stopped.wait(max(0.0, due - time.monotonic())):
            self.late = max(self.late, time.monotonic() - due)
            due = time.monotonic() + INTERVAL
            now = times()
            others = (now.busy - before.busy) - (now.own - before.own)
            self.others.append(max(0.0, others / max(now.all - before.all, 1 / _TICK)))
            before = now
            for host, _, inode, lost in datagram_sockets():
                if lost:
                    seen = self._overruns.setdefault((host, inode), Overrun(0, time.time(), 0.0))
                    if lost > seen.number:
                        self._overruns[host, inode] = Overrun(lost, seen.first, time.time())


def times() -> Times:
    """Now. Interrupts count as our own: they carry our datagrams."""
    words = Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]
    ticks = [int(word) / _TICK for word in words]
    everything, idle = sum(ticks), sum(ticks[number] for number in _IDLE)
    interrupts = ticks[5] + ticks[6]
    return Times(everything, everything - idle, interrupts + sum(_consumed()))


def _consumed() -> Iterator[float]:
    """Seconds of this process, of its children that have ended, and of each that runs."""
    user, system, ended_user, ended_system = os.times()[:4]
    yield user + system + ended_user + ended_system
    for file in Path("/proc/self/task").glob("*/children"):
        for child in file.read_text().split():
            try:
                fields = Path(f"/proc/{child}/stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue  # it has just ended, and is counted above
            yield (int(fields[11]) + int(fields[12])) / _TICK
