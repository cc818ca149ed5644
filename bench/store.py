"""The durable store: CPU and rate of writes, Redis against SQLite.

`python -m bench.store` takes about 30 s. A write appends 200 bytes to a queue of one of 1,024 slots and is
waited for until it is on the disk. CPU is user and system time of the writing process, threads included,
divided by the writes; that of redis-server is given apart. Both keep their files in one file system.
"""

from __future__ import annotations

import os
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

from bench.figure import Figure, table
from rtlib.store import SLOTS, Append, Store
from rtlib.testing.redis import RedisServer

WINDOWS = {1: 1_000, 256: 20_000}
"""Writes that wait at a time, and how many are made in all."""
RUNS = 3
SIZE = 200
TARGET = 1.0
"""Of SQLite's CPU in the writing process, when many writes wait."""


class Cost(NamedTuple):
    """Microseconds of CPU per write, here and in the server, and microseconds from write to write."""

    client: float
    server: float
    wall: float


def measure() -> Iterator[Figure]:
    """Run both, in turn."""
    for window in WINDOWS:
        runs = [(_run("redis", window), _run("sqlite", window)) for _ in range(RUNS)]
        redis, sqlite = (_median([run[place] for run in runs]) for place in (0, 1))
        name, target = f"{window} waiting", TARGET if window > 1 else None
        yield Figure(f"CPU per write, {name}", redis.client, "us", sqlite.client, "us (SQLite)", target)
        both = redis.client + redis.server
        yield Figure(f"CPU per write with redis-server, {name}", both, "us", sqlite.client, "us (SQLite)")
        yield Figure(f"time per write, {name}", redis.wall, "us", sqlite.wall, "us (SQLite)")


def _median(costs: list[Cost]) -> Cost:
    return Cost(*map(statistics.median, zip(*costs, strict=True)))


def _run(kind: str, window: int) -> Cost:
    """Write in a process of its own."""
    command = [sys.executable, "-m", "bench.store", "write", kind, str(window)]
    root = Path(__file__).parent.parent
    output = subprocess.run(command, cwd=root, stdout=subprocess.PIPE, check=True, text=True).stdout
    return Cost(*map(float, output.split()))


def write(kind: str, window: int) -> Cost:
    """Make the writes, so many at a time."""
    from twisted.internet import asyncioreactor

    asyncioreactor.install()
    from twisted.internet import reactor as installed
    from twisted.internet.defer import Deferred, gatherResults

    reactor: Any = installed
    left = iter(range(WINDOWS[window]))

    async def writer(store: Store) -> None:
        for number in left:
            await store.write(number * 7 % SLOTS, [Append("mailbox", f"message {number}", bytes(SIZE))])

    async def main(store: Store, server: Callable[[], float]) -> None:
        await store.get(0, "is it there?")
        start = (_cpu(), server(), time.perf_counter())
        await gatherResults([Deferred.fromCoroutine(writer(store)) for _ in range(window)])
        end = (_cpu(), server(), time.perf_counter())
        costs.append(Cost(*((b - a) / WINDOWS[window] * 1e6 for a, b in zip(start, end, strict=True))))
        await store.stop()

    costs: list[Cost] = []
    with STORES[kind](reactor) as (store, server):
        store.start()
        running = Deferred.fromCoroutine(main(store, server))
        running.addErrback(lambda failure: failure.printTraceback())
        running.addBoth(lambda _: reactor.stop())
        reactor.run()
    return costs[0]


Opened = Iterator[tuple[Store, Callable[[], float]]]


@contextmanager
def _redis(reactor: Any) -> Opened:
    from rtlib.store.redis import RedisStore

    with RedisServer() as server:
        yield RedisStore(server.endpoint(reactor), "of the benchmark", reactor), lambda: _cpu_of(server.pid)


@contextmanager
def _sqlite(reactor: Any) -> Opened:
    from rtlib.store.sqlite import SqliteStore

    with TemporaryDirectory() as directory:
        yield SqliteStore(Path(directory) / "store.db", reactor), lambda: 0.0


STORES: dict[str, Callable[[Any], AbstractContextManager[tuple[Store, Callable[[], float]]]]] = {
    "redis": _redis,
    "sqlite": _sqlite,
}


def _cpu() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def _cpu_of(pid: int) -> float:
    """User and system seconds of a process (proc(5))."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def main() -> None:
    """Measure and print, or be the writer of a measurement."""
    if sys.argv[1:2] == ["write"]:
        print(*write(sys.argv[2], int(sys.argv[3])))
        return
    figures = list(measure())
    for figure in figures:
        print(f"store.{figure.name.replace(' ', '_')} {figure.value:.4g} {figure.unit}")
    print(f"\n{table(figures)}")


if __name__ == "__main__":
    main()
