"""All targets, and whoever has something to tell them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Final

import msgspec
from twisted.application.service import Service
from twisted.internet.defer import Deferred, DeferredList
from twisted.internet.interfaces import IReactorTime

from haproxy.notification.courier import Courier, Poster
from haproxy.notification.event import Change, announce, test
from haproxy.notification.outbox import Outbox, Outcome
from haproxy.notification.target import Target
from rtlib.outcome import gathered

STOP_GRACE: Final = 1.0
"""Seconds that the last notifications get when the daemon stops."""


@dataclass(frozen=True, slots=True)
class Sender:
    """Who tells."""

    system: str
    node: str


class Notifications(Service):
    """Tells every target of every change, in order, and never blocks."""

    def __init__(
        self,
        clock: IReactorTime,
        sender: Sender,
        targets: Iterable[Target],
        *,
        poster: Callable[[Target], Poster],
        now: Callable[[], float],
        wall: Callable[[], float],
        entropy: Callable[[int], bytes],
        random: Callable[[], float],
    ) -> None:
        """`poster` makes what delivers; `clock` is for timers.

        `now` is monotonic, `wall` gives seconds of UTC, `random` numbers from 0 to 1.
        """
        self._clock = clock
        self._sender = sender
        self._poster = poster
        self._now = now
        self._wall = wall
        self._entropy = entropy
        self._random = random
        self._couriers: dict[str, Courier] = {}
        self.replace(targets)

    def __iter__(self) -> Iterator[Courier]:
        return iter(self._couriers.values())

    def report(self, change: Change) -> None:
        """Tell all targets."""
        body = self._body(change)
        for courier in self:
            courier.put(body)

    def replace(self, targets: Iterable[Target]) -> None:
        """Take other targets. Those that stay keep what waits for them, which is tried at once."""
        before, self._couriers = self._couriers, {}
        for target in targets:
            courier = before.pop(target.name, None)
            if courier is None:
                courier = Courier(self._clock, self._now, target, self._poster(target), Outbox(self._random))
            elif courier.target != target:
                courier.use(target, self._poster(target))
            self._couriers[target.name] = courier
        for courier in before.values():
            courier.give_up()
        if self.running:
            for courier in self:
                courier.start()

    async def test(self, name: str | None) -> dict[str, Outcome]:
        """Send one that means nothing to the target of this name, or to all, past those that wait.

        What came of it, by name; nothing where there is no such target.
        """
        couriers = [each for each in self if name in (None, each.target.name)]
        body = self._body(test(self._sender.node))
        outcomes = await gathered([Deferred.fromCoroutine(each.test(body)) for each in couriers])
        return {each.target.name: outcome for each, outcome in zip(couriers, outcomes, strict=True)}

    def startService(self) -> None:
        """Begin to deliver."""
        super().startService()
        for courier in self:
            courier.start()

    def stopService(self) -> Deferred[None]:
        """Deliver what waits, within STOP_GRACE seconds."""
        super().stopService()
        return Deferred.fromCoroutine(self._finish())

    async def _finish(self) -> None:
        stopped: list[Deferred[None]] = [courier.stop() for courier in self]
        timer = self._clock.callLater(STOP_GRACE, self._cut, stopped)
        await DeferredList(stopped, consumeErrors=True)
        if timer.active():
            timer.cancel()
        for courier in self:
            courier.give_up()

    @staticmethod
    def _cut(stopped: list[Deferred[None]]) -> None:
        for each in stopped:
            each.cancel()

    def _body(self, change: Change) -> bytes:
        id, now = self._entropy(16).hex(), self._wall()
        sender = self._sender
        return msgspec.json.encode(announce(change, id=id, time=now, system=sender.system, node=sender.node))
