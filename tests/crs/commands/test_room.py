"""The conference-room commands, called as the command socket calls them."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.defer import Deferred, succeed

from crs.accounts import Account, Accounts
from crs.blacklist import Blacklists
from crs.commands.files import AccountFiles
from crs.commands.room import FoundRow, RoomCommands, RoomRow
from crs.limits import LimitTable
from crs.rooms import Rooms
from crs.signaling.group import Room
from rtlib.command.registry import BadArgument, Conflict, NotFound, Registry

ROOM = {"number": "123456", "account_id": "blue", "uri": "+1"}


class Server:
    """Two accounts; clients of blue can dial the rooms of green as well."""

    def __init__(self, folder: Path) -> None:
        accounts = Accounts(folder)
        for name in ("blue", "green"):
            account = Account(name, name.encode() * 4, datetime(2026, 1, 1, tzinfo=UTC))
            accounts.write(account)
            accounts.add(account)
        self.rooms = Rooms(folder)
        self.closed: list[Room] = []
        self.limits = LimitTable([("rooms-per-client", 2, None)])
        self.registry = Registry()
        files = AccountFiles(accounts, Blacklists(folder), self.rooms, _in_this_thread)
        self.registry.add(RoomCommands(files, self._find, self.closed.append, self.limits))

    def __call__(self, name: str, **arguments: Any) -> Any:
        """The reply of a command."""
        outcome: list[Any] = []
        Deferred.fromCoroutine(self.registry.call(f"{name} conference-room", arguments)).addBoth(
            outcome.append
        )
        [result] = outcome
        if hasattr(result, "raiseException"):
            result.raiseException()
        return result

    def _find(self, account: str, number: str) -> list[Room]:
        return [room for room in self.rooms.find(number) if account in ("blue", room.account)]


def _in_this_thread(function: Any, *arguments: Any) -> Any:
    return succeed(function(*arguments))


@pytest.fixture
def server(tmp_path: Path) -> Server:
    return Server(tmp_path)


def test_a_room_from_its_creation_to_its_end(server: Server, tmp_path: Path) -> None:
    server("create", **ROOM)
    assert (tmp_path / "blue" / "rooms").read_text() == "123456 +1\n"
    server("create", **(ROOM | {"account_id": "green", "uri": "+2"}))
    assert server("list") == [RoomRow("123456", "blue", "+1"), RoomRow("123456", "green", "+2")]
    assert server("lookup", number="123456", account_id="blue") == [
        FoundRow("123456", "blue", "+1"),
        FoundRow("123456", "green", "+2"),
    ]
    assert server("lookup", number="123456", account_id="green") == [FoundRow("123456", "green", "+2")]
    with pytest.raises(NotFound, match="clients of green can dial no conference room 654321"):
        server("lookup", number="654321", account_id="green")
    server("delete", **ROOM)
    assert server.closed == [Room("123456", "blue", "+1")]
    assert server("list") == [RoomRow("123456", "green", "+2")]
    assert (tmp_path / "blue" / "rooms").read_text() == ""


def test_a_number_is_unique_within_its_account(server: Server) -> None:
    server("create", **ROOM)
    with pytest.raises(Conflict, match=r"blue has a conference room 123456 already, of \+1"):
        server("create", **(ROOM | {"uri": "+2"}))


@pytest.mark.parametrize(
    "wrong", [{"number": "12345"}, {"number": "12345x"}, {"uri": ""}, {"account_id": "no account"}]
)
def test_wrong_arguments(server: Server, wrong: dict[str, str]) -> None:
    for command in ("create", "delete"):
        with pytest.raises(BadArgument):
            server(command, **(ROOM | wrong))


def test_there_is_no_such_room_or_account(server: Server) -> None:
    server("create", **ROOM)
    for wrong in ({"number": "654321"}, {"uri": "+2"}, {"account_id": "green"}, {"account_id": "red"}):
        with pytest.raises(NotFound):
            server("delete", **(ROOM | wrong))
    with pytest.raises(NotFound):
        server("lookup", number="123456", account_id="red")
    assert not server.closed
