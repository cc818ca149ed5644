"""When garbage is looked for."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Iterator

import pytest
from twisted.internet.task import Clock

from rtlib import collector
from rtlib.collector import INTERVAL, THOROUGH, Collector


class Knot:
    """It refers to itself: only the collector finds it."""

    def __init__(self) -> None:
        self.itself = self


def knot() -> weakref.ref[Knot]:
    return weakref.ref(Knot())


@pytest.fixture
def clock() -> Iterator[Clock]:
    clock = Clock()
    service = Collector(clock)
    service.startService()
    yield clock
    service.stopService()
    assert gc.isenabled()
    assert clock.getDelayedCalls() == []


def test_python_itself_never_looks_through_all_that_lives(clock: Clock) -> None:
    assert not gc.isenabled()


def test_new_garbage_is_found_at_the_next_look(clock: Clock) -> None:
    one = knot()
    assert one() is not None
    clock.advance(INTERVAL)
    assert one() is None


def test_what_has_outlived_a_look_is_not_gone_through_again(clock: Clock) -> None:
    looked_at: list[int] = []

    def note(phase: str, info: dict[str, int]) -> None:
        if phase == "start":
            looked_at.append(len(gc.get_objects(generation=0)))

    alive: list[list[int]] = [[] for _ in range(50_000)]
    gc.callbacks.append(note)
    try:
        clock.pump([INTERVAL] * 5)
    finally:
        gc.callbacks.remove(note)
    assert len(looked_at) == 5
    assert looked_at[0] >= len(alive)
    assert max(looked_at[1:]) < 5_000


def old_knot(clock: Clock) -> weakref.ref[Knot]:
    one = Knot()
    clock.advance(INTERVAL)
    return weakref.ref(one)


def test_old_garbage_is_found_where_little_is_alive(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(collector, "FEW", 10_000_000)
    one = old_knot(clock)
    clock.pump([INTERVAL] * (THOROUGH - 2))
    assert one() is not None
    clock.advance(INTERVAL)
    assert one() is None


def test_old_garbage_waits_while_much_is_alive(clock: Clock) -> None:
    alive: list[list[int]] = [[] for _ in range(collector.FEW)]
    one = old_knot(clock)
    clock.pump([INTERVAL] * THOROUGH)
    assert one() is not None
    alive.clear()
    clock.pump([INTERVAL] * THOROUGH)
    assert one() is None
