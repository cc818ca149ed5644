"""A server whose data is in Redis: what its operator sees when Redis is late, wrong, lost, and back."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.task import deferLater
from twisted.internet.threads import deferToThread

from crs.client.error import Refused
from crs.client.testing import CrsServer
from crs.signaling.message import ErrorCode
from rtlib.testing.daemon import wait_until
from rtlib.testing.loop import installed_reactor, run
from rtlib.testing.redis import RedisServer

pytestmark = pytest.mark.peer("redis-server")
AWAY = "no clients are accepted until the store is there: the Redis server redis_high at unix:"


@pytest.fixture
def redis() -> Iterator[tuple[RedisServer, RedisServer]]:
    """redis_high and redis_low; neither runs yet."""
    high, low = RedisServer(), RedisServer(appendonly="no", requirepass="secret")
    yield high, low
    high.close()
    low.close()


def server_of(path: Path, high: RedisServer, low: RedisServer, ready: str) -> CrsServer:
    lines = ("store redis", f"redis-high unix:{high.socket}", f"redis-low unix:{low.socket} secret")
    server = CrsServer(path / "crs", lines)
    server.daemon.ready = ready
    return server


def services(server: CrsServer) -> dict[str, str]:
    """`show services`."""
    done = server.cli("--json", "show", "services")
    assert done.returncode == 0, done.stderr
    return {row["service"]: row["status"] for row in json.loads(done.stdout)}


def test_redis_may_come_later_and_go_and_come_back(
    tmp_path: Path, redis: tuple[RedisServer, RedisServer]
) -> None:
    high, low = redis
    reactor: Any = installed_reactor()

    async def before() -> None:
        alice, told = await server.attached(reactor, "+461")
        bob, news = await server.attached(reactor, "+462")
        await alice.post("+462", b"first")
        assert (await news.messages.get()).payload == b"first"
        await told.receipts.get()
        await deferToThread(high.kill)
        with pytest.raises(Refused, match="storage is away") as refusal:
            await alice.post("+462", b"lost", label="again")
        assert refusal.value.code is ErrorCode.unavailable
        await deferToThread(high.start)
        while True:
            try:
                await alice.post("+462", b"not lost", label="again")
                break
            except Refused:
                await deferLater(reactor, 0.2)
        assert (await news.messages.get()).payload == b"not lost"
        await told.receipts.get()
        await alice.close()
        await bob.close()

    with server_of(tmp_path, high, low, AWAY) as server:
        assert services(server) == {
            "crs": "active",
            "crs_relay": "active",
            "redis_high": "inactive",
            "redis_low": "inactive",
        }
        low.start()
        high.start()
        server.daemon.wait_for_text("accepting clients on", 30)
        assert set(services(server).values()) == {"active"}
        run(before, timeout=60)
        text = server.daemon.text
        assert "redis_high at unix:" in text and "is back after" in text
        wait_until(lambda: server.metrics()['crs_redis_up{service="redis_high"}'] == 1)
        archive = server.cli("backup")
        assert "in Redis and not in this archive" in archive.stdout.splitlines()[1]
        assert server.daemon.stop() < 2
        server.daemon.ready = "accepting clients on"
        server.daemon.start()
        assert "2 clients of 1 accounts" in server.daemon.text
        shown = server.cli("--json", "show", "message")
        counts = {row["uri"]: (row["post"], row["deliv"]) for row in json.loads(shown.stdout)}
        assert counts == {"+461": (2, 2), "+462": (0, 0)}, "kept in redis_low"


def test_a_redis_that_would_lose_messages_is_refused(tmp_path: Path) -> None:
    problem = "its setting appendfsync is everysec, not always"
    with RedisServer(appendfsync="everysec") as high, server_of(tmp_path, high, high, problem) as server:
        assert services(server)["redis_high"] == "inactive"
        done = server.cli("health-check", "system", "--output-format", "tsv")
        assert done.returncode == 1 and problem in done.stdout
        assert server.daemon.stop() < 2


def test_a_server_with_one_redis_and_one_that_is_expendable_and_away(
    tmp_path: Path, redis: tuple[RedisServer, RedisServer]
) -> None:
    """Clients are served without redis_low; the log says what is missing."""
    high, low = redis
    high.start()
    with server_of(tmp_path, high, low, "accepting clients on") as server:
        assert "the counts of messages are not known: the Redis server redis_low" in server.daemon.text

        async def story() -> None:
            alice, _ = await server.attached(installed_reactor(), "+461")
            await alice.post("+461", b"a note")
            await alice.close()

        run(story, timeout=60)
        assert services(server)["redis_low"] == "inactive"
        done = server.cli("health-check", "system", "--output-format", "summary")
        assert (done.returncode, done.stdout.strip()) == (3, "warning"), done.stdout
        assert server.daemon.stop() < 2
