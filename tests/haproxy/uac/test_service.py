"""Log, notifier, and the end, within its time."""

from collections.abc import Callable
from typing import Any

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from haproxy.proxy.event import RegistrationChanged
from haproxy.uac.service import LEAVE, OutboundRegistrations


class Told:
    """What a notifier was told."""

    def __init__(self) -> None:
        self.events: list[tuple[str, str]] = []

    def notify(self, unit: str, event: str) -> None:
        self.events.append((unit, event))


class World:
    """The service around one proxy's registrations, all events handed on."""

    def __init__(self, line: Any) -> None:
        self.line = line
        self.clock = Clock()
        self.told = Told()
        self.service = OutboundRegistrations(
            self.clock, line.registrations, flush=self.flush, notifier=self.told, now=lambda: line.now
        )

    def flush(self) -> None:
        self.line.collect()
        for event in self.line.events:
            if isinstance(event, RegistrationChanged):
                self.service.changed(event)
        self.line.events.clear()

    def leave(self) -> Deferred[None]:
        return Deferred.fromCoroutine(self.service.leave())


@pytest.fixture
def world(off: Callable[..., Any]) -> World:
    made = World(off())
    made.service.startService()
    made.line.advance(0.1)
    return made


def test_ups_and_downs_are_told(world: World) -> None:
    world.line.accept(3600)
    world.flush()
    assert world.service.refresh("line1")
    world.line.answer(403)
    world.flush()
    name = "registration line1 (sip:alice@provider.example) at 198.51.100.9"
    failed = "failed: 403 Forbidden; next attempt in 180 s"
    expected = [f"{name} is registered for 3600 s", f"{name} {failed}"]
    assert world.told.events == [("genproxy/registration", text) for text in expected]


def test_a_failure_of_another_kind_is_no_new_event(world: World) -> None:
    for status in (403, 404):
        world.line.answer(status)
        world.flush()
        world.service.refresh("line1")
    assert len(world.told.events) == 1


def test_the_end_waits_for_the_registrar(world: World) -> None:
    world.line.accept()
    left = world.leave()
    assert not left.called
    world.line.answer(200)
    world.flush()
    assert left.called
    assert len(world.told.events) == 1  # whoever stops the proxy knows
    assert world.clock.getDelayedCalls() == []


def test_but_not_for_ever(world: World) -> None:
    world.line.accept()
    left = world.leave()
    world.clock.advance(LEAVE)
    assert left.called


def test_nothing_to_leave(world: World) -> None:
    world.line.answer(403)
    assert world.leave().called
