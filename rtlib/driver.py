"""The one bridge between a sans-IO machine (`rtlib.machine`) and Twisted: one send and one timer per
batch.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Generic, TypeVar

from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

from rtlib.machine import Machine

Source = TypeVar("Source")
Event = TypeVar("Event")

EVENTS_PER_FLUSH = 1000
"""A flush that has handed out this many events goes on in the next turn of the reactor, so that others
run.
"""

log = Logger()


class Driver(Generic[Source, Event]):
    """Feeds a machine, sends what it wants sent, hands out its events, and keeps its single timer.

    `send` gets each batch of `to_send`, in order. `on_event` may call the machine's verbs and `flush`; it
    may raise: that is logged, and the other events are still handed out. `now` must be the clock that the
    machine's times are on. `slack` is how many seconds a timer may be late: while one is armed for so soon,
    the machine is not asked for its next one.
    """

    def __init__(
        self,
        machine: Machine[Source, Event],
        clock: IReactorTime,
        send: Callable[[list[tuple[bytes, Source]]], None],
        on_event: Callable[[Event], None],
        now: Callable[[], float] = time.monotonic,
        *,
        slack: float = 0.0,
    ) -> None:
        self._machine = machine
        self._clock = clock
        self._send = send
        self._on_event = on_event
        self._now = now
        self._slack = slack
        self._timer: IDelayedCall | None = None
        self._timer_due = 0.0
        self._flushing = False
        self._stopped = False

    def receive(self, batch: list[tuple[bytes, Source]]) -> None:
        """Give the machine what came in, then `flush`. Nothing raises out of here."""
        if self._stopped:
            return
        now = self._now()
        receive = self._machine.receive
        for data, source in batch:
            try:
                receive(data, source, now)
            except Exception:  # noqa: BLE001 - a defect met by one message must not lose the batch
                log.failure("a message was dropped because handling it failed")
        self.flush()

    def flush(self) -> None:
        """Send and hand out all that is pending and re-arm the timer; call after any other verb of the
        machine.

        Called from `on_event`, it leaves the work to the flush that is under way.
        """
        if self._flushing or self._stopped:
            return
        self._flushing = True
        try:
            unfinished = self._drain()
        except Exception:  # noqa: BLE001 - the timer must be re-armed, or the machine never wakes again
            log.failure("what was received was left undone, or was not sent")
            unfinished = False
        finally:
            self._flushing = False
        self._arm(unfinished)

    def stop(self) -> None:
        """Cancel the timer and do nothing from now on, whatever is called; what is pending is not sent."""
        self._stopped = True
        self._disarm()

    def _drain(self) -> bool:
        """Alternate sending and events until both are empty; True if the bound ended it first."""
        left = EVENTS_PER_FLUSH
        while left:
            self._transmit()
            handed_out = self._hand_out(left)
            if self._stopped or not handed_out:
                return False
            left -= handed_out
        self._transmit()
        return True

    def _transmit(self) -> None:
        batch = self._machine.to_send(self._now())
        if batch:
            self._send(batch)

    def _hand_out(self, limit: int) -> int:
        """Hand out all events that there are, `limit` at most; give how many."""
        for number in range(limit):
            event = None if self._stopped else self._machine.next_event()
            if event is None:
                return number
            try:
                self._on_event(event)
            except Exception:  # noqa: BLE001 - the events behind this one belong to other calls
                log.failure("handling {event} failed", event=type(event).__name__)
        return limit

    def _arm(self, at_once: bool) -> None:
        if self._stopped:
            return
        if not at_once and self._timer is not None and self._timer_due <= self._now() + self._slack:
            return
        due = self._now() if at_once else self._machine.get_timer()
        if due is None:
            self._disarm()
        elif self._timer is None or due < self._timer_due:
            self._disarm()
            self._timer_due = due
            self._timer = self._clock.callLater(max(0.0, due - self._now()), self._wake)
        # A timer that fires before it is due finds nothing to do and is armed anew: that is
        # cheaper than moving it each time the earliest of many protocol timers is cancelled.

    def _disarm(self) -> None:
        timer, self._timer = self._timer, None
        if timer is not None:
            timer.cancel()

    def _wake(self) -> None:
        self._timer = None
        try:
            self._machine.handle_timer(self._now())
        except Exception:  # noqa: BLE001 - the timer must be re-armed, or the machine never wakes again
            log.failure("a timer's work failed")
        self.flush()
