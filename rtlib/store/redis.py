"""The store in a Redis server (redis.io), as durable as SQLite if the server has `appendfsync always`.

All writes of a group (`pipeline`) are one call of a script (`lua`), done together or not at all. In the
same transaction the script keeps the number and the outcome of this client's last call. A call that is
sent again, because its answer was lost with the connection, is answered from there if it had been done,
and not done again: so a restart of the server loses nothing acknowledged and does nothing twice.
"""

from __future__ import annotations

import secrets
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any, Final, TypeVar

from twisted.internet.defer import Deferred, fail
from twisted.internet.interfaces import IReactorTime, IStreamClientEndpoint
from twisted.python.failure import Failure

from rtlib.outcome import gathered
from rtlib.store import lua, resp
from rtlib.store.interface import SLOTS, Item, Operation, Result, StoreError
from rtlib.store.merge import Entry, Merge
from rtlib.store.pipeline import Call, Job, Pipeline
from rtlib.store.resp import Reply, Request
from rtlib.store.server import DURABLE, Login, shortfall

__all__ = ["Login", "RedisStore"]

T = TypeVar("T")

LIMIT: Final = 10_000
"""Operations that may wait; about 40 MiB with messages of a common size."""
PATIENCE: Final = 30.0
"""Seconds for which the server may be away before what waits for it fails."""
SLOTS_AT_ONCE: Final = 64
"""Slots that one call goes through when all of them are asked for."""
CALLS_AT_ONCE: Final = 16


@dataclass(frozen=True, slots=True, eq=False)
class _Write(Job):
    slot: int
    words: list[bytes]


@dataclass(frozen=True, slots=True, eq=False)
class _Read(Job):
    request: Request
    decode: Callable[[Reply], Any]


class RedisStore:
    """See `rtlib.store.interface.Store`. `name` is the server's name in messages and in the log.

    `wall` gives UTC seconds. `durable` demands a server that does not lose what it acknowledges; without
    it any server will do, for what is expendable. `clustered` makes a call of its own for each slot, as a
    Redis cluster wants it. `prefix` begins all keys, so that several may share a server; all processes
    that are to see the same data have the same one.

    `watch(there)` is told when the server goes away and when it is back.

    When the server is away for longer than `patience` seconds, what waits for it fails: with
    `StoreUncertain` if it was on its way, and then nobody knows whether it was done.
    """

    def __init__(
        self,
        endpoint: IStreamClientEndpoint,
        name: str,
        reactor: IReactorTime,
        wall: Callable[[], float] = time.time,
        limit: int = LIMIT,
        *,
        prefix: str = "crs:",
        login: Login | None = None,
        durable: bool = True,
        clustered: bool = False,
        patience: float = PATIENCE,
        watch: Callable[[bool], None] = lambda _there: None,
    ) -> None:
        if "{" in prefix:
            raise ValueError(f"the prefix {prefix!r} has a brace, which marks the slot in a key")
        self._endpoint = endpoint
        self._reactor = reactor
        self._wall = wall
        self._prefix = prefix.encode()
        self._login = login or Login()
        self._required = DURABLE if durable else {}
        self._clustered = clustered
        self._client = b"last:" + secrets.token_hex(8).encode()
        self._number = 0
        self._pipeline = Pipeline(f"the Redis server {name}", reactor, self._compose, limit, patience)
        self._pipeline.watch = watch

    @property
    def waiting(self) -> int:
        """Operations accepted and not finished yet."""
        return self._pipeline.waiting

    @property
    def connected(self) -> bool:
        """The server is there and will do."""
        return self._pipeline.connected

    def start(self) -> None:
        """Begin to connect. The reactor must have been chosen by now: txredisapi imports it."""
        from rtlib.store.link import Link

        settings = tuple((b"CONFIG", b"GET", name) for name in self._required)
        greeting = self._login.requests() + settings + tuple(script.load for script in lua.SCRIPTS)
        self._pipeline.start(Link(self._endpoint, self._reactor, self._pipeline, greeting, self._unfit))

    def stop(self) -> Deferred[None]:
        """Finish what was accepted, as long as the server answers, then close the connection."""
        return self._pipeline.stop()

    def write(self, slot: int, operations: Sequence[Operation]) -> Deferred[list[Result]]:
        """Do all operations, or none, and fire when the server has them on its disk."""
        try:
            words = resp.pack(operations)
        except (TypeError, ValueError) as error:
            return fail(StoreError(f"the store refused it: {error}"))
        return self._submit(slot, _Write(max(1, len(operations)), sum(map(len, words)), slot, words))

    def get(self, slot: int, key: str) -> Deferred[bytes | None]:
        """Give a key's value."""
        now = self._wall()
        return self._ask(
            slot,
            lambda _: (b"HGET", self._base(slot) + b"values", key.encode()),
            lambda reply: resp.living(reply, now),
        )

    def scan(
        self, slot: int | None, prefix: str, after: str = "", limit: int = 1000
    ) -> Deferred[list[tuple[str, bytes]]]:
        """Give keys and values by prefix."""
        if slot is None:
            return Deferred.fromCoroutine(self._scan_all(prefix, after, limit))
        return self._scan([slot], prefix, after, limit).addCallback(lambda pages: pages[0])

    def queue(self, slot: int, queue: str, limit: int = 100, after: int = 0) -> Deferred[list[Item]]:
        """Give items of a queue."""
        return self._ask(
            slot,
            lambda now: lua.QUEUE(
                [self._base(slot)], queue.encode(), b"%d" % after, b"%d" % limit, resp.seconds(now)
            ),
            resp.items,
        )

    def queue_size(self, slot: int, queue: str) -> Deferred[tuple[int, int]]:
        """Give number and bytes of a queue's items."""
        return self._ask(
            slot, lambda now: lua.SIZE([self._base(slot)], queue.encode(), resp.seconds(now)), resp.pair
        )

    def expire(self, now_wall: float) -> Deferred[int]:
        """Free all that has expired, `lua.EXPIRED_AT_ONCE` at a time."""
        return Deferred.fromCoroutine(self._expire_all(resp.seconds(now_wall)))

    async def _scan_all(self, prefix: str, after: str, limit: int) -> list[Entry]:
        merge = Merge(range(SLOTS), after, limit)
        while wanted := merge.wanted():
            by_place: defaultdict[str, list[int]] = defaultdict(list)
            for slot, place in wanted.items():
                by_place[place].append(slot)
            parts = [(place, part) for place, slots in by_place.items() for part in self._parts(slots)]
            for some in _portions(parts, CALLS_AT_ONCE):
                answers = [self._scan(part, prefix, place, merge.count) for place, part in some]
                for (_, part), pages in zip(some, await gathered(answers), strict=True):
                    for slot, page in zip(part, pages, strict=True):
                        merge.add(slot, page)
            merge.count *= 2
        return merge.result()

    async def _expire_all(self, now: bytes) -> int:
        freed = 0
        parts = list(self._parts(range(SLOTS)))
        while parts:
            some, parts = parts[:CALLS_AT_ONCE], parts[CALLS_AT_ONCE:]
            answers = await gathered([self._expire(part, now) for part in some])
            freed += sum(count for count, _ in answers)
            parts += [part for part, (_, more) in zip(some, answers, strict=True) if more]
        return freed

    def _scan(self, slots: Sequence[int], prefix: str, after: str, limit: int) -> Deferred[list[list[Entry]]]:
        """Read as many keys of each slot, which are of one node."""
        bases = [self._base(slot) for slot in slots]
        return self._ask(
            slots[0],
            lambda now: lua.SCAN(bases, *resp.bounds(prefix, after), b"%d" % limit, resp.seconds(now)),
            resp.pages,
        )

    def _expire(self, slots: Sequence[int], now: bytes) -> Deferred[tuple[int, int]]:
        request = lua.EXPIRE([self._base(slot) for slot in slots], now, b"%d" % lua.EXPIRED_AT_ONCE)
        return self._ask(slots[0], lambda _now: request, resp.pair)

    def _parts(self, slots: Sequence[int]) -> Iterator[Sequence[int]]:
        """Share slots out to calls."""
        return _portions(slots, 1 if self._clustered else SLOTS_AT_ONCE)

    def _ask(
        self, slot: int, request: Callable[[float], Request], decode: Callable[[Reply], T]
    ) -> Deferred[T]:
        """Read something, as of now."""
        try:
            words = request(self._wall())
        except ValueError as error:
            return fail(StoreError(f"the store cannot look for it: {error}"))
        return self._submit(slot, _Read(1, sum(map(len, words)), words, decode))

    def _submit(self, slot: int, job: _Write | _Read) -> Deferred[Any]:
        if not 0 <= slot < SLOTS:
            return fail(StoreError(f"there is no slot {slot}: slots are 0 to {SLOTS - 1}"))
        return self._pipeline.submit(job)

    def _base(self, slot: int) -> bytes:
        return b"%b{%d}:" % (self._prefix, slot)

    def _compose(self, jobs: list[_Write | _Read]) -> list[Call]:
        """Make the calls of a group: its writes first, so that the reads see them."""
        self._number += 1
        now = resp.seconds(self._wall())
        by_call: defaultdict[int, list[_Write]] = defaultdict(list)
        reads: list[Call] = []
        for job in jobs:
            if isinstance(job, _Write):
                by_call[job.slot if self._clustered else 0].append(job)
            else:
                reads.append(_read_call(job))
        return [self._write_call(writes, now) for writes in by_call.values()] + reads

    def _write_call(self, writes: list[_Write], now: bytes) -> Call:
        owner = self._base(writes[0].slot) if self._clustered else self._prefix
        keys = [owner + self._client, *(self._base(write.slot) for write in writes)]
        words = chain.from_iterable(write.words for write in writes)
        request = lua.WRITE(keys, b"%d" % self._number, now, *words)
        return Call(request, _write_outcomes, writes, changes=True)

    def _unfit(self, replies: list[Reply]) -> str:
        """Say what is wrong with the server, by its replies to the greeting; nothing if it will do."""
        for reply in replies:
            if isinstance(reply, Exception):
                return f"it refused the greeting: {reply}"
        return shortfall(self._required, [reply for reply in replies if isinstance(reply, list)])


def _read_call(read: _Read) -> Call:
    return Call(read.request, lambda reply: [read.decode(reply)], [read], changes=False)


def _write_outcomes(reply: Reply) -> list[list[Result] | Failure]:
    return [_outcome(words) for words in resp.text(reply).split(b";")]


def _outcome(words: bytes) -> list[Result] | Failure:
    results = resp.results(words)
    if results is None:
        return Failure(StoreError(f"the store refused it: a counter cannot go beyond {resp.COUNTER_LIMIT}"))
    return results


def _portions(things: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    return (things[start : start + size] for start in range(0, len(things), size))
