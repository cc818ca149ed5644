"""Blacklist, purge and reload, called as the command socket calls them."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.defer import Deferred, succeed

from crs.accounts import Account, Accounts
from crs.blacklist import Blacklists
from crs.commands.blacklist import BlacklistCommands, BlacklistRow
from crs.commands.files import AccountFiles
from crs.commands.purge import PurgeCommands
from crs.commands.system import SystemCommands
from crs.identity import Identity
from crs.rooms import Rooms
from rtlib.command.registry import BadArgument, CommandError, Conflict, NotFound, Registry

CREATED = datetime(2026, 1, 1, tzinfo=UTC)


class Server:
    """The connected clients, and what was done to them."""

    def __init__(self, folder: Path) -> None:
        self.accounts = Accounts(folder)
        for name in ("blue", "green"):
            account = Account(name, name.encode() * 4, CREATED)
            self.accounts.write(account)
            self.accounts.add(account)
        self.blacklists = Blacklists(folder)
        self.clients = {Identity("+1", "blue"), Identity("+2", "blue"), Identity("+1", "green")}
        self.told: list[tuple[Identity, str]] = []
        self.rechecks = 0
        self.registry = Registry()
        files = AccountFiles(self.accounts, self.blacklists, Rooms(folder), _in_this_thread)
        self.registry.add(BlacklistCommands(files, self._recheck, lambda *event: self.told.append(event)))
        self.registry.add(PurgeCommands(files, self._purge, self._recheck))
        self.registry.add(SystemCommands("crs1", self.accounts))

    def __call__(self, name: str, **arguments: Any) -> Any:
        """The reply of a command."""
        outcome: list[Any] = []
        Deferred.fromCoroutine(self.registry.call(name, arguments)).addBoth(outcome.append)
        [result] = outcome
        if hasattr(result, "raiseException"):
            result.raiseException()
        return result

    def _purge(self, match: Callable[[Identity], bool]) -> int:
        purged = {client for client in self.clients if match(client)}
        self.clients -= purged
        return len(purged)

    async def _recheck(self) -> None:
        self.rechecks += 1


def _in_this_thread(function: Callable[..., Any], *arguments: Any) -> Deferred[Any]:
    return succeed(function(*arguments))


@pytest.fixture
def server(tmp_path: Path) -> Server:
    return Server(tmp_path)


def test_a_client_on_and_off_the_blacklist(server: Server, tmp_path: Path) -> None:
    server("blacklist add", account_id="blue", uri="+1")
    assert Identity("+1", "blue") in server.blacklists
    assert server.rechecks == 1
    server("blacklist add", account_id="blue", uri="+0")
    assert server("show blacklist", account_id="blue") == [BlacklistRow("+0"), BlacklistRow("+1")]
    assert server("show blacklist", account_id="green") == []
    again = Blacklists(tmp_path)
    again.load(["blue", "green"])
    assert again.of("blue") == {"+0", "+1"}
    with pytest.raises(Conflict):
        server("blacklist add", account_id="blue", uri="+1")
    server("blacklist remove", account_id="blue", uri="+1")
    assert Identity("+1", "blue") not in server.blacklists
    with pytest.raises(NotFound):
        server("blacklist remove", account_id="blue", uri="+1")
    assert server.told == [
        (Identity("+1", "blue"), "add to blacklist"),
        (Identity("+0", "blue"), "add to blacklist"),
        (Identity("+1", "blue"), "remove from blacklist"),
    ]


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({"account_id": "red", "uri": "+1"}, NotFound),
        ({"account_id": "../red", "uri": "+1"}, BadArgument),
        ({"account_id": "blue", "uri": "+ 1"}, BadArgument),
        ({"account_id": "blue", "uri": ""}, BadArgument),
        ({"account_id": "blue", "uri": "1" * 256}, BadArgument),
        ({"account_id": "blue"}, BadArgument),
    ],
)
def test_wrong_arguments(server: Server, arguments: dict[str, str], error: type[CommandError]) -> None:
    with pytest.raises(error):
        server("blacklist add", **arguments)
    assert server.rechecks == 0


def test_a_list_that_cannot_be_written_is_not_in_force(server: Server, tmp_path: Path) -> None:
    (tmp_path / "blue" / "blacklist").mkdir()
    with pytest.raises(CommandError, match="blacklist"):
        server("blacklist add", account_id="blue", uri="+1")
    assert Identity("+1", "blue") not in server.blacklists
    (tmp_path / "blue" / "blacklist").rmdir()
    server("blacklist add", account_id="blue", uri="+1")


def test_purge(server: Server) -> None:
    assert server("purge client", account_id="blue", uri="+1") == "+1@blue is purged"
    with pytest.raises(NotFound, match=r"\+1@blue is not connected"):
        server("purge client", account_id="blue", uri="+1")
    with pytest.raises(NotFound, match="no account red"):
        server("purge clients", account_id="red")
    assert server("purge clients", account_id="blue") == "1 connections of blue are purged"
    assert server.clients == {Identity("+1", "green")}


def test_reload_takes_what_is_on_disk(server: Server, tmp_path: Path) -> None:
    server.accounts.write(Account("blue", b"another secret!!", CREATED))
    server.accounts.write(Account("red", b"a new account!!!", CREATED))
    (tmp_path / "green" / "blacklist").write_text("+7\n")
    assert server("reload account") == "3 accounts are loaded"
    assert "red" in server.accounts
    assert server("show blacklist", account_id="green") == [BlacklistRow("+7")]
    assert server.clients == {Identity("+1", "green")}, (
        "the others' keys are no longer those of their account"
    )
    assert server.rechecks == 1
    server.accounts.erase("green")
    server("reload account")
    assert server.clients == set()


def test_reload_changes_nothing_if_a_file_is_damaged(server: Server, tmp_path: Path) -> None:
    server.accounts.write(Account("red", b"a new account!!!", CREATED))
    (tmp_path / "blue" / "blacklist").write_text("not a uri\n")
    with pytest.raises(CommandError, match="blacklist:1"):
        server("reload account")
    assert "red" not in server.accounts
    assert len(server.clients) == 3


def test_system_and_loaded_accounts(server: Server) -> None:
    [row] = server("show system")
    assert (row.server, row.process, row.slots) == ("crs1", "app: crs", "0-1023")
    [loaded] = server("show account")
    assert (loaded.server, loaded.pid, loaded.accounts) == ("crs1", row.pid, ["blue", "green"])
