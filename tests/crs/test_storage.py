"""The machine's asks on the real store."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.defer import Deferred, gatherResults

from crs.identity import Identity
from crs.limits import Limits, LimitTable
from crs.signaling.event import Done, Full, Items, NewItem
from crs.storage import Storage
from rtlib.store import StoreError
from rtlib.store.sqlite import SqliteStore
from rtlib.testing.loop import installed_reactor, run

ME, YOU = Identity("+1", "a"), Identity("+2/x", "a")
LATER = 4e9
QUOTA = Limits().mailbox_items


def item(mailbox: Identity, name: str, value: bytes = b"v") -> NewItem:
    return NewItem(mailbox, name, value, LATER)


def with_storage(
    path: Path,
    story: Callable[[Storage], Coroutine[Deferred[Any], Any, None]],
    limits: LimitTable | None = None,
) -> None:
    async def main() -> None:
        store = SqliteStore(path / "crs.db", installed_reactor())
        store.start()
        try:
            await story(Storage(store, limits))
        finally:
            await store.stop()

    run(main, timeout=60)


def test_clients_are_kept(tmp_path: Path) -> None:
    async def save(storage: Storage) -> None:
        assert await storage.save([(ME, b"1"), (YOU, b"2")]) == Done()

    async def load(storage: Storage) -> None:
        assert sorted([row async for row in storage.clients()]) == [(ME, b"1"), (YOU, b"2")]
        await storage.forget([ME])
        assert [row async for row in storage.clients()] == [(YOU, b"2")]

    with_storage(tmp_path, save)
    with_storage(tmp_path, load)


def test_what_is_kept_of_an_account_goes_at_once(tmp_path: Path) -> None:
    other = Identity(ME.uri, "other")

    async def story(storage: Storage) -> None:
        await storage.save([(ME, b"1"), (YOU, b"2"), (other, b"3")])
        await storage.append(item(ME, "m"))
        await storage.forget_account(ME.account)
        assert [row async for row in storage.clients()] == [(other, b"3")]
        assert await _items(storage.fetch(ME, 16, 0)) == ()

    with_storage(tmp_path, story)


def test_items_from_post_to_receipt(tmp_path: Path) -> None:
    async def story(storage: Storage) -> None:
        assert await storage.append(item(YOU, "m")) == Done(True)
        assert await storage.append(item(YOU, "m")) == Done(False)
        [kept] = await _items(storage.fetch(YOU, 16, 0))
        assert (kept.id, kept.value) == ("m", b"v")
        assert await storage.confirm(YOU, "m", item(ME, "receipt")) == Done(True)
        assert await storage.confirm(YOU, "m", item(ME, "receipt")) == Done(False)
        assert await _items(storage.fetch(YOU, 16, 0)) == ()
        assert await storage.append(item(YOU, "m")) == Done(False)
        assert len(await _items(storage.fetch(ME, 16, 0))) == 1
        await storage.forget([ME])
        assert await _items(storage.fetch(ME, 16, 0)) == ()

    with_storage(tmp_path, story)


def test_a_mailbox_has_a_quota_also_for_many_at_once(tmp_path: Path) -> None:
    async def story(storage: Storage) -> None:
        writes = [Deferred.fromCoroutine(storage.append(item(ME, f"m{n}"))) for n in range(QUOTA + 20)]
        results = await gatherResults(writes)
        assert sum(isinstance(result, Full) for result in results) == 20
        assert isinstance(await storage.append(item(ME, "more")), Full)
        # A full mailbox stops nobody from emptying his own: receipts have room up to twice the quota.
        await storage.append(item(YOU, "m"))
        assert await storage.confirm(YOU, "m", item(ME, "receipt")) == Done(True)
        assert storage.dropped_receipts == 0

    with_storage(tmp_path, story)


def test_an_account_has_mailboxes_of_its_own_size(tmp_path: Path) -> None:
    limits = LimitTable(
        [("mailbox-items", 2, "a"), ("mailbox-bytes", 100_000, "a"), ("mailbox-bytes", 50_000, None)]
    )
    other = Identity("+1", "b")

    async def story(storage: Storage) -> None:
        assert await storage.append(item(ME, "1")) == await storage.append(item(ME, "2")) == Done()
        assert await storage.append(item(ME, "3")) == Full("the mailbox of +1@a holds 2 items, its limit")
        assert await storage.append(item(YOU, "1", bytes(60_000))) == Done()
        assert await storage.append(item(YOU, "2", bytes(60_000))) == Full(
            "the mailbox of +2/x@a may hold 100000 bytes"
        )
        assert await storage.append(item(other, "1", bytes(40_000))) == Done()
        assert isinstance(await storage.append(item(other, "2", bytes(40_000))), Full)
        assert limits.reached == {"mailbox-items": 1, "mailbox-bytes": 2}

    with_storage(tmp_path, story, limits)


async def _items(work: Awaitable[Any]) -> tuple[Any, ...]:
    result = await work
    assert isinstance(result, Items)
    return result.items


def test_counts_may_be_kept_apart(tmp_path: Path) -> None:
    async def main() -> None:
        high, low = (SqliteStore(tmp_path / name, installed_reactor()) for name in ("high.db", "low.db"))
        high.start()
        low.start()
        storage = Storage(high, None, low)
        await storage.save([(ME, b"known")])
        await storage.save_counts([(ME, b"counts")])
        assert [row async for row in storage.clients()] == [(ME, b"known")]
        assert [row async for row in storage.counts()] == [(ME, b"counts")]
        await storage.forget([ME])
        assert [row async for row in storage.clients()] == [row async for row in storage.counts()] == []
        await high.stop()
        await low.stop()

    run(main, timeout=60)


def test_a_store_that_fails_says_so_itself(tmp_path: Path) -> None:
    async def story(storage: Storage) -> None:
        await storage._store.stop()
        with pytest.raises(StoreError, match="not running"):
            await storage.save([(ME, b"1"), (YOU, b"2")])

    with_storage(tmp_path, story)
