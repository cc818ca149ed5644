"""Many clients for a long time: they call, post, vanish and come back; in the end nothing of it may be left.

    python -m endurance.soak [MINUTES [CLIENTS]]

Media goes through the relay in a share of the calls. Prints a line a minute and a table at the end; exit
code 1 if a relay, session, timer, descriptor or message is lost or left over, if the server finds fault with
a client's message, or if memory grows.
"""

from __future__ import annotations

import random
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.threads import deferToThread
from twisted.python.failure import Failure

from crs.client.testing import CrsServer
from crs.signaling.message import ErrorCode
from endurance.ledger import Ledger
from endurance.phone import Sender, pause
from endurance.report import Report, clock, conclude
from endurance.subscriber import Subscriber
from endurance.watch import Sample, growth, sample
from rtlib.testing.loop import installed_reactor, run

SETTINGS: Final = (
    "limit requests-per-address 1000000",
    "limit handshakes-per-address 1000",
    "limit mailbox-items 10000",
)
ARRIVALS_AT_ONCE: Final = 20
SAMPLE: Final = 10.0
"""Seconds between two looks at the server."""
REPORT: Final = 6
"""Looks between two lines of the report."""
WARM_UP: Final = 1 / 3
"""Share of the time in which memory may grow: caches fill, the allocator finds its level."""
MOST_GROWTH: Final = 0.02
"""By which share of itself memory may grow in the rest of the time, by the line through all samples."""
LEAST_HOURS: Final = 0.25
"""In a shorter time what grows cannot be told from what is still filling."""
LEAVING: Final = 150.0
"""Seconds for what clients leave behind: they may resume for 30 s, ended calls are shown for 60 s."""
FEW: Final = 12
"""Timers and threads more than at the start that are no leak: the reactor's pool has up to 10 threads."""


class Soak:
    """One server and all its subscribers."""

    def __init__(self, server: CrsServer, clients: int, dice: random.Random) -> None:
        """`server` runs."""
        self._server = server
        self._reactor: Any = installed_reactor()
        self.ledger = Ledger()
        self.sender = Sender(self._reactor, self.ledger, dice)
        self.done: Counter[str] = Counter()
        uris = [f"+46{number:06}" for number in range(clients)]
        self._subscribers = [
            Subscriber(self._reactor, server, uri, uris, sender=self.sender, done=self.done, dice=dice)
            for uri in uris
        ]
        self._samples: list[Sample] = []
        self._problems: list[str] = []

    async def run(self, seconds: float, report: Report) -> list[str]:
        """Let them live for so long; what is wrong afterwards."""
        before = await self._look()
        report(f"alone: {_line(before)}")
        await self._arrive()
        report(f"all attached: {_line(await self._look())}")
        living = [Deferred.fromCoroutine(each.live()) for each in self._subscribers]
        for life in living:
            life.addErrback(self._failed)
        await self._watch(seconds, report)
        for subscriber in self._subscribers:
            subscriber.stop()
        await gatherResults(living)
        await self._until(lambda: not self.ledger.under_way, 60)
        self._problems += self.ledger.problems()
        self._problems += _faults(self.done)
        await gatherResults([Deferred.fromCoroutine(each.leave()) for each in self._subscribers])
        await self._check(before, report)
        return self._problems

    def _failed(self, failure: Failure) -> None:
        """A client has come to an unexpected end, which is not the server's fault but must be mended."""
        self._problems.append(f"a client failed: {failure.getBriefTraceback()}")

    async def _arrive(self) -> None:
        waiting = iter(self._subscribers)

        async def arrive() -> None:
            for subscriber in waiting:
                await subscriber.arrive()

        await gatherResults([Deferred.fromCoroutine(arrive()) for _ in range(ARRIVALS_AT_ONCE)])

    async def _watch(self, seconds: float, report: Report) -> None:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            await pause(self._reactor, SAMPLE)
            self._samples.append(await self._look())
            if len(self._samples) % REPORT == 0:
                report(_line(self._samples[-1]))

    async def _check(self, before: Sample, report: Report) -> None:
        """What is left once everybody has gone."""
        after = await self._look()
        deadline = time.monotonic() + LEAVING
        while (left := list(_left_over(before, after))) and time.monotonic() < deadline:
            await pause(self._reactor, 1)
            after = await self._look()
        report(f"alone again: {_line(after)}")
        self._problems += left
        steady = self._samples[int(len(self._samples) * WARM_UP) :]
        if len(steady) > 2:
            hours = (steady[-1].when - steady[0].when) / 3600
            slope = growth(steady)
            share = slope * hours * 3600 / steady[0].memory
            report(
                f"memory grows by {slope * 3600 / 2**20:+.2f} MiB per hour, {share:+.2%} in the last"
                f" {hours * 60:.0f} minutes"
            )
            if share > MOST_GROWTH and hours >= LEAST_HOURS:
                self._problems.append(f"memory has grown by {share:.1%} in {hours * 60:.0f} minutes")

    async def _until(self, predicate: Callable[[], object], seconds: float) -> None:
        deadline = time.monotonic() + seconds
        while not predicate() and time.monotonic() < deadline:
            await pause(self._reactor, 0.2)

    async def _look(self) -> Sample:
        return await deferToThread(sample, self._server)


def _faults(done: Counter[str]) -> Iterator[str]:
    """Refusals that blame the client, which no correct one ever gets."""
    for what, number in done.items():
        if what.endswith(f": {ErrorCode.bad_message}"):
            yield f"{number} {what}"


def _left_over(before: Sample, after: Sample) -> Iterator[str]:
    for name, value in after.gauges.items():
        if name == "timers":
            if value > before.gauges[name] + FEW:
                yield f"{value} timers are left, {before.gauges[name]} were there at first"
        elif value:
            yield f"{name} is {value} with nobody there"
    if after.descriptors > before.descriptors:
        yield f"{after.descriptors} descriptors are left, {before.descriptors} were there at first"
    if after.threads > before.threads + FEW:
        yield f"{after.threads} threads are left, {before.threads} were there at first"


def _line(each: Sample) -> str:
    gauges = ", ".join(f"{name} {value}" for name, value in each.gauges.items())
    return (
        f"{each.memory / 2**20:.1f} MiB, {each.descriptors} descriptors, {each.threads} threads,"
        f" {each.cpu:.0f} s CPU; {gauges}"
    )


def soak(home: Path, seconds: float, clients: int, report: Report, seed: int) -> list[str]:
    """Run one and give what is wrong, if anything. Blocks."""
    with CrsServer(home, SETTINGS) as server:
        test = Soak(server, clients, random.Random(seed))
        problems = run(lambda: test.run(seconds, report), timeout=2 * seconds + 900, clean=False)
    report(f"{len(test.ledger)} messages acknowledged, {test.ledger.repeated} came again before confirmed")
    for what, number in sorted(test.done.items()):
        report(f"{number:8} {what}")
    return problems


def main() -> None:
    """Run and report; exit code 1 if something is wrong."""
    from twisted.internet import asyncioreactor

    asyncioreactor.install()
    minutes = float(sys.argv[1]) if sys.argv[1:] else 30.0
    clients = int(sys.argv[2]) if sys.argv[2:] else 2000
    seed = random.randrange(2**32)
    print(f"{clients} clients, {minutes:g} minutes, seed {seed}")
    with TemporaryDirectory() as folder:
        problems = soak(Path(folder) / "home", minutes * 60, clients, clock(), seed)
    conclude(problems)


if __name__ == "__main__":
    main()
