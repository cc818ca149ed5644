"""What data is kept in: one SQLite file, or the Redis services redis_high and redis_low (manual 5.4, 6.3)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, Final, Protocol

from twisted.logger import Logger

from rtlib.outcome import gathered
from rtlib.store import Store
from rtlib.store.redis import RedisStore
from rtlib.store.server import Login, Place
from rtlib.store.sqlite import SqliteStore

log = Logger()

PATIENCE: Final = 5.0
"""Seconds for which Redis may be away before clients are told so; a restart of it takes less."""

Notify = Callable[[str, str], None]


class CountingStore(Store, Protocol):
    """A store that tells how much waits for it."""

    @property
    def waiting(self) -> int:
        """Operations accepted and not finished yet."""


class Stores:
    """What the server keeps its data in, started and stopped together."""

    def __init__(self, high: CountingStore, low: CountingStore | None = None) -> None:
        """`low` is for what is expendable; without it everything is in `high`."""
        self.high = high
        """For what must not be lost."""
        self.low = low or high
        """For what is expendable."""
        self._all = [high] if low is None else [high, low]

    @property
    def waiting(self) -> int:
        """Operations accepted and not finished yet."""
        return sum(store.waiting for store in self._all)

    @property
    def connected(self) -> dict[str, int]:
        """Whether each Redis server is there, by the name of its service."""
        redis = zip(("redis_high", "redis_low"), self._all, strict=False)
        return {name: int(store.connected) for name, store in redis if isinstance(store, RedisStore)}

    @property
    def failed(self) -> bool:
        """Whether the database cannot be written at present."""
        return any(store.failed for store in self._all if isinstance(store, SqliteStore))

    def start(self) -> None:
        """Open all. Raises StoreError if that cannot be."""
        for store in self._all:
            store.start()

    async def stop(self) -> None:
        """Finish what was accepted, then close."""
        await gathered([store.stop() for store in self._all])

    async def expire(self, now_wall: float) -> int:
        """Free some of what has expired. Raises StoreError."""
        return sum([await store.expire(now_wall) for store in self._all])


def sqlite(path: Path, reactor: Any, notify: Notify) -> Stores:
    """Everything in one file; `notify` is told when it cannot be written, and when it can again."""
    return Stores(SqliteStore(path, reactor, watch=partial(_written, notify)))


def redis(servers: Mapping[str, tuple[Place, Login]], reactor: Any, notify: Notify) -> Stores:
    """In Redis servers by the names of their services; `notify(service, active or inactive)` is told."""

    def opened(name: str, *, durable: bool) -> RedisStore | None:
        if name not in servers:
            return None
        place, login = servers[name]
        return RedisStore(
            place.endpoint(reactor),
            f"{name} at {place}",
            reactor,
            login=login,
            durable=durable,
            patience=PATIENCE,
            watch=partial(changed, notify, name),
        )

    high = opened("redis_high", durable=True)
    assert high is not None
    return Stores(high, opened("redis_low", durable=False))


def _written(notify: Notify, problem: str) -> None:
    if problem:
        log.warn("{problem}", problem=problem)
    else:
        log.info("the store can be written again")
    notify("crs", f"store failed: {problem}" if problem else "store works again")


def changed(notify: Notify, name: str, there: bool) -> None:
    """Tell that a service that we need has come or gone."""
    notify(name, "active" if there else "inactive")
