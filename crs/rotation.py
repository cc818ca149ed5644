"""The end of a rotation: when its time is over, an account's former secret is erased, and its users leave."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final

from twisted.application.service import Service
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall
from twisted.logger import Logger

from crs.accounts import Accounts
from rtlib.command.error import CommandError

log = Logger()

TICK: Final = 60.0
"""Seconds between two looks. A secret whose time is over opens nothing, looked at or not."""


class Deadlines(Service):
    """Ends rotations whose time is over."""

    def __init__(
        self, accounts: Accounts, finish: Callable[[str], Awaitable[object]], clock: IReactorTime
    ) -> None:
        """`finish(account)` ends a rotation, or raises CommandError."""
        self._accounts = accounts
        self._finish = finish
        self._tick = LoopingCall(lambda: Deferred.fromCoroutine(self._look()))
        self._tick.clock = clock

    def startService(self) -> None:
        """Look from now on."""
        super().startService()
        self._tick.start(TICK)

    def stopService(self) -> None:
        """Stop looking."""
        super().stopService()
        if self._tick.running:
            self._tick.stop()

    async def _look(self) -> None:
        now = self._accounts.now()
        for name in [each.name for each in self._accounts if each.former and each.former.until <= now]:
            try:
                await self._finish(name)
            except CommandError as error:
                log.warn("the former secret of {name} stays on disk: {error}", name=name, error=error)
            else:
                log.info("the former secret of {name} is not valid any more", name=name)
