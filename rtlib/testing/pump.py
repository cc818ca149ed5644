"""A wire in memory between sans-IO machines: loss, duplicates, delay and reordering by a seeded dice.

Time is a number that the pump moves: nothing waits.
"""

from __future__ import annotations

import heapq
import random
from collections.abc import Hashable
from itertools import count
from typing import Any, Generic, TypeVar

from rtlib.machine import Machine

Address = TypeVar("Address", bound=Hashable)


class Pump(Generic[Address]):
    """Delivers between machines, each under its address, until nothing is left or time is up.

    A machine's datagram to an address that nobody has is dropped and counted in `lost`.
    """

    def __init__(
        self,
        *,
        seed: int = 0,
        loss: float = 0.0,
        duplicate: float = 0.0,
        delay: float = 0.01,
        jitter: float = 0.0,
    ) -> None:
        """`loss` and `duplicate` are probabilities; `delay` plus up to `jitter` seconds pass per datagram."""
        self.now = 0.0
        self.lost = 0
        self.delivered = 0
        self.events: dict[Address, list[Any]] = {}
        self._machines: dict[Address, Machine[Address, Any]] = {}
        self._wire: list[tuple[float, int, bytes, Address, Address]] = []
        self._order = count()
        self._dice = random.Random(seed)
        self._loss, self._duplicate, self._delay, self._jitter = loss, duplicate, delay, jitter

    def add(self, address: Address, machine: Machine[Address, Any]) -> None:
        """Connect a machine; its events collect in `events[address]`."""
        self._machines[address] = machine
        self.events[address] = []

    def run(self, seconds: float = 64.0) -> None:
        """Move time on by `seconds`, delivering and firing timers in order; stops early when all is quiet."""
        until = self.now + seconds
        self._collect()
        while (when := self._next()) is not None and when <= until:
            self.now = max(self.now, when)
            self._deliver()
            self._fire()
            self._collect()
        self.now = until

    def _next(self) -> float | None:
        timers = [machine.get_timer() for machine in self._machines.values()]
        wire = [self._wire[0][0]] if self._wire else []
        return min([*wire, *(timer for timer in timers if timer is not None)], default=None)

    def _deliver(self) -> None:
        while self._wire and self._wire[0][0] <= self.now:
            _, _, data, sender, target = heapq.heappop(self._wire)
            self.delivered += 1
            self._machines[target].receive(data, sender, self.now)

    def _fire(self) -> None:
        for machine in self._machines.values():
            timer = machine.get_timer()
            if timer is not None and timer <= self.now:
                machine.handle_timer(self.now)

    def _collect(self) -> None:
        for address, machine in self._machines.items():
            while (event := machine.next_event()) is not None:
                self.events[address].append(event)
            for data, target in machine.to_send(self.now):
                self._send(data, address, target)

    def _send(self, data: bytes, sender: Address, target: Address) -> None:
        if target not in self._machines or self._dice.random() < self._loss:
            self.lost += 1
            return
        for _ in range(2 if self._dice.random() < self._duplicate else 1):
            when = self.now + self._delay + self._dice.random() * self._jitter
            heapq.heappush(self._wire, (when, next(self._order), data, sender, target))
