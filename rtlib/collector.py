"""Python's cyclic garbage collector, kept from stopping a daemon for long.

By itself it looks at the youngest objects once so many more of them have been made than freed. Where as many
are freed as made, that is all but never, and when it comes, it goes through all that lives: a proxy with
136,000 transactions stood still for half a second, which is longer than its sockets can hold. So it is told
when to look: so often that what has come since is little. What is older needs no look, as the cores leave no
cycles behind; those of others are found where so little is alive that nobody notices.
"""

from __future__ import annotations

import gc
import sys
from typing import Final

from twisted.application.service import Service
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall

INTERVAL: Final = 0.05
"""Seconds between two looks at what is new: about a millisecond where ten thousand objects were made."""
THOROUGH: Final = 1200
"""Looks between two thorough ones: a minute."""
FEW: Final = 20_000
"""Blocks of memory: a look through so many is not noticed."""


class Collector(Service):
    """Looks for garbage at regular times, instead of when Python would. Starts last, when all is built.

    What lives at its start, and after each thorough look, is taken for needed until it is freed.
    """

    def __init__(self, clock: IReactorTime) -> None:
        self._looks = 0
        self._kept = 0
        """Blocks that are not looked at."""
        self._call = LoopingCall(self._look)
        self._call.clock = clock

    def startService(self) -> None:
        """Take the collection over."""
        super().startService()
        gc.disable()
        self._collect_all()
        self._call.start(INTERVAL, now=False)

    def stopService(self) -> None:
        """Leave it to Python again."""
        super().stopService()
        if self._call.running:
            self._call.stop()
        gc.enable()

    def _look(self) -> None:
        self._looks += 1
        if self._looks % THOROUGH == 0 and sys.getallocatedblocks() - self._kept < FEW:
            self._collect_all()
        else:
            gc.collect(0)

    def _collect_all(self) -> None:
        gc.collect()
        gc.freeze()
        self._kept = sys.getallocatedblocks()
