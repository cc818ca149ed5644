"""Rotations whose time is over."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

from twisted.internet.task import Clock
from twisted.logger import capturedLogs

from crs.accounts import Account, Accounts, Former
from crs.rotation import TICK, Deadlines
from rtlib.command.error import CommandError

NOW = datetime(2026, 11, 26, tzinfo=UTC)


def test_they_are_finished_once_their_time_is_over(tmp_path: Path) -> None:
    clock = Clock()
    accounts = Accounts(tmp_path, lambda: NOW.timestamp() + clock.seconds())
    for name, seconds in (("a", -1), ("b", 90), ("c", 1000)):
        until = NOW + timedelta(seconds=seconds)
        accounts.add(Account(name, b"new", NOW, former=Former(b"old", until)))
    accounts.add(Account("d", b"new", NOW))
    finished: list[str] = []
    full = [True]

    async def finish(name: str) -> None:
        finished.append(name)
        if full[0]:
            raise CommandError("no space left")
        accounts.add(Account(name, b"new", NOW))

    deadlines = Deadlines(accounts, finish, clock)
    with capturedLogs() as told:
        deadlines.startService()
    assert finished == ["a"] and "no space left" in str(told[0]["error"])
    full[0] = False
    clock.advance(TICK)
    assert finished == ["a", "a"]
    clock.advance(TICK)
    assert finished == ["a", "a", "b"]
    deadlines.stopService()
    assert not clock.getDelayedCalls()
