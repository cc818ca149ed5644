"""`stats`, called as the command socket calls it, on a machine with clients."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.defer import Deferred, succeed

from crs.accounts import Account, Accounts
from crs.blacklist import Blacklists
from crs.commands.files import AccountFiles
from crs.commands.statistics import StatisticsCommands
from crs.identity import Identity
from crs.rooms import Rooms
from crs.signaling.directory import Confirmation
from crs.signaling.event import SessionEvent
from crs.signaling.testing import World
from crs.statistics import KINDS, Statistics
from crs.update import content
from crs.update.content import Head
from rtlib.command.registry import NotFound, Registry

NOW = datetime(2026, 11, 26, 12, tzinfo=UTC)
MADE = datetime(2026, 11, 1, tzinfo=UTC)
HEADINGS = (
    "tel-uri\tsession-outgoing\tsession-incoming\tmessage-outgoing\tmessage-incoming\tsystem-outgoing\t"
    "system-incoming\tconference-calls\tinitiated-multi-session\taccepted-multi-session\t"
    "sent-group-call-invite\taccepted-group-call-invite\tcurrent-offered\tcurrent-confirmed\tnext-offered\t"
    "next-confirmed\n"
)
"""Those of the manual, in its order."""


class Office:
    """The commands, and a machine that knows clients of two accounts."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.world = World()
        self.directory = self.world.machine.directory
        self.accounts = Accounts(folder, NOW.timestamp)
        for name in ("blue", "green"):
            account = Account(name, b"secret" * 4, MADE)
            self.accounts.write(account)
            self.accounts.add(account)
        for uri, name in (("+1", "blue"), ("+2", "blue"), ("+1", "green")):
            self.directory.observe(Identity(uri, name), lambda *_: None, self.world.now)
            self.world.flush()
        self.statistics = Statistics(self.directory, self.is_on, lambda: self.world.now)
        self.registry = Registry()
        files = AccountFiles(
            self.accounts, Blacklists(folder), Rooms(folder), lambda work, *args: succeed(work(*args))
        )
        self.registry.add(
            StatisticsCommands(
                files,
                self.directory,
                now=lambda: self.world.now,
                flush=self.world.flush,
                pause=lambda: succeed(None),
            )
        )

    def is_on(self, account: str) -> bool:
        found = self.accounts.get(account)
        return found is not None and found.statistics

    def __call__(self, words: str) -> Any:
        *name, account = words.split()
        outcome: list[Any] = []
        arguments = {"account_id": account}
        Deferred.fromCoroutine(self.registry.call(" ".join(name), arguments)).addBoth(outcome.append)
        [result] = outcome
        if hasattr(result, "raiseException"):
            result.raiseException()
        return result

    def call(self) -> None:
        """+1 of blue calls +2, with two streams."""
        for state in ("invite", "ringing", "talk"):
            self.statistics.record(
                SessionEvent(Identity("+1", "blue"), Identity("+2", "blue"), state, "s", 2)
            )
        self.world.flush()

    def table(self, account: str = "blue") -> dict[str, list[str]]:
        heading, *lines = self(f"stats export {account}").text.splitlines()
        assert heading + "\n" == HEADINGS
        return {uri: cells for uri, *cells in (line.split("\t") for line in lines)}

    def apply(self, month: str, blobs: Mapping[str, bytes]) -> int:
        """An update; when it was made, in milliseconds."""
        created = int(MADE.timestamp() * 1000)
        built = content.build(Head(account="blue", month=month, created=created), blobs)
        self.accounts.updates.put("blue", self.accounts.updates.write(built, "blue", NOW))
        return created


@pytest.fixture
def office(tmp_path: Path) -> Office:
    return Office(tmp_path)


def row(*ones: str) -> list[str]:
    return [str(int(kind in ones)) for kind in KINDS] + ["no"] * 4


def test_nothing_is_counted_unless_it_is_switched_on(office: Office) -> None:
    office.call()
    assert office.table() == {"+1": row(), "+2": row()}
    assert "statistics" not in (office.folder / "blue" / "account.conf").read_text()


def test_what_is_counted_survives_a_restart_and_being_switched_off(office: Office) -> None:
    office("stats enable blue")
    office("stats enable blue")
    assert "statistics enabled\n" in (office.folder / "blue" / "account.conf").read_text()
    assert Accounts(office.folder).read()["blue"].statistics
    office.call()
    counted = {
        "+1": row("session-outgoing", "initiated-multi-session"),
        "+2": row("session-incoming", "accepted-multi-session"),
    }
    assert office.table() == counted
    office("stats disable blue")
    assert not Accounts(office.folder).read()["blue"].statistics
    office.call()
    assert office.table() == counted
    office.world.advance(10)
    again = Office(office.folder)
    for client, value in office.world.storage.saved.items():
        again.directory.load(client, value)
    assert again.table() == counted
    assert again.table("green") == {"+1": row()}


def test_cleared_is_zero_on_disk_too(office: Office) -> None:
    office("stats enable blue")
    office.call()
    office.world.advance(10)
    office("stats clear blue")
    assert office.table() == {"+1": row(), "+2": row()}
    office.world.advance(10)
    again = Office(office.folder)
    for client, value in office.world.storage.saved.items():
        again.directory.load(client, value)
    assert again.table() == {"+1": row(), "+2": row()}
    assert office.is_on("blue"), "clearing switches nothing off"


def test_updates_offered_and_confirmed(office: Office) -> None:
    created = office.apply("2026-11", {"+1": b"blob", "+3": b"blob", "+2": b""})
    office.apply("2026-12", {"+3": b"blob"})
    confirmation = Confirmation("2026-11", created, 1.0)
    office.directory.confirm(Identity("+1", "blue"), confirmation, lambda *_: None)
    office.world.flush()
    states = {uri: cells[-4:] for uri, cells in office.table().items()}
    assert states == {
        "+1": ["yes", "yes", "no", "no"],
        "+2": ["no", "no", "no", "no"],
        "+3": ["yes", "no", "yes", "no"],
    }


@pytest.mark.parametrize("action", ["enable", "disable", "clear", "export"])
def test_an_account_that_is_not_here(office: Office, action: str) -> None:
    with pytest.raises(NotFound, match="no account red"):
        office(f"stats {action} red")
