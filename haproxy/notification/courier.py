"""Brings the notifications of one outbox to their server, one after the other."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

from haproxy.notification.outbox import Outbox, Outcome
from haproxy.notification.target import Target

log = Logger()


class Poster(Protocol):
    """What delivers."""

    async def post(self, body: bytes) -> Outcome:
        """Deliver one notification; never raises, and ends within a bounded time."""


class Courier:
    """One target's outbox, and the timer that empties it."""

    def __init__(
        self, clock: IReactorTime, now: Callable[[], float], target: Target, poster: Poster, outbox: Outbox
    ) -> None:
        """`clock` is for timers, whose `seconds` may jump; `now` is monotonic."""
        self.target = target
        self.outbox = outbox
        self._clock = clock
        self._now = now
        self._poster = poster
        self._timer: IDelayedCall | None = None
        self._running = False
        self._full = False
        self._idle: Deferred[None] | None = None

    def start(self) -> None:
        """Begin with what waits."""
        self._running = True
        self._go()

    def use(self, target: Target, poster: Poster) -> None:
        """Deliver in another way from now on, what waits included; the present attempt goes on."""
        self.target, self._poster = target, poster
        self.outbox.hurry()

    def put(self, body: bytes) -> None:
        """Deliver this after all before."""
        room = self.outbox.put(body)
        if not room and not self._full:
            log.warn("too many notifications wait for {name}: the oldest are dropped", name=self.target.name)
        self._full = not room
        self._go()

    def hurry(self) -> None:
        """Try again now."""
        self.outbox.hurry()
        self._go()

    async def test(self, body: bytes) -> Outcome:
        """Deliver this beside all others; if it arrives they are tried at once."""
        outcome = await self._poster.post(body)
        if not outcome.error:
            self.hurry()
        return outcome

    def stop(self) -> Deferred[None]:
        """Try everything that waits once more, until an attempt fails; fires after that."""
        self._running = False
        self._cancel()
        self.outbox.hurry()
        self._attempt()
        if not self.outbox.trying:
            return succeed(None)
        self._idle = Deferred()
        return self._idle

    def give_up(self) -> None:
        """Forget what waits, and when to try again."""
        self._running = False
        self._cancel()
        if self.outbox.clear():
            log.warn("what waited for {name} is dropped", name=self.target.name)

    def _go(self) -> None:
        """Make the next attempt now, or when it is due."""
        if not self._running:
            return
        self._cancel()
        self._attempt()
        due = self.outbox.get_timer()
        if due is not None:
            self._timer = self._clock.callLater(max(0.0, due - self._now()), self._go)

    def _attempt(self) -> None:
        body = self.outbox.due(self._now())
        if body is not None:
            Deferred.fromCoroutine(self._try(body))

    async def _try(self, body: bytes) -> None:
        outcome = await self._poster.post(body)
        before, failing = self.outbox.last, self.outbox.failing
        self.outbox.ended(outcome, self._now())
        self._tell(before if failing else Outcome(), failing)
        if self._running:
            self._go()
        elif not self.outbox.failing:
            self._attempt()
        if self._idle is not None and not self.outbox.trying:
            idle, self._idle = self._idle, None
            idle.callback(None)

    def _tell(self, before: Outcome, failing: bool) -> None:
        """Say what is new: not each of a day's failures."""
        outbox, name = self.outbox, self.target.name
        if outbox.failing and outbox.last.error != before.error:
            log.warn(
                "{name} was not notified: {error}; it is tried again, {count} wait",
                name=name,
                error=outbox.last.error,
                count=len(outbox),
            )
        elif failing and not outbox.failing:
            log.info("{name} is notified again", name=name)
        if outbox.last.error and not outbox.failing:
            log.warn("{name} did not want a notification: {error}", name=name, error=outbox.last.error)

    def _cancel(self) -> None:
        timer, self._timer = self._timer, None
        if timer is not None and timer.active():
            timer.cancel()
