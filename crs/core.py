"""What the server consists of while it runs, started and stopped in the one order that loses nothing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from twisted.application.service import Service
from twisted.internet.defer import CancelledError, Deferred, maybeDeferred, succeed
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall, deferLater
from twisted.logger import Logger
from twisted.python.failure import Failure

from crs.accounts import Accounts
from crs.gate import ClientGate
from crs.relay.interface import Relay
from crs.storage import Storage
from crs.stores import Stores
from crs.switchboard import Switchboard
from rtlib.address import join
from rtlib.log import init
from rtlib.notify import Notifier
from rtlib.store import StoreAway, StoreError

log = Logger()

EXPIRE: Final = 60.0
"""Seconds between two removals of what has expired in the store."""

AGAIN: Final = 1.0
"""Seconds until a store that is away is looked for again."""

UNIT: Final = "crs"
"""Our name in notifications."""


class Core(Service):
    """Store, relay, switchboard and the port for clients.

    Clients are accepted once the store has told who is known. `fatal()` is called when it cannot.
    """

    def __init__(
        self,
        accounts: Accounts,
        stores: Stores,
        storage: Storage,
        *,
        relay: Relay,
        switchboard: Switchboard,
        clients: ClientGate,
        notifier: Notifier,
        clock: IReactorTime,
        wall: Callable[[], float],
        fatal: Callable[[], None],
    ) -> None:
        self._accounts = accounts
        self._stores = stores
        self._storage = storage
        self._relay = relay
        self._switchboard = switchboard
        self._clients = clients
        self._notifier = notifier
        self._wall = wall
        self._store_open = False
        self._fatal = fatal
        self._expire = LoopingCall(lambda: Deferred.fromCoroutine(self._expired()))
        self._expire.clock = clock
        self._clock = clock
        self._opening: Deferred[None] = succeed(None)

    def startService(self) -> None:
        """Open the store; everything else follows."""
        super().startService()
        self._opening = Deferred.fromCoroutine(self._open()).addErrback(self._failed)

    def stopService(self) -> Deferred[None]:
        """Stop accepting, end calls and connections, then the relay, and last the store."""
        super().stopService()
        self._opening.cancel()
        return Deferred.fromCoroutine(self._close())

    async def _open(self) -> None:
        self._stores.start()
        self._store_open = True
        self._relay.startService()
        self._switchboard.startService()
        await self._know()
        if not self.running:
            return
        self._expire.start(EXPIRE)
        self._clients.startService()
        init(log, "accepting clients on {address}", address=join(*self._clients.address))
        self._notifier.notify(UNIT, "started")

    async def _know(self) -> None:
        """Load who is known, as soon as the store is there."""
        told = False
        while True:
            try:
                return await self._load()
            except StoreAway as error:
                if not told:
                    log.warn("no clients are accepted until the store is there: {error}", error=error)
                told = True
                await deferLater(self._clock, AGAIN)

    async def _load(self) -> None:
        """Tell the machine who is known. Clients of accounts that are gone are left out."""
        directory = self._switchboard.machine.directory
        unreadable = 0
        async for client, record in self._storage.clients():
            if client.account in self._accounts:
                try:
                    directory.load(client, record)
                except ValueError:
                    unreadable += 1
        unreadable += await self._load_counts()
        init(
            log,
            "{clients} clients of {accounts} accounts",
            clients=len(directory),
            accounts=len(self._accounts),
        )
        if unreadable:
            log.warn("{count} records of clients could not be read and were left out", count=unreadable)

    async def _load_counts(self) -> int:
        """Take the counts from where they are kept apart; how many could not be read. They are expendable."""
        directory = self._switchboard.machine.directory
        unreadable = 0
        try:
            async for client, record in self._storage.counts():
                if client in directory:
                    try:
                        directory.load_counts(client, record)
                    except ValueError:
                        unreadable += 1
        except StoreError as error:
            log.warn("the counts of messages are not known: {error}", error=error)
        return unreadable

    async def _close(self) -> None:
        self._notifier.notify(UNIT, "stopping")
        if self._expire.running:
            self._expire.stop()
        self._clients.stopService()
        await self._switchboard.stopService()
        await maybeDeferred(self._relay.stopService)
        if self._store_open:
            await self._stores.stop()

    async def _expired(self) -> None:
        try:
            while await self._stores.expire(self._wall()):
                """Each call frees some of it, so that others are served in between."""
        except StoreError as error:
            log.warn("removing what has expired: {error}", error=error)

    def _failed(self, failure: Failure) -> None:
        """Without its store or its port the server is of no use."""
        if failure.check(CancelledError) and not self.running:
            return
        if failure.check(StoreError, OSError):
            log.warn("the server cannot run: {error}", error=failure.value)
        else:
            log.failure("the server cannot run", failure)
        self._notifier.notify(UNIT, f"failed: {failure.getErrorMessage()}")
        self._fatal()
