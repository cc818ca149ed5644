"""Monthly updates in the running server: what there is to offer, and what a new update or month changes."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any, Final

from twisted.application.service import Service
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall
from twisted.logger import Logger

from crs.accounts import Accounts
from crs.batch import batches
from crs.identity import Identity
from crs.signaling.event import Blob, Failed, Result
from crs.signaling.offers import Offered
from crs.update.applied import Applied
from crs.update.error import ArchiveError
from crs.update.month import Month

log = Logger()

TICK: Final = 60.0
"""Seconds between two looks at the calendar."""


class Monthly(Service):
    """Makes the accounts' updates count for the clients that are here."""

    def __init__(
        self,
        accounts: Accounts,
        *,
        clock: IReactorTime,
        in_thread: Callable[..., Awaitable[Any]],
        judge: Callable[[], Awaitable[object]],
        attached: Callable[[], Sequence[Identity]],
        offer: Callable[[Iterable[Identity]], None],
        pause: Callable[[], Awaitable[None]],
        notify: Callable[[str], None],
    ) -> None:
        """`judge()` sends off who may not be attached any more; `offer(clients)` tells attached clients of
        what they have not confirmed; `pause()` lets others be served; `notify(event)` is for the operator.
        """
        self._accounts = accounts
        self._in_thread = in_thread
        self._judge = judge
        self._attached = attached
        self._offer = offer
        self._pause = pause
        self._notify = notify
        self._month = accounts.month()
        self._tick = LoopingCall(self.look)
        self._tick.clock = clock

    def startService(self) -> None:
        """Say what has expired, and look at the calendar from now on."""
        super().startService()
        self._tell_expired()
        self._tick.start(TICK, now=False)

    def stopService(self) -> None:
        """Stop looking."""
        super().stopService()
        if self._tick.running:
            self._tick.stop()

    def offered(self, client: Identity) -> list[Offered]:
        """What the updates of this month and the next hold for a client."""
        return [
            Offered(str(update.month), update.head.created, span[1])
            for update in (each.outline for each in self._current(client.account))
            if (span := update.span(client.uri)) is not None and span[1]
        ]

    async def read_blob(self, client: Identity, month: str) -> Result:
        """A client's part of a month's update."""
        for update in self._current(client.account):
            if str(update.outline.month) == month:
                try:
                    blob = await self._in_thread(update.blob, client.uri)
                except ArchiveError as error:
                    log.warn("{error}", error=error)
                    return Failed("the server cannot read the update")
                if blob:
                    return Blob(update.outline.head.created, blob)
        return Failed("the update has been replaced")

    async def applied(self, account: str) -> None:
        """A new update of an account counts: send off whom it does not admit, and tell the others."""
        await self._judge()
        found = self._accounts.get(account)
        if found is None or not found.update_notification:
            return
        for batch in batches([client for client in self._attached() if client.account == account]):
            self._offer(batch)
            await self._pause()

    def look(self) -> Deferred[None] | None:
        """See whether another month has begun."""
        month = self._accounts.month()
        if month == self._month:
            return None
        self._month = month
        log.info("{month} begins", month=str(month))
        self._tell_expired()
        return Deferred.fromCoroutine(self._begin())

    async def _begin(self) -> None:
        try:
            await self._judge()
        except Exception:  # noqa: BLE001  the next month will begin all the same
            log.failure("judging who may be attached in {month}", month=str(self._month))

    def _tell_expired(self) -> None:
        """Warn of accounts that have no update for this month, but had one."""
        for account in self._accounts:
            update = self._accounts.updates[account.name].in_force(self._month)
            if update is not None and update.outline.month < self._month:
                name, last = account.name, str(update.outline.month)
                log.warn("account {name}: its update for {last} has expired", name=name, last=last)
                self._notify(f"update expired: {name}")

    def _current(self, account: str) -> list[Applied]:
        month: Month = self._accounts.month()
        updates = self._accounts.updates[account]
        return [update for update in (updates.get(month), updates.get(month.next)) if update is not None]
