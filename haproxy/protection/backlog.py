"""Messages that wait until those of others have been worked on."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from itertools import groupby
from operator import itemgetter
from typing import Final, TypeAlias

from twisted.internet.interfaces import IDelayedCall, IReactorTime

from haproxy.protection.guard import Datagrams
from rtlib.address import Address

WAITING: Final = 1024
"""Messages that wait at a time; as many as four sources may send at once by default."""

SHARE: Final = 2
"""Messages for one turn of the reactor: what others send meanwhile waits some tenths of a millisecond."""

PassOn: TypeAlias = Callable[[Datagrams], None]


class Backlog:
    """A bounded queue, of which each turn of the reactor takes a few."""

    def __init__(self, clock: IReactorTime) -> None:
        self._clock = clock
        self._waiting: deque[tuple[PassOn, tuple[bytes, Address]]] = deque()
        self._turn: IDelayedCall | None = None

    def __len__(self) -> int:
        return len(self._waiting)

    def add(self, batch: Datagrams, pass_on: PassOn) -> int:
        """Have `pass_on` called with these, in order, a few at a time; how many found no room."""
        room = WAITING - len(self._waiting)
        self._waiting.extend([(pass_on, datagram) for datagram in batch[:room]])
        self._arm()
        return max(0, len(batch) - room)

    def stop(self) -> None:
        """Forget everything."""
        self._waiting.clear()
        if self._turn is not None:
            self._turn.cancel()
            self._turn = None

    def _arm(self) -> None:
        if self._waiting and self._turn is None:
            self._turn = self._clock.callLater(0, self._take)

    def _take(self) -> None:
        self._turn = None
        waiting = self._waiting
        part = [waiting.popleft() for _ in range(min(SHARE, len(waiting)))]
        self._arm()
        for pass_on, some in groupby(part, key=itemgetter(0)):
            pass_on([datagram for _, datagram in some])
