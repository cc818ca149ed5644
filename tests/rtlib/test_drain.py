"""Draining, on a clock of its own."""

from __future__ import annotations

import pytest
from twisted.internet.task import Clock

from rtlib.command.registry import BadArgument, Conflict
from rtlib.drain import INTERVAL, REFUSAL, Drain, ask


class Server:
    """What a drain acts on."""

    def __init__(self, calls: int) -> None:
        self.clock = Clock()
        self.calls = calls
        self.refusal = ""
        self.stopped = 0
        self.events: list[str] = []
        self.drain = Drain(
            self.clock,
            refuse=lambda reason: setattr(self, "refusal", reason),
            calls=lambda: self.calls,
            stop=self._stop,
            notify=self.events.append,
        )

    def ask(self, patience: int = 3600, *, cancel: bool = False) -> str:
        """What the command does."""
        return ask(self.drain, patience, cancel)

    def _stop(self) -> None:
        self.stopped += 1

    def advance(self, seconds: float) -> None:
        """Let time pass, look by look."""
        for _ in range(round(seconds / INTERVAL)):
            self.clock.advance(INTERVAL)


def test_it_stops_after_the_last_call() -> None:
    server = Server(calls=2)
    assert "have ended: 2" in server.ask()
    assert server.refusal == REFUSAL
    server.advance(100)
    server.calls = 1
    server.advance(100)
    assert server.stopped == 0
    server.calls = 0
    server.advance(1)
    assert server.stopped == 1
    assert not server.clock.getDelayedCalls()


def test_without_calls_it_answers_first_and_stops_then() -> None:
    server = Server(calls=0)
    server.ask()
    assert server.stopped == 0
    server.clock.advance(INTERVAL)
    assert server.stopped == 1


def test_patience_ends() -> None:
    server = Server(calls=1)
    server.ask(patience=10)
    server.advance(9)
    assert server.stopped == 0
    server.advance(2)
    assert server.stopped == 1


def test_cancel() -> None:
    server = Server(calls=1)
    with pytest.raises(Conflict, match="not being drained"):
        server.ask(cancel=True)
    server.ask()
    with pytest.raises(Conflict, match="already"):
        server.ask()
    server.ask(cancel=True)
    assert server.refusal == ""
    assert server.events == ["draining", "draining cancelled"]
    server.calls = 0
    server.advance(10)
    assert server.stopped == 0
    server.ask()
    server.advance(1)
    assert server.stopped == 1


def test_a_stop_for_another_reason_leaves_no_timer() -> None:
    server = Server(calls=1)
    server.drain.startService()
    server.ask()
    server.drain.stopService()
    assert not server.clock.getDelayedCalls()


@pytest.mark.parametrize("patience", [-1, 86401])
def test_wrong_patience(patience: int) -> None:
    server = Server(calls=0)
    with pytest.raises(BadArgument):
        server.ask(patience=patience)
    assert not server.drain.active
