"""What clients keep, on the real store."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred, gatherResults

from crs.clientstate import ClientState, Entry
from crs.identity import Identity
from crs.limits import LimitTable
from crs.signaling import message
from crs.signaling.event import Done, Full, StoredState
from crs.signaling.locker import KeptItem, encode_kept, key_of
from crs.signaling.message import ItemKind
from crs.storage import Storage
from rtlib.store import Put, slot_of
from rtlib.store.sqlite import SqliteStore
from rtlib.testing.loop import installed_reactor, run

ME, YOU, OTHER = Identity("+1", "a"), Identity("sip:2/x%y", "a"), Identity("+1", "b")
INFO = message.ClientInfo(time=5.0, os="android", os_version="15", version="1.0")
ITEMS: list[message.Item] = [
    INFO,
    message.ClientToken(token=b"t"),
    message.PushTokens(client_type="apns", tokens=["a", "b"], created=1.0),
    message.ClientData(name="contacts", data=b"x" * 100),
    message.ClientData(name="a/b", data=b"y"),
    message.TeamCode(name="red", settings="loud"),
]


def with_store(path: Path, story: Callable[[SqliteStore], Coroutine[Deferred[Any], Any, None]]) -> None:
    async def main() -> None:
        store = SqliteStore(path / "crs.db", installed_reactor())
        store.start()
        try:
            await story(store)
        finally:
            await store.stop()

    run(main, timeout=60)


async def keep(state: ClientState, client: Identity, item: message.Item, saved: float = 7.0) -> Any:
    kind, name = key_of(item)
    return await state.put(client, kind, name, encode_kept(KeptItem(saved, item)))


def test_everything_comes_back_after_a_restart(tmp_path: Path) -> None:
    async def put(store: SqliteStore) -> None:
        state = ClientState(store, LimitTable())
        for client in (ME, YOU, OTHER):
            for item in ITEMS:
                assert await keep(state, client, item) == Done(False)

    async def get(store: SqliteStore) -> None:
        state = ClientState(store, LimitTable())
        for client in (ME, YOU, OTHER):
            for item in ITEMS:
                assert await state.get(client, *key_of(item)) == KeptItem(7.0, item)
        assert await state.get(ME, ItemKind.data, "contact") is None

    with_store(tmp_path, put)
    with_store(tmp_path, get)


def test_the_lists_of_an_account(tmp_path: Path) -> None:
    async def story(store: SqliteStore) -> None:
        state = ClientState(store, LimitTable())
        for client in (ME, YOU, OTHER):
            await keep(state, client, INFO, 9.0)
        await keep(state, YOU, ITEMS[3])
        infos = [found async for found in state.items("a", ItemKind.info)]
        assert sorted(found.client for found in infos) == sorted([ME, YOU])
        assert all(found.kept == KeptItem(9.0, INFO) for found in infos)
        entries = {client: kept async for client, kept in state.entries("a")}
        size = len(encode_kept(KeptItem(9.0, INFO)))
        assert entries[ME] == [Entry(ItemKind.info, "", size, 9.0)]
        assert [(each.kind, each.name) for each in entries[YOU]] == [("info", ""), ("data", "contacts")]
        assert await state.delete(YOU, ItemKind.info)
        assert not await state.delete(YOU, ItemKind.info)
        assert [found.client async for found in state.items("a", ItemKind.info)] == [ME]

    with_store(tmp_path, story)


def test_the_quota_counts_what_is_there_now(tmp_path: Path) -> None:
    async def story(store: SqliteStore) -> None:
        state = ClientState(store, LimitTable([("stored-bytes", 400, "a"), ("stored-items", 3, "a")]))

        def data(name: str, size: int) -> message.ClientData:
            return message.ClientData(name=name, data=bytes(size))

        assert await keep(state, ME, data("a", 200)) == Done(False)
        assert isinstance(await keep(state, ME, data("b", 200)), Full)
        assert await keep(state, ME, data("a", 210)) == Done(True)
        assert await keep(state, YOU, data("b", 200)) == Done(False)
        assert await keep(state, ME, data("a", 1)) == Done(True)
        assert [await keep(state, ME, data(name, 1)) for name in "bc"] == [Done(False)] * 2
        assert isinstance(await keep(state, ME, data("d", 1)), Full)
        assert await state.delete(ME, ItemKind.data, "b")
        assert await keep(state, ME, data("d", 1)) == Done(False)

    with_store(tmp_path, story)


def test_changes_at_the_same_time_take_turns(tmp_path: Path) -> None:
    async def story(store: SqliteStore) -> None:
        state = ClientState(store, LimitTable([("stored-items", 10, None)]))
        items = [message.ClientData(name=str(number), data=b"") for number in range(20)]
        working = [Deferred.fromCoroutine(keep(state, ME, item)) for item in items]
        results = await gatherResults(working)
        assert sum(isinstance(result, Full) for result in results) == 10
        [(client, entries)] = [row async for row in state.entries("a")]
        assert client == ME and len(entries) == 10
        assert not state._locks

    with_store(tmp_path, story)


def test_a_forgotten_client_leaves_nothing(tmp_path: Path) -> None:
    async def story(store: SqliteStore) -> None:
        storage = Storage(store)
        for client in (ME, YOU, Identity("+12", "a")):
            for item in ITEMS:
                await keep(storage.state, client, item)
        await storage.forget([ME, YOU])
        rows = await store.scan(None, "state/")
        assert {key.split("/")[3] for key, _ in rows} == {"+12"}

    with_store(tmp_path, story)


def test_what_cannot_be_read_disturbs_nobody(tmp_path: Path) -> None:
    async def story(store: SqliteStore) -> None:
        state = ClientState(store, LimitTable())
        await keep(state, ME, INFO)
        await store.write(
            slot_of("+9"), [Put("state/a/info/+9/", b"garbage"), Put("state/a/index/+9/", b"garbage")]
        )
        assert [found.client async for found in state.items("a", ItemKind.info)] == [ME]
        assert await state.get(Identity("+9", "a"), ItemKind.info) is None
        assert await state.look_up(Identity("+9", "a"), ItemKind.info) == StoredState(b"garbage")
        assert await keep(state, Identity("+9", "a"), INFO) == Done(False)

    with_store(tmp_path, story)
