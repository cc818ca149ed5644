"""`apply` and `show updates`, called as the command socket calls them."""

from __future__ import annotations

import os
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.defer import Deferred, succeed

from crs.accounts import Account, Accounts
from crs.blacklist import Blacklists
from crs.commands.files import AccountFiles
from crs.commands.updates import UpdateCommands, UpdatesRow
from crs.identity import Identity
from crs.rooms import Rooms
from crs.signaling.directory import Directory
from crs.signaling.outlet import Outlet
from crs.update import content, protection
from crs.update.applied import Standing
from crs.update.content import Head
from rtlib.command.file import File
from rtlib.command.registry import CommandError, NotFound, Registry

SECRET = b"0123456789abcdef"
NOW = datetime(2026, 11, 26, 12, tzinfo=UTC)
MADE = datetime(2026, 11, 1, tzinfo=UTC)
TEXT = "2026-11-01T00:00:00Z"


class Server:
    """The commands on two accounts in a folder, at a time that the test sets."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.now = NOW
        self.applied: list[str] = []
        self.accounts = Accounts(folder, lambda: self.now.timestamp())
        for name in ("blue", "green"):
            account = Account(name, SECRET + name.encode(), MADE)
            self.accounts.write(account)
            self.accounts.add(account)
        files = AccountFiles(
            self.accounts,
            Blacklists(folder),
            Rooms(folder),
            lambda work, *arguments: succeed(work(*arguments)),
        )
        self.directory = Directory(Outlet(lambda number, data: None), str.__eq__)
        self.registry = Registry()
        self.registry.add(
            UpdateCommands(files, self.directory, applied=self._applied, pause=lambda: succeed(None))
        )

    async def _applied(self, account: str) -> None:
        self.applied.append(account)

    def __call__(self, name: str, **arguments: Any) -> Any:
        outcome: list[Any] = []
        Deferred.fromCoroutine(self.registry.call(name, arguments)).addBoth(outcome.append)
        [result] = outcome
        if hasattr(result, "raiseException"):
            result.raiseException()
        return result

    def apply(self, data: bytes) -> Any:
        path = self.folder / "file.upd"
        path.write_bytes(data)
        return self("apply", update_file=File("file.upd", os.open(path, os.O_RDONLY)))

    def names(self) -> set[str]:
        return {path.name for path in self.folder.glob("*/*")} - {"account.conf"}


@pytest.fixture
def server(tmp_path: Path) -> Server:
    return Server(tmp_path)


def update(
    account: str = "blue",
    month: str = "2026-11",
    made: datetime = MADE,
    *,
    secret: bytes | None = None,
    blobs: Mapping[str, bytes] = {"+1": b"one"},
    connected: tuple[str, ...] = (),
) -> bytes:
    created = int(made.timestamp() * 1000)
    head = Head(account=account, month=month, created=created, connected_domains=connected)
    key = SECRET + account.encode() if secret is None else secret
    return protection.protect(content.build(head, blobs), account, key, os.urandom(32))


def test_an_update_is_in_force_and_on_disk(server: Server) -> None:
    text = server.apply(update())
    assert text == (
        "the update of blue for 2026-11, made 2026-11-01T00:00:00Z, is applied: "
        "1 clients are listed, others are admitted"
    )
    assert server.applied == ["blue"]
    assert server.accounts.standing(Identity("+1", "blue")) is Standing.listed
    assert server.accounts.standing(Identity("+1", "green")) is Standing.open
    assert server.names() == {"2026-11.applied"}
    server.apply(update(month="2026-12"))
    assert server("show updates") == [
        UpdatesRow("blue", TEXT, TEXT),
        UpdatesRow("green", "Not Available", "Not Available"),
    ]
    server.now = datetime(2026, 12, 1, tzinfo=UTC)
    assert server("show updates")[0] == UpdatesRow("blue", TEXT, "Not Available")


def test_the_same_update_again_is_no_news(server: Server) -> None:
    server.apply(update())
    assert server.apply(update()).endswith("this update of blue is applied already; nothing has changed")
    assert server.applied == ["blue"]


def flipped(data: bytes) -> bytes:
    """With one bit of the tag wrong."""
    return data[:-1] + bytes([data[-1] ^ 1])


@pytest.mark.parametrize(
    ("data", "error", "reason"),
    [
        (update("red"), NotFound, "the update file is for the account red, which is not here"),
        (update(secret=b"another"), CommandError, "with another shared secret than that of account blue"),
        (update()[:-1], CommandError, "the update file is damaged: it has "),
        (flipped(update()), CommandError, "damaged: its content is not as it was made"),
        (b"#!/bin/sh\n", CommandError, "this is no update file"),
        (update(month="2027-01"), CommandError, "only those for 2026-11 and 2026-12 can be applied now"),
        (update(made=datetime(2026, 12, 24, tzinfo=UTC)), CommandError, "still to come: is a clock wrong"),
        (update(made=datetime(2026, 10, 20, tzinfo=UTC)), CommandError, "the one of 2026-11-01T00:00:00Z"),
        (update(month="2026-10"), CommandError, "the one for 2026-11 is in force already"),
    ],
)  # fmt: skip
def test_what_is_refused_and_why(server: Server, data: bytes, error: type[CommandError], reason: str) -> None:
    server.apply(update())
    before = {path: path.read_bytes() for path in server.folder.glob("*/*")}
    with pytest.raises(error, match=reason):
        server.apply(data)
    assert {path: path.read_bytes() for path in server.folder.glob("*/*")} == before
    assert server.applied == ["blue"]


def test_a_file_that_is_too_large_is_refused_before_it_is_read_whole(server: Server, tmp_path: Path) -> None:
    with (tmp_path / "large").open("wb") as file:
        file.truncate(300 * 2**20)
    with pytest.raises(CommandError, match=r"has 314,572,800 bytes; at most 268,435,581 are allowed"):
        server("apply", update_file=File("large", os.open(tmp_path / "large", os.O_RDONLY)))


def test_a_disk_that_is_full_leaves_all_as_it_was(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """/dev/full in place of the temporary file: the write itself fails."""
    server.apply(update())
    (server.folder / "blue" / ".2026-12.applied.tmp").symlink_to("/dev/full")
    before = server.names()
    real = os.open

    def full(path: Any, flags: int, mode: int = 0o777, **more: Any) -> int:
        if str(path).endswith(".2026-12.applied.tmp"):
            return real("/dev/full", os.O_WRONLY)
        return real(path, flags, mode, **more)

    monkeypatch.setattr(os, "open", full)
    with pytest.raises(CommandError, match=r"2026-12\.applied: No space left on device"):
        server.apply(update(month="2026-12"))
    assert server.names() == before - {".2026-12.applied.tmp"}
    assert server.applied == ["blue"]
    monkeypatch.undo()
    server.apply(update(month="2026-12"))


def test_accounts_are_connected_if_both_say_so(server: Server) -> None:
    accounts = server.accounts
    assert accounts.are_connected("blue", "blue")
    assert not accounts.are_connected("blue", "green"), "without updates an account is alone"
    server.apply(update("blue", connected=("green", "red")))
    assert not accounts.are_connected("blue", "green") and not accounts.are_connected("green", "blue")
    server.apply(update("green", connected=("blue",)))
    assert accounts.are_connected("blue", "green") and accounts.are_connected("green", "blue")
    assert not accounts.are_connected("blue", "red")
    server.now = datetime(2027, 1, 1, tzinfo=UTC)
    assert accounts.are_connected("blue", "green"), "an expired update stays in force"
    server.apply(update("green", month="2027-01", made=server.now))
    assert not accounts.are_connected("blue", "green")
