"""How late the reactor is."""

from __future__ import annotations

import pytest
from twisted.internet.task import Clock
from twisted.logger import ILogObserver, LogEvent, globalLogPublisher
from zope.interface import provider

from rtlib.lateness import INTERVAL, PAUSE, Lateness
from rtlib.metrics import Metrics


def test_what_is_late_is_counted_and_the_longest_told_once() -> None:
    clock = Clock()
    lateness = Lateness(clock)
    lateness.startService()
    clock.advance(INTERVAL)
    assert lateness.late.total() == 0
    clock.advance(INTERVAL + 0.03)
    clock.advance(INTERVAL + 0.2)
    clock.advance(INTERVAL + 0.001)
    assert dict(lateness.late) == {"5": 2, "20": 2, "100": 1, "500": 0}
    metrics = Metrics("x", "1")
    lateness.add_to(metrics)
    text = metrics.text().decode()
    assert 'x_reactor_late_total{ms="100"} 1.0' in text
    [longest] = [line for line in text.splitlines() if line.startswith("x_reactor_late_longest_seconds ")]
    assert float(longest.split()[1]) == pytest.approx(0.2)
    assert lateness.take_longest() == 0.0
    lateness.stopService()
    assert clock.getDelayedCalls() == []


def test_who_stands_still_for_long_is_warned_of_once_in_a_while() -> None:
    events: list[LogEvent] = []

    @provider(ILogObserver)
    def observe(event: LogEvent) -> None:
        events.append(event)

    clock = Clock()
    lateness = Lateness(clock)
    lateness.startService()
    globalLogPublisher.addObserver(observe)
    try:
        for _ in range(3):
            clock.advance(1.0)
        clock.advance(PAUSE)
    finally:
        globalLogPublisher.removeObserver(observe)
    assert [event["late"] for event in events if "late" in event] == [950, 59950]
