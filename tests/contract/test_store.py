"""What every store must do. Another backend is one more row of `BACKENDS`: how to make one and to reopen
it.
"""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import pytest
from twisted.internet.defer import gatherResults

from rtlib.store import (
    SLOTS,
    TOMBSTONE_LIFETIME,
    Append,
    Delete,
    Increment,
    Item,
    Put,
    Remove,
    Store,
    StoreError,
    StoreFull,
    slot_of,
)
from rtlib.store.redis import RedisStore
from rtlib.store.sqlite import SqliteStore
from rtlib.testing.daemon import free_port
from rtlib.testing.loop import installed_reactor, run
from rtlib.testing.redis import RedisServer

T = TypeVar("T")
Body = Callable[["Bench"], Awaitable[T]]


class Bench:
    """A store and the clock that it goes by."""

    def __init__(self, make: Callable[[Bench], Store]) -> None:
        self.now = 1_000_000.0
        self._make = make
        self.store = make(self)

    def wall(self) -> float:
        return self.now

    async def reopen(self) -> None:
        await self.store.stop()
        self.store = self._make(self)
        self.store.start()


Make = Callable[["Bench"], Store]


def sqlite(path: Path, _request: pytest.FixtureRequest) -> Make:
    return lambda bench: SqliteStore(path / "store.db", installed_reactor(), bench.wall, limit=5000)


def redis(path: Path, request: pytest.FixtureRequest) -> Make:
    server: RedisServer = request.getfixturevalue("redis_server")
    return redis_store(server, path)


def redis_cluster(path: Path, request: pytest.FixtureRequest) -> Make:
    server: RedisServer = request.getfixturevalue("redis_cluster_server")
    return redis_store(server, path, clustered=True)


def redis_store(server: RedisServer, path: Path, *, clustered: bool = False) -> Make:
    reactor = installed_reactor()
    endpoint, prefix = server.endpoint(reactor), f"{path.name}:"
    return lambda bench: RedisStore(
        endpoint, "redis_high", reactor, bench.wall, 5000, prefix=prefix, clustered=clustered
    )


@pytest.fixture(scope="module")
def redis_server() -> Iterator[RedisServer]:
    with RedisServer() as server:
        yield server


@pytest.fixture(scope="module")
def redis_cluster_server() -> Iterator[RedisServer]:
    """A cluster of one node, which refuses what a cluster of many would: a call that is not of one slot."""
    with RedisServer(cluster_enabled="yes", cluster_port=str(free_port()), bind="127.0.0.1") as server:
        server.ask("CLUSTER", "ADDSLOTSRANGE", "0", "16383")
        server.wait_until(lambda: b"cluster_state:ok" in server.ask("CLUSTER", "INFO"), what="the cluster")
        yield server


BACKENDS = [
    pytest.param(sqlite),
    pytest.param(redis, marks=pytest.mark.peer("redis-server")),
    pytest.param(redis_cluster, marks=pytest.mark.peer("redis-server")),
]


@pytest.fixture(params=BACKENDS)
def scenario(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[Body[Any]], Any]:
    make = request.param(tmp_path, request)

    def play(body: Body[T]) -> T:
        async def main() -> T:
            bench = Bench(make)
            bench.store.start()
            try:
                return await body(bench)
            finally:
                await bench.store.stop()

        return run(main)

    return play


Scenario = Callable[[Body[Any]], Any]


def test_values(scenario: Scenario) -> None:
    async def body(bench: Bench) -> None:
        store = bench.store
        assert await store.get(1, "k") is None
        assert await store.write(1, [Put("k", b"v"), Put("k", b"w\0"), Put("empty", b"")]) == [None] * 3
        assert await store.get(1, "k") == b"w\0" and await store.get(1, "empty") == b""
        assert await store.get(2, "k") is None
        assert await store.write(1, [Delete("k"), Delete("k")]) == [True, False]
        assert await store.get(1, "k") is None

    scenario(body)


def test_values_expire(scenario: Scenario) -> None:
    async def body(bench: Bench) -> None:
        store = bench.store
        await store.write(1, [Put("a", b"1", bench.now + 10), Put("b", b"2", bench.now + 20), Put("c", b"3")])
        bench.now += 10
        assert await store.get(1, "a") is None and await store.get(1, "b") == b"2"
        assert await store.scan(1, "") == [("b", b"2"), ("c", b"3")]
        assert await store.write(1, [Delete("a")]) == [False]
        await store.write(1, [Put("a", b"again", bench.now + 5)])
        bench.now += 15
        assert await store.expire(bench.now) == 2
        assert await store.expire(bench.now) == 0
        assert await store.scan(1, "") == [("c", b"3")]

    scenario(body)


def test_scan(scenario: Scenario) -> None:
    async def body(bench: Bench) -> None:
        store = bench.store
        keys = ["a/1", "a/2", "a/\u00e9", "a/\U0001f600x", "a0", "b/1", "a", "A/1", "a/%", "a/_"]
        await gatherResults([store.write(n % 3, [Put(key, key.encode())]) for n, key in enumerate(keys)])
        wanted = sorted((key for key in keys if key.startswith("a/")), key=str.encode)
        assert [key for key, _ in await store.scan(None, "a/")] == wanted
        assert await store.scan(1, "a/") == [
            (key, key.encode()) for key in wanted if keys.index(key) % 3 == 1
        ]
        assert len(await store.scan(None, "")) == len(keys)
        paged: list[str] = []
        while page := await store.scan(None, "a/", after=paged[-1] if paged else "", limit=2):
            assert len(page) <= 2
            paged += [key for key, _ in page]
        assert paged == wanted

    scenario(body)


def test_counters_persist(scenario: Scenario) -> None:
    async def body(bench: Bench) -> None:
        assert await bench.store.write(3, [Increment("n"), Increment("n", 5), Increment("m", -2)]) == [
            1,
            6,
            -2,
        ]
        assert await bench.store.write(4, [Increment("n", 0)]) == [0]
        await bench.reopen()
        assert await bench.store.write(3, [Increment("n", 0)]) == [6]
        assert await bench.store.get(3, "n") is None  # counters are no values

    scenario(body)


def test_queues_keep_order_and_drop_repeats(scenario: Scenario) -> None:
    async def body(bench: Bench) -> None:
        store = bench.store
        results = await store.write(1, [Append("q", name, name.encode()) for name in ("b", "a", "b", "c")])
        assert results == [True, True, False, True]
        await store.write(1, [Append("other", "b", b"x")])
        await store.write(2, [Append("q", "b", b"x", 5e9)])
        items = await store.queue(1, "q")
        assert [(item.id, item.value, item.expires) for item in items] == [
            ("b", b"b", None),
            ("a", b"a", None),
            ("c", b"c", None),
        ]
        assert [item.sequence for item in items] == sorted({item.sequence for item in items})
        assert await store.queue(1, "q", limit=1, after=items[0].sequence) == [items[1]]
        assert (await store.queue(2, "q"))[0].expires == 5e9
        assert await store.queue_size(1, "q") == (3, 3)
        assert await store.queue_size(1, "none") == (0, 0) and await store.queue(1, "none") == []

    scenario(body)


def test_a_removed_item_never_comes_back(scenario: Scenario) -> None:
    async def body(bench: Bench) -> None:
        store = bench.store
        await store.write(1, [Append("q", "a", b"1", bench.now + 100), Append("q", "b", b"2")])
        assert await store.write(1, [Remove("q", "a"), Remove("q", "a"), Remove("q", "z")]) == [
            True,
            False,
            False,
        ]
        assert await store.write(1, [Remove("q", "b")]) == [True]
        assert await store.queue_size(1, "q") == (0, 0)
        assert await store.write(1, [Append("q", "a", b"1"), Append("q", "b", b"2")]) == [False, False]
        await bench.reopen()
        bench.now += 99
        await bench.store.expire(bench.now)
        assert await bench.store.write(1, [Append("q", "a", b"1")]) == [False]
        bench.now += 1  # the item's own expiry is that of its tombstone
        assert await bench.store.write(1, [Append("q", "a", b"1"), Append("q", "b", b"2")]) == [True, False]
        bench.now += TOMBSTONE_LIFETIME
        assert await bench.store.write(1, [Append("q", "b", b"2")]) == [True]

    scenario(body)


def test_queue_items_expire(scenario: Scenario) -> None:
    async def body(bench: Bench) -> None:
        store = bench.store
        await store.write(1, [Append("q", "a", b"1", bench.now + 10), Append("q", "b", b"22")])
        last = (await store.queue(1, "q"))[-1].sequence
        bench.now += 10
        assert await store.queue_size(1, "q") == (1, 2)
        assert await store.write(1, [Remove("q", "a")]) == [False]
        assert await store.expire(bench.now) == 1
        assert await store.write(1, [Append("q", "a", b"1")]) == [True]
        assert [item.id for item in await store.queue(1, "q")] == ["b", "a"]
        assert (await store.queue(1, "q"))[-1].sequence > last

    scenario(body)


def test_a_sequence_number_is_never_used_again(scenario: Scenario) -> None:
    async def body(bench: Bench) -> None:
        await bench.store.write(1, [Append("q", "a", b"1", bench.now + 1)])
        (first,) = await bench.store.queue(1, "q")
        bench.now += 1
        assert await bench.store.expire(bench.now) == 1
        await bench.reopen()
        await bench.store.write(1, [Append("q", "a", b"1")])
        (second,) = await bench.store.queue(1, "q")
        assert second.sequence > first.sequence

    scenario(body)


def test_a_write_is_all_or_nothing_and_hurts_no_other(scenario: Scenario) -> None:
    async def body(bench: Bench) -> None:
        store = bench.store
        wrong: Any = Put("bad", {}, None)  # type: ignore[arg-type]  # no backend can store this
        writes = [
            store.write(1, [Put("before", b"1")]),
            store.write(1, [Put("half", b"1"), Append("q", "half", b"1"), Increment("n"), wrong]),
            store.write(1, [Put("x", b"\xff\0"), Increment("n"), Append("q", "after", b"1")]),
        ]
        assert await writes[0] == [None]
        with pytest.raises(StoreError):
            await writes[1]
        assert await writes[2] == [None, 1, True]
        assert await store.get(1, "before") == b"1" and await store.get(1, "half") is None
        assert [item.id for item in await store.queue(1, "q")] == ["after"]

    scenario(body)


def test_operations_of_many_writes_happen_in_order(scenario: Scenario) -> None:
    async def body(bench: Bench) -> None:
        store = bench.store
        writes = [store.write(1, [Increment("n"), Append("q", str(n), b"")]) for n in range(2000)]
        read = store.queue(1, "q", limit=5000)  # sees all that was accepted before it
        assert [item.id for item in await read] == [str(n) for n in range(2000)]
        assert await gatherResults(writes) == [[n + 1, True] for n in range(2000)]

    scenario(body)


def test_the_bound_refuses_and_later_accepts_again(scenario: Scenario) -> None:
    async def body(bench: Bench) -> None:
        accepted, refused = [], 0
        for _ in range(700):
            writing = bench.store.write(1, [Increment("n")] * 10)
            if writing.called:
                with pytest.raises(StoreFull):
                    await writing
                refused += 1
            else:
                accepted.append(writing)
        assert len(accepted) == 500 and refused == 200
        await gatherResults(accepted)
        assert await bench.store.write(1, [Increment("n")]) == [5001]

    scenario(body)


def test_stop_finishes_what_was_accepted_and_refuses_the_rest(scenario: Scenario) -> None:
    async def body(bench: Bench) -> None:
        writing = bench.store.write(1, [Put("k", b"v")])
        stopping = bench.store.stop()
        with pytest.raises(StoreError):
            await bench.store.write(1, [Put("late", b"v")])
        await stopping
        assert await writing == [None]
        await bench.reopen()
        assert await bench.store.scan(None, "") == [("k", b"v")]

    scenario(body)


def test_a_slot_that_is_none(scenario: Scenario) -> None:
    async def body(bench: Bench) -> None:
        for slot in (-1, SLOTS):
            with pytest.raises(StoreError, match="slots are 0 to 1023"):
                await bench.store.write(slot, [Put("k", b"v")])

    scenario(body)


def test_a_cancelled_caller_costs_nobody_else_anything(scenario: Scenario) -> None:
    async def body(bench: Bench) -> None:
        from twisted.internet.defer import CancelledError

        first, second = bench.store.write(1, [Increment("n")]), bench.store.write(1, [Increment("n")])
        first.cancel()
        assert await second == [2]  # the write itself goes on
        with pytest.raises(CancelledError):
            await first

    scenario(body)


class Model:
    """The same operations on dictionaries."""

    def __init__(self) -> None:
        self.values: dict[tuple[int, str], bytes] = {}
        self.counters: dict[tuple[int, str], int] = {}
        self.queues: dict[tuple[int, str], dict[str, bytes | None]] = {}

    def perform(self, slot: int, operation: Any) -> Any:
        match operation:
            case Put(key, value):
                self.values[slot, key] = value
                return None
            case Delete(key):
                return self.values.pop((slot, key), None) is not None
            case Increment(key, by):
                self.counters[slot, key] = self.counters.get((slot, key), 0) + by
                return self.counters[slot, key]
            case Append(queue, name, value):
                items = self.queues.setdefault((slot, queue), {})
                return items.setdefault(name, value) is value
            case Remove(queue, name):
                items = self.queues.setdefault((slot, queue), {})
                was = items.get(name)
                if was is not None:
                    items[name] = None
                return was is not None


def operation(entropy: random.Random) -> Any:
    name, queue = entropy.choice("abcdef"), entropy.choice("pq")
    value = entropy.randbytes(entropy.randrange(20))
    return entropy.choice(
        [
            Put(name, value),
            Delete(name),
            Increment(name, entropy.randrange(-3, 9)),
            Append(queue, name, value),
            Remove(queue, name),
        ]
    )


@pytest.mark.parametrize("seed", range(3))
def test_against_a_model(scenario: Scenario, seed: int) -> None:
    async def body(bench: Bench) -> None:
        entropy, model = random.Random(seed), Model()
        writes, expected = [], []
        for _ in range(200):
            slot = entropy.randrange(2)
            operations = [operation(entropy) for _ in range(entropy.randrange(1, 5))]
            writes.append(bench.store.write(slot, operations))
            expected.append([model.perform(slot, one) for one in operations])
        assert await gatherResults(writes) == expected
        await bench.reopen()
        for (slot, key), value in model.values.items():
            assert await bench.store.get(slot, key) == value
        for (slot, queue), items in model.queues.items():
            got: list[Item] = await bench.store.queue(slot, queue)
            assert {item.id: item.value for item in got} == {k: v for k, v in items.items() if v is not None}

    scenario(body)


def test_slot_of_is_the_same_for_ever() -> None:
    assert [slot_of(key) for key in ("sip:alice@example.org", "é")] == [215, 665]
    assert slot_of("") == 0xE3B0 % 1024  # SHA-256 of nothing begins with e3b0
    counts = [0] * SLOTS
    for number in range(20_000):
        counts[slot_of(f"user{number}")] += 1
    assert min(counts) > 0 and max(counts) < 60
