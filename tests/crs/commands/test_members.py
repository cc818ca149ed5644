"""lookup client, team codes and observed clients, called as the command socket calls them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.defer import succeed

from crs.accounts import Account, Accounts
from crs.blacklist import Blacklists
from crs.clientstate import ClientState
from crs.commands.files import AccountFiles
from crs.commands.members import LookupRow, MemberCommands, MemberRow, ObservedRow, TeamRow
from crs.identity import Identity
from crs.limits import LimitTable
from crs.rooms import Rooms
from crs.signaling.locker import KeptItem, encode_kept
from crs.signaling.message import ClientToken, ItemKind, TeamCode
from crs.signaling.testing import World
from crs.update import content
from crs.update.content import Head
from crs.update.content import TeamCode as Team
from rtlib.command import render
from rtlib.command.registry import BadArgument, NotFound, Registry
from rtlib.store.sqlite import SqliteStore
from rtlib.testing.loop import installed_reactor, run

SECRET = b"0123456789abcdef"
NOW = datetime(2026, 11, 26, 12, tzinfo=UTC)
MADE = datetime(2026, 11, 1, tzinfo=UTC)


class Server:
    """The commands on two connected accounts."""

    def __init__(self, folder: Path) -> None:
        self.world = World()
        self.accounts = Accounts(folder, NOW.timestamp)
        for name in ("blue", "green", "red"):
            self.accounts.write(Account(name, SECRET, MADE))
            self.accounts.add(Account(name, SECRET, MADE))
        self.apply("blue", ["+1", "+2"], ("green",), teams=(Team("fire", ("+2", "+1")), Team("a", ())))
        self.apply("green", ["+3"], ("blue",))
        self.store = SqliteStore(folder / "crs.db", installed_reactor())
        self.state = ClientState(self.store, LimitTable())
        self.forgotten: list[Identity] = []
        files = AccountFiles(
            self.accounts,
            Blacklists(folder),
            Rooms(folder),
            lambda work, *arguments: succeed(work(*arguments)),
        )
        self.registry = Registry()
        self.registry.add(MemberCommands(files, self.world.machine, self.state, self._forget))

    def apply(
        self, account: str, uris: Sequence[str], connected: tuple[str, ...], teams: tuple[Team, ...] = ()
    ) -> None:
        head = Head(
            account=account,
            month="2026-11",
            created=int(MADE.timestamp() * 1000),
            connected_domains=connected,
            domain_token=f"token of {account}",
            team_codes=teams,
        )
        data = content.build(head, dict.fromkeys(uris, b"x"))
        self.accounts.updates.put(account, self.accounts.updates.write(data, account, NOW))

    async def keep(self, client: Identity, name: str, item: Any) -> None:
        kind = ItemKind.team_code if name else ItemKind.token
        await self.state.put(client, kind, name, encode_kept(KeptItem(0.0, item)))

    async def _forget(self, clients: Sequence[Identity]) -> None:
        self.forgotten += clients

    async def __call__(self, name: str, **arguments: Any) -> Any:
        return await self.registry.call(name, arguments)


@pytest.fixture
def server(tmp_path: Path) -> Server:
    return Server(tmp_path)


def test_a_client_is_looked_up_in_connected_domains(server: Server) -> None:
    async def story() -> None:
        server.store.start()
        server.world.connect("+1", "blue").attach()
        server.world.connect("+1", "green").attach().hang_up_line()
        assert await server("lookup client", account_id="blue", uri="+1") == [
            LookupRow("local", "+1", "blue"),
            LookupRow("not connected", "+1", "green"),
        ]
        await server.keep(Identity("+3", "green"), "", ClientToken(token=b"\x01\xff"))
        rows = await server("lookup client", account_id="blue", uri="+3", verbose=True)
        assert rows == [LookupRow("not connected", "+3", "green", "01ff", "token of green")]
        assert render.text(rows, list[LookupRow]).splitlines() == [
            "SOURCE         URI  DOMAIN  CLIENT TOKEN  DOMAIN TOKEN",
            "not connected  +3   green   01ff          token of green",
        ]
        rows = await server("lookup client", account_id="green", uri="+3")
        assert render.text(rows, list[LookupRow]).splitlines()[0] == "SOURCE         URI  DOMAIN"
        with pytest.raises(NotFound, match="neither in red nor in a domain"):
            await server("lookup client", account_id="red", uri="+3")
        with pytest.raises(NotFound, match="no account none"):
            await server("lookup client", account_id="none", uri="+3")
        with pytest.raises(BadArgument, match="uri"):
            await server("lookup client", account_id="red", uri="a b")
        await server.store.stop()

    run(story)


def test_team_codes_and_what_clients_have_stored_for_them(server: Server) -> None:
    async def story() -> None:
        server.store.start()
        rows = await server("list team-code", account_id="blue")
        assert rows == [TeamRow("a", ()), TeamRow("fire", ("+2", "+1"))]
        assert render.text(rows, list[TeamRow]).splitlines()[2] == "fire  +2,+1"
        assert await server("list team-code", account_id="red") == []
        await server.keep(Identity("+2", "blue"), "fire", TeamCode(name="fire", settings="loud"))
        await server.keep(Identity("+9", "blue"), "fire", TeamCode(name="fire", settings="off"))
        await server.keep(Identity("+1", "blue"), "other", TeamCode(name="other", settings="x"))
        await server.keep(Identity("+1", "green"), "fire", TeamCode(name="fire", settings="x"))
        assert await server("show team-code", account_id="blue", team_code="fire") == [
            MemberRow("+1", ""),
            MemberRow("+2", "loud"),
            MemberRow("+9", "off"),
        ]
        assert await server("show team-code", account_id="blue", team_code="a") == []
        with pytest.raises(NotFound, match="blue has no team code none"):
            await server("show team-code", account_id="blue", team_code="none")
        await server.store.stop()

    run(story)


def test_observed_clients_are_listed_and_purged(server: Server) -> None:
    async def story() -> None:
        for uri in ("+1", "+8", "urn:x-crs:client:test-1-x"):
            server.world.connect(uri, "blue").attach().hang_up_line()
        server.world.connect("+9", "blue").attach()
        server.world.connect("+8", "red").attach().hang_up_line()
        assert await server("list observed", account_id="blue") == [
            ObservedRow("+8", False),
            ObservedRow("+9", True),
        ]
        text = await server("purge observed", account_id="blue")
        assert text == "1 observed clients of blue are purged"
        assert server.forgotten == [Identity("+8", "blue")]
        assert await server("list observed", account_id="blue") == [ObservedRow("+9", True)]
        assert Identity("+1", "blue") in server.world.machine.directory
        assert Identity("+8", "red") in server.world.machine.directory

    run(story)
