"""What is particular to the Redis store: a server that goes away, replies that get lost, servers that are
unfit. Every test has a redis-server of its own.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import pytest
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.interfaces import IStreamClientEndpoint
from twisted.internet.task import deferLater
from twisted.internet.threads import deferToThread
from zope.interface import implementer

from rtlib.store import (
    Append,
    Delete,
    Increment,
    Operation,
    Put,
    Remove,
    StoreAway,
    StoreError,
    StoreFull,
    StoreUncertain,
    lua,
    resp,
)
from rtlib.store.redis import Login, RedisStore
from rtlib.testing.loop import installed_reactor, run
from rtlib.testing.redis import RedisServer

pytestmark = pytest.mark.peer("redis-server")


@pytest.fixture
def server() -> Iterator[RedisServer]:
    with RedisServer() as running:
        yield running


def play(server: RedisServer, body: Callable[[RedisStore], Awaitable[None]], **settings: Any) -> None:
    """Run a scenario with a store that has been started, and stop it."""
    reactor = installed_reactor()
    endpoint = settings.pop("endpoint", None) or server.endpoint(reactor)

    async def main() -> None:
        store = RedisStore(endpoint, "redis_high", reactor, **settings)
        store.start()
        try:
            await body(store)
        finally:
            await store.stop()

    run(main, timeout=60)


def pause(seconds: float) -> Deferred[None]:
    return deferLater(installed_reactor(), seconds)


async def until(condition: Callable[[], bool]) -> None:
    while not condition():
        await pause(0.005)


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_a_server_that_restarts_under_load_loses_nothing_and_doubles_nothing(
    server: RedisServer, how: signal.Signals
) -> None:
    writes, slots, restarts = 4000, 4, 5
    results: dict[int, Any] = {}

    def restart() -> None:
        server.process.send_signal(how)
        server.process.wait(20)
        server.start()

    async def body(store: RedisStore) -> None:
        numbers = iter(range(writes))

        async def write() -> None:
            for number in numbers:
                operations: list[Operation] = [
                    Append("q", str(number), b"x" * 200, 5e9),
                    Increment("n"),
                ]
                results[number] = await store.write(number % slots, operations)

        writing = gatherResults([Deferred.fromCoroutine(write()) for _ in range(100)])
        for turn in range(restarts):
            await until(lambda wanted=(turn + 1) * writes // (restarts + 1): len(results) >= wanted)  # type: ignore[misc]
            await deferToThread(restart)
        await writing

        # Each was told that it was new, and has the one number of the counter that is its own.
        assert all(appended is True for appended, _ in results.values())
        for slot in range(slots):
            counted = sorted(count for number, (_, count) in results.items() if number % slots == slot)
            assert counted == list(range(1, writes // slots + 1))
            items = await store.queue(slot, "q", limit=writes)
            assert sorted(int(item.id) for item in items) == list(range(slot, writes, slots))
            assert await store.queue_size(slot, "q") == (writes // slots, writes // slots * 200)
            assert await store.write(slot, [Increment("n", 0)]) == [writes // slots]

    play(server, body)


@implementer(IStreamClientEndpoint)
class Deaf:
    """Connections that are cut when a reply comes in, which is lost: one of three times."""

    def __init__(self, server: RedisServer) -> None:
        self._endpoint = server.endpoint(installed_reactor())
        self._entropy = random.Random(1)
        self.cuts = 0

    def connect(self, factory: Any) -> Deferred[Any]:
        build = factory.buildProtocol

        def deafen(address: Any) -> Any:
            protocol: Any = build(address)
            receive = protocol.dataReceived

            def hear(data: bytes, *unpause: bool) -> None:  # txredisapi gives itself what it put aside
                if data and not unpause and self._entropy.randrange(3) == 0:
                    self.cuts += 1
                    protocol.transport.abortConnection()
                else:
                    receive(data, *unpause)

            protocol.dataReceived = hear
            return protocol

        factory.buildProtocol = deafen
        connecting: Deferred[Any] = self._endpoint.connect(factory)
        return connecting


@pytest.mark.parametrize("clustered", [False, True])
def test_a_write_whose_answer_was_lost_is_not_done_again(
    server: RedisServer, monkeypatch: pytest.MonkeyPatch, clustered: bool
) -> None:
    from rtlib.store import link

    monkeypatch.setattr(link, "DELAYS", (0.001, 0.01))
    endpoint = Deaf(server)

    async def body(store: RedisStore) -> None:
        for number in range(40):
            operations: list[Operation] = [
                Increment("n"),
                Append("q", str(number), b"x"),
                Remove("q", str(number - 1)),
                Put("k", b"%d" % number),
                Delete("k"),
            ]
            outcomes = await gatherResults([store.write(slot, operations) for slot in (1, 2)])
            assert outcomes == [[number + 1, True, number > 0, None, True]] * 2
        assert endpoint.cuts >= 20

    play(server, body, endpoint=endpoint, clustered=clustered)


def test_a_write_that_was_overtaken_is_not_done(server: RedisServer) -> None:
    """Such as one that lay in the server's buffer of an old connection while the server hung."""

    def call(number: int, by: int) -> bytes:
        words = resp.pack([Increment("n", by)])
        return server.ask(*lua.WRITE([b"crs:last:me", b"crs:{1}:"], b"%d" % number, b"1.0", *words))

    server.ask(*lua.WRITE.load)
    assert call(1, 1) == b"+1\r\n"
    assert call(2, 1) == b"+2\r\n"
    assert call(1, 5).startswith(b"-OVERTAKEN")
    assert call(2, 5) == b"+2\r\n"
    assert call(3, 1) == b"+3\r\n"


@pytest.mark.parametrize("missing", [1, 13, 14, 15, 30, 100, 200])
def test_a_transaction_that_was_not_written_to_the_end_is_not_done(server: RedisServer, missing: int) -> None:
    """Neither when the server starts again, nor when it does so once more after other writes."""

    def call(number: int) -> bytes:
        words = resp.pack([Append("q", str(number), b"x"), Increment("n")])
        server.ask(*lua.WRITE.load)
        return server.ask(*lua.WRITE([b"crs:last:me", b"crs:{1}:"], b"%d" % number, b"1.0", *words))

    assert call(1) == b"+t,1\r\n"
    length = server.log_file.stat().st_size
    assert call(2) == b"+t,2\r\n"
    server.kill()
    assert server.log_file.stat().st_size > length + missing
    os.truncate(server.log_file, server.log_file.stat().st_size - missing)
    server.start()
    assert server.log_file.stat().st_size == length
    assert call(2) == b"+t,2\r\n"
    server.kill()
    server.start()
    assert call(3) == b"+t,3\r\n"
    assert server.ask(*lua.SIZE.load) and server.ask(*lua.SIZE([b"crs:{1}:"], b"q", b"1.0")) == b"+3 3\r\n"


def test_while_the_server_is_away_writes_wait_then_fail_and_later_succeed_again(server: RedisServer) -> None:
    async def body(store: RedisStore) -> None:
        assert await store.write(1, [Increment("n")]) == [1]
        server.kill()
        waiting = [store.write(1, [Increment("n")]) for _ in range(50)]
        for writing in waiting:
            with pytest.raises(StoreError, match="the Redis server redis_high is away: Conn"):
                await writing
        at_once = store.write(1, [Increment("n")])
        assert at_once.called and store.waiting == 0
        refusals: list[Deferred[Any]] = [at_once, store.scan(None, ""), store.expire(1.0)]
        for refused in refusals:
            with pytest.raises(StoreError, match="is away"):
                await refused
        await deferToThread(server.start)
        value: Any = None
        while value is None:
            try:
                (value,) = await store.write(1, [Increment("n", 0)])
            except StoreError:
                await pause(0.01)
        assert value == 1  # what failed, and was not on its way, was not done

    play(server, body, patience=1.5)


def test_a_short_absence_is_not_noticed(server: RedisServer) -> None:
    async def body(store: RedisStore) -> None:
        await store.write(1, [Put("k", b"v")])
        server.kill()
        reading, writing = store.get(1, "k"), store.write(1, [Increment("n")])
        await deferToThread(server.start)
        assert await reading == b"v" and await writing == [1]

    play(server, body)


def test_a_write_that_was_on_its_way_when_the_server_hung_is_uncertain(
    server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    from rtlib.store import link

    monkeypatch.setattr(link, "SILENCE", 0.1)

    async def body(store: RedisStore) -> None:
        assert await store.write(1, [Increment("n")]) == [1]
        os.kill(server.pid, signal.SIGSTOP)
        try:
            writing = store.write(1, [Increment("n")])
            await until(lambda: not store.connected)
            behind = store.write(1, [Increment("n")])
            with pytest.raises(StoreUncertain, match=r"not answer within .+; it may"):
                await writing
            with pytest.raises(StoreError, match="away") as refusal:
                await behind
            assert refusal.type is StoreAway  # that one was never sent
        finally:
            os.kill(server.pid, signal.SIGCONT)
        await until(lambda: store.connected)
        (count,) = await store.write(1, [Increment("n", 0)])
        assert count in {1, 2}

    play(server, body, patience=1.5)


def test_stop_does_not_wait_for_a_server_that_is_away(server: RedisServer) -> None:
    async def main() -> None:
        reactor = installed_reactor()
        server.kill()
        store = RedisStore(server.endpoint(reactor), "redis_high", reactor)
        store.start()
        writing = store.write(1, [Put("k", b"v")])
        started = reactor.seconds()
        stopping = store.stop()
        with pytest.raises(StoreError, match="away"):
            await writing
        await stopping
        assert reactor.seconds() - started < 1.9
        with pytest.raises(StoreError, match="not running"):
            await store.get(1, "k")

    run(main)


def test_a_store_that_never_started_stops_and_refuses(server: RedisServer) -> None:
    async def main() -> None:
        store = RedisStore(server.endpoint(installed_reactor()), "redis_high", installed_reactor())
        await store.stop()
        with pytest.raises(StoreError, match="not running"):
            await store.get(1, "k")

    run(main)


def test_the_bound_holds_while_the_server_is_away(server: RedisServer) -> None:
    async def body(store: RedisStore) -> None:
        server.kill()
        waiting = [store.write(1, [Increment("n")]) for _ in range(20)]
        with pytest.raises(StoreFull, match="20 operations are waiting for the Redis server redis_high"):
            await store.write(1, [Increment("n")])
        await deferToThread(server.start)
        assert await gatherResults(waiting) == [[number] for number in range(1, 21)]

    play(server, body, limit=20)


UNFIT = [
    ({"appendfsync": "everysec"}, {}, "its setting appendfsync is everysec, not always"),
    ({"appendonly": "no"}, {}, "its setting appendonly is no, not yes"),
    ({"maxmemory_policy": "allkeys-lru"}, {}, "maxmemory-policy is allkeys-lru, not noeviction"),
    ({"aof_load_truncated": "yes"}, {}, "its setting aof-load-truncated is yes, not no"),
    ({"requirepass": "right"}, {"login": Login(password="wrong")}, "it refused the greeting: WRONGPASS"),
    ({"requirepass": "right"}, {}, "it refused the greeting: NOAUTH"),
]


@pytest.mark.parametrize(("settings", "arguments", "reason"), UNFIT)
def test_a_server_that_will_not_do_is_refused_with_the_reason(
    settings: dict[str, str], arguments: dict[str, Any], reason: str
) -> None:
    async def body(store: RedisStore) -> None:
        with pytest.raises(StoreError, match=reason):
            await store.write(1, [Put("k", b"v")])

    with RedisServer(**settings) as server:
        play(server, body, patience=2.0, **arguments)


def test_expendable_data_may_be_anywhere_and_a_login_may_be_needed() -> None:
    login = Login("default", "right", database=3)
    assert "right" not in repr(login)

    async def body(store: RedisStore) -> None:
        await store.write(1, [Put("k", b"v")])
        assert await store.get(1, "k") == b"v"

    with RedisServer(appendonly="no", requirepass="right") as server:
        play(server, body, durable=False, login=login)


def test_a_server_without_memory_refuses_a_write_as_a_whole(server: RedisServer) -> None:
    async def body(store: RedisStore) -> None:
        await store.write(1, [Put("k", b"v")])
        server.ask("CONFIG", "SET", "maxmemory", "1")
        with pytest.raises(StoreError, match="refused it: OOM"):
            await store.write(1, [Increment("n"), Append("q", "a", b"x")])
        assert await store.get(1, "k") == b"v"
        server.ask("CONFIG", "SET", "maxmemory", "0")
        assert await store.write(1, [Increment("n"), Append("q", "a", b"x")]) == [1, True]

    play(server, body)


def test_a_server_that_has_forgotten_the_scripts_learns_them_again(server: RedisServer) -> None:
    async def body(store: RedisStore) -> None:
        assert await store.write(1, [Increment("n")]) == [1]
        server.ask("SCRIPT", "FLUSH")
        assert await store.write(1, [Increment("n")]) == [2]

    play(server, body)


def test_a_replica_is_waited_for_until_it_is_promoted(server: RedisServer) -> None:
    async def body(store: RedisStore) -> None:
        assert await store.write(1, [Increment("n")]) == [1]
        server.ask("REPLICAOF", "127.0.0.1", "1")
        writing = store.write(1, [Increment("n")])
        await until(lambda: not store.connected)
        assert not writing.called
        server.ask("REPLICAOF", "NO", "ONE")
        assert await writing == [2]

    play(server, body)


def test_a_counter_has_bounds_and_the_write_that_breaks_them_is_not_done(server: RedisServer) -> None:
    async def body(store: RedisStore) -> None:
        limit = resp.COUNTER_LIMIT
        writes = [
            store.write(1, [Increment("n", limit - 1)]),
            store.write(1, [Put("k", b"v"), Increment("n"), Increment("n")]),
            store.write(1, [Increment("n")]),
            store.write(2, [Increment("m", -limit), Increment("m", limit)]),
        ]
        assert await writes[0] == [limit - 1]
        with pytest.raises(StoreError, match="cannot go beyond 9007199254740991"):
            await writes[1]
        assert await writes[2] == [limit]
        assert await writes[3] == [-limit, 0]
        assert await store.get(1, "k") is None
        for wrong in (Increment("n", limit + 1), Put("k", b"v", float("nan")), Put("\ud800", b"v")):
            with pytest.raises(StoreError, match="refused it"):
                await store.write(1, [wrong])
        with pytest.raises(StoreError, match="cannot look for it"):
            await store.get(1, "\ud800")

    play(server, body)


def test_what_has_gone_leaves_nothing_behind(server: RedisServer) -> None:
    now = 1_000_000.0

    async def body(store: RedisStore) -> None:
        for slot in (1, 500, 1023):
            await store.write(slot, [Put(f"k{n}", b"v", now + 5) for n in range(1500)])
            await store.write(slot, [Put("for ever", b"v"), Delete("for ever"), Put("k1", b"w")])
            await store.write(slot, [Append("q", str(n), b"", now + 9) for n in range(700)])
            await store.write(slot, [Append("r", str(n), b"x") for n in range(700)])
            await store.write(slot, [Remove("r", str(n)) for n in range(700)])
        await store.write(7, [Append("q", "a", b"x"), Increment("n", 2)])
        assert await store.expire(now + 10) == 3 * (1499 + 700)
        assert await store.expire(now + 10) == 0
        assert await store.expire(5e9) == 3 * 700
        await store.write(7, [Remove("q", "a")])
        assert await store.expire(5e9) == 1
        for slot in (1, 500, 1023):
            assert await store.write(slot, [Delete("k1")]) == [True]
        left = server.ask("KEYS", "*").split()[2::2]
        kinds = sorted(key.rpartition(b":")[2] for key in left if b"last" not in key)
        assert kinds == [b"counters"] + [b"sequence"] * 4
        assert len(left) == len(kinds) + 1  # the record of this client, which the server itself forgets
        (record,) = [key for key in left if b"last" in key]
        assert b":864" in server.ask("TTL", record) or b":863" in server.ask("TTL", record)

    play(server, body, wall=lambda: now)


def test_a_prefix_does_not_hide_the_slot(server: RedisServer) -> None:
    with pytest.raises(ValueError, match="brace"):
        RedisStore(server.endpoint(None), "redis_high", installed_reactor(), prefix="{crs}:")


def test_importing_the_store_chooses_no_reactor() -> None:
    program = "import sys, rtlib.store.redis; sys.exit('twisted.internet.reactor' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


def test_values_of_all_sizes_and_bytes(server: RedisServer) -> None:
    async def body(store: RedisStore) -> None:
        values = [bytes([byte]) for byte in range(256)] + [b"\r\n" * 10, b"", b" ", b"x" * 3_000_000]
        await store.write(1, [Put(f"{n:03}", value) for n, value in enumerate(values)])
        await store.write(1, [Append("q", f"{n} \r\n", value) for n, value in enumerate(values)])
        assert [value for _, value in await store.scan(1, "")] == values
        assert [item.value for item in await store.queue(1, "q", limit=500)] == values
        for number in (0, 13, 32, len(values) - 1):
            assert await store.get(1, f"{number:03}") == values[number]

    play(server, body)
