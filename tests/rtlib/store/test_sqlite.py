"""What is particular to the SQLite store: the file, group commit, and that kill -9 loses nothing
acknowledged.
"""

from __future__ import annotations

import os
import signal
import sqlite3
import stat
import subprocess
import sys
import threading
from functools import partial
from pathlib import Path

import pytest
from twisted.internet.defer import gatherResults

from rtlib.store import Append, Increment, Put, StoreError
from rtlib.store.sqlite import SqliteStore
from rtlib.testing.loop import installed_reactor, run

WRITER = """
import sys
from twisted.internet import asyncioreactor
asyncioreactor.install()
from twisted.internet import reactor
from rtlib.store import Append, Increment
from rtlib.store.sqlite import SqliteStore

store = SqliteStore(sys.argv[1], reactor)
store.start()

def acknowledge(results, number):
    print(number, flush=True)
    write(number + 64)

def write(number):
    operations = [Append("q", str(number), b"x" * 200), Increment("n")]
    store.write(number % 1024, operations).addCallback(acknowledge, number)

for number in range(64):
    write(number)
reactor.run()
"""


def test_kill_9_loses_nothing_that_was_acknowledged(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    command = [sys.executable, "-c", WRITER, str(path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as writer:
        assert writer.stdout is not None
        acknowledged = [int(writer.stdout.readline()) for _ in range(1500)]
        writer.kill()
        acknowledged += map(int, writer.stdout.read().split())
        assert writer.wait() == -signal.SIGKILL

    async def main() -> None:
        store = SqliteStore(path, installed_reactor())
        store.start()
        try:
            queues = await gatherResults([store.queue(slot, "q", limit=10_000) for slot in range(1024)])
            kept = {int(item.id) for queue in queues for item in queue}
            counters = await gatherResults([store.write(slot, [Increment("n", 0)]) for slot in range(1024)])
        finally:
            await store.stop()
        assert kept >= set(acknowledged)
        assert len(kept) <= len(acknowledged) + 64  # never more than was under way
        # The two operations of each write are there together or not at all.
        assert [result[0] for result in counters] == [len(queue) for queue in queues]

    run(main)


def test_the_files_are_private(tmp_path: Path) -> None:
    async def main() -> list[int]:
        store = SqliteStore(tmp_path / "store.db", installed_reactor())
        store.start()
        await store.write(1, [Put("k", b"v")])
        modes = [stat.S_IMODE(file.stat().st_mode) for file in os.scandir(tmp_path)]
        await store.stop()
        return modes

    assert run(main) == [0o600] * 3


def test_writes_that_wait_together_share_a_commit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from rtlib.store import sqlite

    groups: list[int] = []
    commit = sqlite._commit

    def counting(connection: sqlite3.Connection, group: list[sqlite._Job], now: float) -> list[object]:
        groups.append(len(group))
        return commit(connection, group, now)

    monkeypatch.setattr(sqlite, "_commit", counting)

    async def main() -> None:
        store = SqliteStore(tmp_path / "store.db", installed_reactor())
        store.start()
        await gatherResults([store.write(1, [Increment("n")]) for _ in range(2500)])
        await store.stop()

    run(main)
    assert sum(groups) == 2500 and len(groups) < 100 and max(groups) <= sqlite.GROUP


def test_outcomes_of_a_large_group_leave_the_reactor_room(tmp_path: Path) -> None:
    """Whoever waits for the reactor comes in between, and the order stays; a stop tells all of them first."""
    seen: list[object] = []

    async def main() -> None:
        reactor = installed_reactor()
        store = SqliteStore(tmp_path / "store.db", reactor)
        store.start()
        # While the store's thread is busy with this, the others come together in one group.
        busy = threading.Event()
        store._submit(lambda connection, now: busy.wait(60), 1)
        first, *others = [store.write(1, [Increment("n")]) for _ in range(500)]
        busy.set()
        first.addCallback(lambda _: reactor.callLater(0, seen.append, "between"))
        for number, write in enumerate(others):
            write.addCallback(partial(_note, seen, number))
        await store.stop()

    run(main)
    assert [each for each in seen if each != "between"] == list(range(499))
    assert "between" in seen[:-1]


def _note(seen: list[object], number: int, _result: object) -> None:
    seen.append(number)


def test_when_the_disk_is_full_all_of_the_group_fail_and_later_writes_succeed(tmp_path: Path) -> None:
    path = tmp_path / "store.db"

    async def main() -> None:
        store = SqliteStore(path, installed_reactor())
        store.start()
        await store.write(1, [Put("k", b"v")])
        await store._submit(lambda connection, now: connection.execute("PRAGMA max_page_count = 20"), 1)
        writes = [
            store.write(1, [Append("q", "small", b"x")]),
            store.write(1, [Append("q", "large", bytes(200_000))]),
        ]
        outcome = await gatherResults(
            [writing.addErrback(lambda failure: failure.trap(StoreError)) for writing in writes]
        )
        assert outcome[1] is StoreError
        kept = [item.id for item in await store.queue(1, "q")]
        assert kept == ([] if outcome[0] is StoreError else ["small"])
        assert await store.write(1, [Put("k", b"w")]) == [None]
        await store.stop()

    run(main)


def test_another_process_that_holds_the_lock_fails_a_write_and_nothing_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from rtlib.store import sqlite

    monkeypatch.setattr(sqlite, "LOCK_TIMEOUT", 0.05)

    async def main() -> None:
        store = SqliteStore(tmp_path / "store.db", installed_reactor())
        store.start()
        other = sqlite3.connect(tmp_path / "store.db", isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreError, match="locked"):
            await store.write(1, [Put("k", b"v")])
        other.execute("ROLLBACK")
        other.close()
        assert await store.write(1, [Put("k", b"v")]) == [None]
        await store.stop()

    run(main)


def test_a_file_that_cannot_be_used_says_why(tmp_path: Path) -> None:
    reactor = installed_reactor()
    with pytest.raises(StoreError, match="No such file or directory"):
        SqliteStore(tmp_path / "no" / "store.db", reactor).start()
    (tmp_path / "text").write_text("not a database, but long enough to be looked at as one" * 50)
    with pytest.raises(StoreError, match="file is not a database"):
        SqliteStore(tmp_path / "text", reactor).start()
    newer = sqlite3.connect(tmp_path / "newer")
    newer.execute("PRAGMA user_version = 99")
    newer.close()
    with pytest.raises(StoreError, match="it has format 99; this version knows format 1"):
        SqliteStore(tmp_path / "newer", reactor).start()


def test_a_store_that_never_started_stops_and_refuses(tmp_path: Path) -> None:
    async def main() -> None:
        store = SqliteStore(tmp_path / "store.db", installed_reactor())
        await store.stop()
        with pytest.raises(StoreError, match="not running"):
            await store.get(1, "k")

    run(main)
