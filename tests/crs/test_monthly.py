"""Updates in the running server, at times that the test sets."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.defer import Deferred, succeed
from twisted.internet.task import Clock
from twisted.logger import capturedLogs

from crs.accounts import Account, Accounts
from crs.identity import Identity
from crs.monthly import TICK, Monthly
from crs.signaling.event import Blob, Failed, Result
from crs.signaling.offers import Offered
from crs.update import content
from crs.update.applied import Standing
from crs.update.content import Head

MADE = datetime(2026, 11, 1, tzinfo=UTC)
CREATED = int(MADE.timestamp() * 1000)
ONE, TWO = Identity("+1", "blue"), Identity("+2", "blue")


class World:
    """One account with its updates, and what was done about its clients."""

    def __init__(self, folder: Path) -> None:
        self.now = datetime(2026, 11, 30, 23, 58, tzinfo=UTC)
        self.clock = Clock()
        self.accounts = Accounts(folder, lambda: self.now.timestamp())
        self.accounts.write(Account("blue", b"s" * 16, MADE))
        self.accounts.load()
        self.judged = 0
        self.told: list[Identity] = []
        self.notified: list[str] = []
        self.monthly = Monthly(
            self.accounts,
            clock=self.clock,
            in_thread=lambda work, *arguments: succeed(work(*arguments)),
            judge=self._judge,
            attached=lambda: [ONE, TWO, Identity("+1", "green")],
            offer=self._offer,
            pause=lambda: succeed(None),
            notify=self.notified.append,
        )

    def apply(self, month: str, blobs: dict[str, bytes]) -> None:
        data = content.build(Head(account="blue", month=month, created=CREATED), blobs)
        updates = self.accounts.updates
        updates.put("blue", updates.write(data, "blue", self.now))

    async def _judge(self) -> None:
        self.judged += 1

    def _offer(self, clients: Iterable[Identity]) -> None:
        self.told += clients


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def result(work: Callable[[], Any]) -> Any:
    outcome: list[Any] = []
    Deferred.fromCoroutine(work()).addCallback(outcome.append)
    [value] = outcome
    return value


def test_what_is_offered_and_read(world: World) -> None:
    world.apply("2026-11", {"+1": b"november", "+2": b""})
    world.apply("2026-12", {"+1": b"dec"})
    monthly = world.monthly
    november, december = Offered("2026-11", CREATED, 8), Offered("2026-12", CREATED, 3)
    assert monthly.offered(ONE) == [november, december]
    assert monthly.offered(TWO) == [], "an empty blob is nothing to offer"
    assert monthly.offered(Identity("+1", "green")) == []
    read: list[Result] = [result(partial(monthly.read_blob, ONE, month)) for month in ("2026-11", "2026-12")]
    assert read == [Blob(CREATED, b"november"), Blob(CREATED, b"dec")]
    assert isinstance(result(lambda: monthly.read_blob(ONE, "2027-01")), Failed)
    assert isinstance(result(lambda: monthly.read_blob(TWO, "2026-11")), Failed)
    world.now = datetime(2026, 12, 1, tzinfo=UTC)
    assert monthly.offered(ONE) == [december]


def test_a_month_begins(world: World) -> None:
    world.apply("2026-11", {"+1": b"november", "+2": b"x"})
    world.apply("2026-12", {"+1": b"dec"})
    world.monthly.startService()
    assert world.accounts.standing(TWO) is Standing.listed
    world.clock.advance(TICK)
    assert world.judged == 0
    world.now = datetime(2026, 12, 1, 0, 0, tzinfo=UTC)
    world.clock.advance(TICK)
    assert world.judged == 1 and world.accounts.standing(TWO) is Standing.removed
    world.clock.advance(TICK)
    assert world.judged == 1 and world.notified == []
    world.now = datetime(2027, 1, 1, 0, 0, tzinfo=UTC)
    with capturedLogs() as told:
        world.clock.advance(TICK)
    assert world.notified == ["update expired: blue"]
    assert [(event["name"], event["last"]) for event in told if "last" in event] == [("blue", "2026-12")]
    assert world.accounts.standing(ONE) is Standing.listed, "it turns nobody away"
    world.monthly.stopService()
    assert not world.clock.getDelayedCalls()


@pytest.mark.parametrize("enabled", [True, False])
def test_attached_clients_of_the_account_are_told_if_that_is_switched_on(world: World, enabled: bool) -> None:
    world.accounts.add(Account("blue", b"s" * 16, MADE, update_notification=enabled))
    result(lambda: world.monthly.applied("blue"))
    assert world.judged == 1
    assert world.told == ([ONE, TWO] if enabled else [])
