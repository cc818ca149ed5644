from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import Any

import pytest
from twisted.internet.task import Clock
from twisted.logger import ILogObserver, LogEvent, globalLogPublisher
from zope.interface import provider

from rtlib import driver as driver_module
from rtlib.driver import Driver


class Echo:
    """Echoes; `later DELAY TEXT` sends TEXT after DELAY, `event X` makes an event, `raise` is a defect."""

    def __init__(self) -> None:
        self.out: list[tuple[bytes, int]] = []
        self.events: deque[str] = deque()
        self.timers: list[tuple[float, bytes, int]] = []

    def receive(self, data: bytes, source: int, now: float) -> None:
        verb, *words = data.decode().split()
        if verb == "later":
            self.timers.append((now + float(words[0]), words[1].encode(), source))
        elif verb == "event":
            self.events.append(words[0])
        elif verb == "raise":
            raise RuntimeError("defect")
        else:
            self.out.append((data, source))

    def to_send(self, now: float) -> list[tuple[bytes, int]]:
        out, self.out = self.out, []
        return out

    def get_timer(self) -> float | None:
        return min((timer[0] for timer in self.timers), default=None)

    def handle_timer(self, now: float) -> None:
        due = [timer for timer in self.timers if timer[0] <= now]
        self.timers = [timer for timer in self.timers if timer[0] > now]
        self.out += [(data, source) for _, data, source in due]

    def next_event(self) -> str | None:
        return self.events.popleft() if self.events else None


class World:
    def __init__(self, slack: float = 0.0) -> None:
        self.clock: Any = Clock()
        self.machine = Echo()
        self.sent: list[list[tuple[bytes, int]]] = []
        self.seen: list[str] = []
        self.driver = Driver(
            self.machine, self.clock, self.sent.append, self.on_event, now=self.clock.seconds, slack=slack
        )

    def on_event(self, event: str) -> None:
        self.seen.append(event)


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
def failures() -> Iterator[list[BaseException]]:
    seen: list[BaseException] = []

    @provider(ILogObserver)
    def observe(event: LogEvent) -> None:
        if "log_failure" in event:
            seen.append(event["log_failure"].value)

    globalLogPublisher.addObserver(observe)
    yield seen
    globalLogPublisher.removeObserver(observe)


def test_a_batch_is_answered_with_one_send(world: World) -> None:
    world.driver.receive([(b"a", 1), (b"b", 2)])
    assert world.sent == [[(b"a", 1), (b"b", 2)]]


def test_one_timer_fires_when_due(world: World) -> None:
    world.driver.receive([(b"later 5 x", 1), (b"later 2 y", 1), (b"later 9 z", 1)])
    assert len(world.clock.getDelayedCalls()) == 1
    world.clock.advance(1.99)
    assert world.sent == []
    world.clock.advance(0.01)
    assert world.sent == [[(b"y", 1)]]
    assert len(world.clock.getDelayedCalls()) == 1
    world.clock.pump([3, 4])
    assert world.sent[1:] == [[(b"x", 1)], [(b"z", 1)]]
    assert world.clock.getDelayedCalls() == []


def test_an_earlier_timer_replaces_the_armed_one_and_a_cancelled_one_goes(world: World) -> None:
    world.driver.receive([(b"later 9 x", 1)])
    world.driver.receive([(b"later 1 y", 1)])
    assert [call.getTime() for call in world.clock.getDelayedCalls()] == [1.0]
    world.machine.timers.clear()
    world.driver.flush()
    assert world.clock.getDelayedCalls() == []


def test_a_timer_is_late_by_no_more_than_the_slack() -> None:
    world = World(slack=0.5)
    world.driver.receive([(b"later 9 x", 1)])
    world.driver.receive([(b"later 1 y", 1)])
    assert [call.getTime() for call in world.clock.getDelayedCalls()] == [1.0]
    world.clock.advance(0.4)
    world.driver.receive([(b"later 0.3 z", 1)])
    assert [call.getTime() for call in world.clock.getDelayedCalls()] == [0.7], "1.0 is too late for it"
    world.driver.receive([(b"later 0.2 w", 1)])
    assert [call.getTime() for call in world.clock.getDelayedCalls()] == [0.7]
    world.clock.advance(0.3)
    assert world.sent == [[(b"z", 1), (b"w", 1)]]
    assert [call.getTime() for call in world.clock.getDelayedCalls()] == [1.0]


def test_events_come_after_what_was_sent_and_may_call_verbs_and_flush(world: World) -> None:
    order: list[tuple[str, object]] = []
    world.driver._send = lambda batch: order.append(("send", batch[0][0]))

    def on_event(event: str) -> None:
        order.append(("event", event))
        world.machine.receive(b"from-event", 1, 0)
        world.driver.flush()  # under way already: must not recurse
        order.append(("end", event))

    world.driver._on_event = on_event
    world.driver.receive([(b"first", 1), (b"event e1", 1)])
    assert order == [("send", b"first"), ("event", "e1"), ("end", "e1"), ("send", b"from-event")]


def test_what_several_events_lead_to_goes_out_together(world: World) -> None:
    world.driver._on_event = lambda event: world.machine.receive(event.encode(), 1, 0)
    world.driver.receive([(b"event e1", 1), (b"event e2", 1)])
    assert world.sent == [[(b"e1", 1), (b"e2", 1)]]


def test_no_event_is_handed_out_after_stop(world: World) -> None:
    def on_event(event: str) -> None:
        world.seen.append(event)
        world.driver.stop()

    world.driver._on_event = on_event
    world.driver.receive([(b"event e1", 1), (b"event e2", 1)])
    assert world.seen == ["e1"]


def test_a_failing_event_is_logged_and_the_others_run(world: World, failures: list[BaseException]) -> None:
    def on_event(event: str) -> None:
        world.seen.append(event)
        if event == "bad":
            raise ValueError("no")

    world.driver._on_event = on_event
    world.driver.receive([(b"event bad", 1), (b"event good", 1), (b"later 1 x", 1)])
    assert world.seen == ["bad", "good"]
    assert [str(value) for value in failures] == ["no"]
    world.clock.advance(1)
    assert world.sent == [[(b"x", 1)]]


def test_a_failing_message_is_logged_and_the_others_are_fed(
    world: World, failures: list[BaseException]
) -> None:
    world.driver.receive([(b"raise", 1), (b"a", 1)])
    assert world.sent == [[(b"a", 1)]]
    assert [str(value) for value in failures] == ["defect"]


def test_a_failing_send_keeps_the_timer_alive(world: World, failures: list[BaseException]) -> None:
    def send(batch: list[tuple[bytes, int]]) -> None:
        raise OSError("no")

    world.driver._send = send
    world.driver.receive([(b"a", 1), (b"later 1 x", 1)])
    assert len(failures) == 1 and len(world.clock.getDelayedCalls()) == 1


def test_endless_events_leave_the_reactor_a_turn(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(driver_module, "EVENTS_PER_FLUSH", 10)

    def on_event(event: str) -> None:
        world.seen.append(event)
        if len(world.seen) < 25:
            world.machine.events.append("again")

    world.driver._on_event = on_event
    world.driver.receive([(b"event x", 1)])
    assert len(world.seen) == 10
    assert [call.getTime() for call in world.clock.getDelayedCalls()] == [0]
    world.clock.advance(0)
    assert len(world.seen) == 25
    assert world.clock.getDelayedCalls() == []


def test_stop_cancels_the_timer_and_ends_all_work(world: World) -> None:
    world.driver.receive([(b"later 1 x", 1)])
    world.driver.stop()
    assert world.clock.getDelayedCalls() == []
    world.driver.receive([(b"a", 1)])
    world.driver.flush()
    assert world.sent == [] and world.clock.getDelayedCalls() == []
