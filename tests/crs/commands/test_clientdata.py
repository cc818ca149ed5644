"""What clients keep at the server, as the operator sees it, on a real store."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.defer import Deferred, succeed

from crs.accounts import Account, Accounts
from crs.blacklist import Blacklists
from crs.clientstate import ClientState
from crs.commands.clientdata import ClientDataCommands, OsRow, VersionRow
from crs.commands.files import AccountFiles
from crs.commands.wakeup import WakeupCommands
from crs.identity import Identity
from crs.limits import LimitTable
from crs.rooms import Rooms
from crs.signaling.locker import KeptItem, encode_kept, key_of
from crs.signaling.message import ClientData, ClientInfo, Item, PushTokens
from rtlib.command.registry import BadArgument, NotFound, Registry, Unavailable
from rtlib.store.sqlite import SqliteStore
from rtlib.testing.loop import installed_reactor, run

NOW = 1_800_000_000.0
DAY = 86400.0
ALICE = Identity("+1", "blue")


class Desk:
    """The commands on a store, and what traces were told."""

    def __init__(self, folder: Path) -> None:
        accounts = Accounts(folder)
        for name in ("blue", "green"):
            accounts.add(Account(name, b"secret" * 4, datetime(2026, 1, 1, tzinfo=UTC)))
        self.store = SqliteStore(folder / "crs.db", installed_reactor())
        self.state = ClientState(self.store, LimitTable())
        self.told: list[tuple[Identity, str]] = []
        self.push = False
        files = AccountFiles(
            accounts, Blacklists(folder), Rooms(folder), lambda work, *args: succeed(work(*args))
        )
        self.registry = Registry()
        self.registry.add(
            ClientDataCommands(
                files, self.state, "crs1", lambda *event: self.told.append(event), wall=lambda: NOW
            )
        )
        self.registry.add(WakeupCommands(files, self.state, lambda: self.push))

    async def keep(self, client: Identity, item: Item, saved: float = NOW) -> None:
        await self.state.put(client, *key_of(item), encode_kept(KeptItem(saved, item)))

    def __call__(self, name: str, **arguments: Any) -> Any:
        return self.registry.call(name, arguments)


def at(folder: Path, story: Callable[[Desk], Coroutine[Deferred[Any], Any, None]]) -> None:
    """Run a story at a desk of its own."""

    async def main() -> None:
        desk = Desk(folder)
        desk.store.start()
        try:
            await story(desk)
        finally:
            await desk.store.stop()

    run(main, timeout=60)


def info(os: str = "Plan 9", version: str = "1.0", time: float = NOW) -> ClientInfo:
    return ClientInfo(time=time, os=os, os_version="4", version=version)


def test_client_info_of_an_account(tmp_path: Path) -> None:
    async def story(desk: Desk) -> None:
        await desk.keep(Identity("+2", "blue"), info(time=NOW - 2.25), NOW)
        await desk.keep(ALICE, info(time=1e300), NOW - 7)
        await desk.keep(Identity("+3", "green"), info())
        await desk.keep(Identity("urn:x-crs:client:test-1-crs1", "blue"), info())
        rows = await desk("show client-info", account_id="blue")
        assert [row.uri for row in rows] == ["+1", "+2"], "sorted, of this account, without test clients"
        assert (rows[0].timestamp.timestamp(), rows[0].scan_time) == (NOW - 7, None)
        assert rows[1].client_time == -2.2
        assert await desk("client-info", account_id="blue") == rows
        with pytest.raises(NotFound, match="no account red"):
            await desk("show client-info", account_id="red")

    at(tmp_path, story)


def test_the_summary_counts_recent_clients_of_all_accounts(tmp_path: Path) -> None:
    async def story(desk: Desk) -> None:
        await desk.keep(ALICE, info("A", "1"), NOW - 89 * DAY)
        await desk.keep(Identity("+2", "green"), info("B", "1"), NOW - 1)
        await desk.keep(Identity("+3", "green"), info("B", "2"), NOW - 91 * DAY)
        both = await desk("summarize client-info")
        assert both.os == [OsRow("A 4", 1), OsRow("B 4", 1)]
        assert both.version == [VersionRow("1", 2)]
        only = await desk("summarize client-info", max_age=100, os=True)
        assert (only.os, only.version) == ([OsRow("B 4", 2), OsRow("A 4", 1)], None)
        only = await desk("summarize client-info", max_age=0, client_version=True)
        assert (only.os, only.version) == (None, [])
        for days in (-1, 40_000, "x"):
            with pytest.raises(BadArgument, match="--max-age"):
                await desk("summarize client-info", max_age=days)

    at(tmp_path, story)


def test_client_info_is_deleted_once(tmp_path: Path) -> None:
    async def story(desk: Desk) -> None:
        await desk.keep(ALICE, info())
        await desk("delete client-info", account_id="blue", uri="+1")
        assert desk.told == [(ALICE, "delete client_info")]
        assert await desk("show client-info", account_id="blue") == []
        with pytest.raises(NotFound, match="no client info of"):
            await desk("delete client-info", account_id="blue", uri="+1")
        assert len(desk.told) == 1

    at(tmp_path, story)


def test_storage_and_push_tokens(tmp_path: Path) -> None:
    async def story(desk: Desk) -> None:
        await desk.keep(ALICE, ClientData(name="contacts", data=b"x" * 100))
        await desk.keep(ALICE, PushTokens(client_type="apns", tokens=["a", "b"], created=NOW - 5), NOW - 3.5)
        rows = await desk("show client-storage", account_id="blue")
        assert [(row.server, row.uri, row.type) for row in rows] == [
            ("crs1", "+1", "client_storage contacts"),
            ("crs1", "+1", "push_token"),
        ]
        assert rows[0].bytes > 100
        [row] = await desk("show push-token", account_id="blue", uri="+1")
        assert (row.age, row.client_type, row.tokens) == (3, "apns", ["a", "b"])
        with pytest.raises(NotFound, match="no push tokens of"):
            await desk("show push-token", account_id="blue", uri="+2")

    at(tmp_path, story)


def test_a_client_can_be_woken_only_where_push_is_configured(tmp_path: Path) -> None:
    async def story(desk: Desk) -> None:
        await desk.keep(ALICE, PushTokens(client_type="apns", tokens=["a"], created=NOW))
        with pytest.raises(Unavailable, match="push notifications are off: "):
            await desk("wakeup client", account_id="blue", uri="+1")
        desk.push = True
        with pytest.raises(NotFound, match="no push tokens"):
            await desk("wakeup client", account_id="blue", uri="+2")
        with pytest.raises(Unavailable, match="no push service"):
            await desk("wakeup client", account_id="blue", uri="+1")
        with pytest.raises(BadArgument, match="uri"):
            await desk("wakeup client", account_id="blue", uri="+ 2")

    at(tmp_path, story)


def test_what_the_store_cannot_do_is_told(tmp_path: Path) -> None:
    async def story(desk: Desk) -> None:
        await desk.store.stop()
        for name, arguments in (
            ("show client-info", {"account_id": "blue"}),
            ("show client-storage", {"account_id": "blue"}),
            ("show push-token", {"account_id": "blue", "uri": "+1"}),
            ("delete client-info", {"account_id": "blue", "uri": "+1"}),
        ):
            with pytest.raises(Unavailable):
                await desk(name, **arguments)

    at(tmp_path, story)
