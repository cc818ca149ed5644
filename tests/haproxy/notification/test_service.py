"""All targets together: order, one bad target, reload, stop, and a day of failures."""

from __future__ import annotations

import gc
import json
import tracemalloc
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from haproxy.notification.event import node_changed
from haproxy.notification.outbox import LIMIT, Outcome
from haproxy.notification.service import STOP_GRACE, Notifications, Sender
from haproxy.notification.target import Target, Url

GOOD, BAD = Outcome(204), Outcome(500, "500 Internal Server Error")
DAY = 86400


class Server:
    """Takes what is posted to a target; answers a second later, unless it hangs."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.outcome = GOOD
        self.hangs = False
        self.taken: list[str] = []

    async def post(self, body: bytes) -> Outcome:
        answer: Deferred[None] = Deferred()
        if not self.hangs:
            self.clock.callLater(1.0, answer.callback, None)
        await answer
        if not self.outcome.error:
            self.taken.append(json.loads(body)["reason"])
        return self.outcome


class Hall:
    """Notifications on a clock, with a server for each target."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.servers: dict[str, Server] = {}
        self.made: list[Target] = []
        self.all = Notifications(
            self.clock,
            Sender("genproxysa", "node1"),
            [],
            poster=self.make,
            now=self.clock.seconds,
            wall=lambda: 1.0,
            entropy=lambda size: bytes(size),
            random=lambda: 1.0,
        )

    def make(self, target: Target) -> Server:
        self.made.append(target)
        return self.servers.setdefault(target.name, Server(self.clock))

    def use(self, *names: str, **more: Any) -> None:
        self.all.replace([Target(name, Url.of(name), **more) for name in names])

    def report(self, *reasons: str) -> None:
        for reason in reasons:
            self.all.report(node_changed("node1", "offline", "online", reason))

    def box(self, name: str) -> Any:
        return next(each.outbox for each in self.all if each.target.name == name)

    def pass_time(self, seconds: float) -> None:
        self.clock.pump([0.5] * int(seconds * 2))


@pytest.fixture
def hall() -> Hall:
    return Hall()


def test_all_are_told_in_order_from_the_start_on(hall: Hall) -> None:
    hall.use("a", "b")
    hall.report("1")
    hall.all.startService()
    hall.report("2", "3")
    hall.pass_time(3)
    assert hall.servers["a"].taken == hall.servers["b"].taken == ["1", "2", "3"]
    assert hall.clock.getDelayedCalls() == []


def test_one_that_hangs_or_fails_harms_no_other(hall: Hall) -> None:
    hall.use("a", "hangs", "fails")
    hall.all.startService()
    hall.servers["hangs"].hangs = True
    hall.servers["fails"].outcome = BAD
    hall.report(*"123")
    hall.pass_time(60)
    assert hall.servers["a"].taken == ["1", "2", "3"]
    assert (len(hall.box("hangs")), len(hall.box("fails"))) == (3, 3)
    hall.servers["fails"].outcome = GOOD
    hall.pass_time(70)
    assert hall.servers["fails"].taken == ["1", "2", "3"]


def test_a_reload_changes_targets_and_loses_nothing(hall: Hall) -> None:
    hall.use("a", "b", "gone")
    hall.all.startService()
    for server in hall.servers.values():
        server.outcome = BAD
    hall.report(*"12")
    hall.pass_time(100)
    made = len(hall.made)
    hall.servers["b"].outcome = GOOD
    hall.all.replace(
        [Target("a", Url.of("a")), replace(Target("b", Url.of("b")), user="new"), Target("c", Url.of("c"))]
    )
    assert [target.name for target in hall.made[made:]] == ["b", "c"]
    hall.report("3")
    hall.pass_time(4)
    assert hall.servers["b"].taken == ["1", "2", "3"]
    assert hall.servers["c"].taken == ["3"]
    assert [courier.target.name for courier in hall.all] == ["a", "b", "c"]
    assert len(hall.box("a")) == 3
    hall.servers["gone"].outcome = GOOD
    hall.pass_time(100)
    assert hall.servers["gone"].taken == []


def test_a_reload_during_an_attempt(hall: Hall) -> None:
    hall.use("a")
    hall.all.startService()
    hall.report(*"12")
    hall.use("a", user="new")
    hall.pass_time(2)
    assert hall.servers["a"].taken == ["1", "2"]
    hall.report("3")
    hall.use()
    hall.pass_time(2)
    assert list(hall.all) == []
    assert hall.clock.getDelayedCalls() == []


def stopped(hall: Hall) -> list[float]:
    """When the service has stopped."""
    times: list[float] = []
    hall.all.stopService().addCallback(lambda _: times.append(hall.clock.seconds()))
    return times


def test_a_stop_delivers_what_waits(hall: Hall) -> None:
    hall.use("a", "b")
    hall.all.startService()
    hall.servers["a"].clock = quick = Clock()
    hall.servers["b"].clock = quick
    hall.report(*"12")
    times = stopped(hall)
    quick.pump([1.0] * 3)
    assert hall.servers["a"].taken == ["1", "2"]
    assert times == [0.0]


def test_a_stop_does_not_wait_for_those_that_hang(hall: Hall) -> None:
    hall.use("hangs", "fails")
    hall.all.startService()
    hall.servers["hangs"].hangs = True
    hall.servers["fails"].outcome = BAD
    hall.report(*"12")
    hall.pass_time(10)
    times = stopped(hall)
    hall.pass_time(3)
    assert times == [pytest.approx(10 + STOP_GRACE, abs=0.5)]
    assert hall.box("fails").dropped == 2
    assert hall.clock.getDelayedCalls() == []


def test_a_test_goes_past_those_that_wait_and_makes_them_follow(hall: Hall) -> None:
    hall.use("a", "b")
    hall.all.startService()
    hall.servers["a"].outcome = BAD
    hall.report(*"12")
    hall.pass_time(100)

    def outcomes(name: str | None) -> dict[str, Outcome]:
        found: list[dict[str, Outcome]] = []
        Deferred.fromCoroutine(hall.all.test(name)).addCallback(found.append)
        hall.pass_time(1)
        return found[0]

    assert outcomes(None) == {"a": BAD, "b": GOOD}
    assert outcomes("nobody") == {}
    hall.servers["a"].outcome = GOOD
    assert outcomes("a") == {"a": GOOD}
    hall.pass_time(2)
    assert hall.servers["a"].taken == ["asked for by an operator", "1", "2"]


def test_after_a_day_of_failures_the_memory_is_the_same(hall: Hall) -> None:
    hall.use("a")
    hall.all.startService()
    hall.servers["a"].outcome = BAD

    def hours(number: int, report: Callable[[int], object]) -> int:
        for second in range(0, number * 3600, 30):
            report(second)
            hall.clock.advance(30)
        gc.collect()
        return tracemalloc.get_traced_memory()[0]

    tracemalloc.start()
    try:
        before = hours(9, lambda second: hall.report(f"{second:06d}"))
        assert len(hall.box("a")) == LIMIT
        after = hours(24, lambda second: hall.report(f"{second:06d}"))
    finally:
        tracemalloc.stop()
    assert after - before < 60_000
    box = hall.box("a")
    assert len(box) == LIMIT
    assert box.dropped == 33 * 120 - LIMIT
    hall.servers["a"].outcome = GOOD
    hall.pass_time(LIMIT + 120)
    assert hall.servers["a"].taken == [f"{second:06d}" for second in range(0, DAY, 30)][-LIMIT:]
