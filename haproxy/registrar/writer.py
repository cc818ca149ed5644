"""Write-behind of bindings: memory answers, the database follows within a second (DESIGN: Database)."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from hashlib import sha256
from operator import attrgetter
from typing import Any, TypeAlias

from sqlalchemy import Table
from twisted.application.service import Service
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall
from twisted.internet.threads import deferToThreadPool
from twisted.logger import Logger
from twisted.python.threadpool import ThreadPool

from haproxy.registrar.database import EXACT, Database, DatabaseError, Rows, StoredBinding
from haproxy.registrar.location import Binding, Change, Removed, Saved, address_of_record

INTERVAL = 0.5
"""Seconds between two writes."""

LIMIT = 200_000
"""Changes that wait for a database that does not answer; one for each contact, however often it changed."""

log = Logger()

Describe = Callable[[object], tuple[str, str]]
"""Gives the columns `socket` and `received` for a flow."""

Restore = Callable[[str, str], object]
"""Gives the flow of those columns again; None where that socket is not there any more."""


Snapshot: TypeAlias = tuple[Any, ...]
"""What a binding was when it changed: it may change again before the thread comes to it."""

_snapshot: Callable[[Binding], Snapshot] = attrgetter(
    "path", "call_id", "user_agent", "flow", "expires", "q", "cseq", "modified"
)


class BindingWriter(Service):
    """Collects changes and writes them in a thread; the last change of a contact is the one that counts."""

    def __init__(self, reactor: Any, database: Database, describe: Describe, limit: int = LIMIT) -> None:
        """`reactor` provides IReactorTime and IReactorFromThreads; `describe` is called in the thread."""
        self._reactor = reactor
        self._database = database
        self._describe = describe
        self._limit = limit
        self._pending: dict[tuple[bytes, bytes], Snapshot | None] = {}
        """By address-of-record and contact; None for what is gone."""
        self._values: dict[str, str] = {}
        self._mirrors: dict[Table, Rows] = {}
        self._pool = ThreadPool(1, 1, "database")
        self._loop = LoopingCall(self._tick)
        self._loop.clock = IReactorTime(reactor)
        self._writing: Deferred[None] | None = None
        # Monotonic times become UTC by this distance, taken once: a stepped clock must not expire anybody.
        self._offset = time.time() - time.monotonic()
        self.dropped = 0
        self.written = 0
        self.failures = 0

    @property
    def pending(self) -> int:
        """Changes not written yet."""
        return len(self._pending)

    def add(self, change: Change) -> None:
        """Note a change."""
        binding = change.binding
        key = binding.aor, binding.contact
        if len(self._pending) >= self._limit and key not in self._pending:
            self.dropped += 1
            return
        self._pending[key] = None if isinstance(change, Removed) else _snapshot(binding)

    def settle(self, bindings: Iterable[Binding]) -> None:
        """Write, before the stop, all bindings that were refreshed since they were written."""
        for binding in bindings:
            if binding.lags:
                self.add(Saved(binding))
        if not self.dropped:
            self.keep(EXACT, "")

    def keep(self, name: str, value: str) -> None:
        """Note a single value, such as the preferred dispatch set."""
        self._values[name] = value

    def mirror(self, shown: Table, rows: Rows) -> None:
        """Have a table show these rows and no others."""
        self._mirrors[shown] = rows

    def startService(self) -> None:
        """Start the thread and the interval."""
        super().startService()
        self._pool.start()
        self._loop.start(INTERVAL, now=False)

    def stopService(self) -> Deferred[None]:
        """Write what is left, then stop the thread and close the database."""
        super().stopService()
        self._loop.stop()
        return Deferred.fromCoroutine(self._finish())

    async def _finish(self) -> None:
        await self.flush()
        self._pool.stop()
        self._database.close()

    async def flush(self) -> None:
        """Write what is pending now, after the write that may be under way."""
        if self._writing is not None:
            await self._settled()
        self._tick()
        if self._writing is not None:
            await self._settled()

    async def _settled(self) -> None:
        waiting: Deferred[None] = Deferred()
        assert self._writing is not None
        self._writing.addBoth(_release, waiting)
        await waiting

    def _tick(self) -> None:
        if self._writing is None and (self._pending or self._values or self._mirrors):
            self._writing = Deferred.fromCoroutine(self._write())

    async def _write(self) -> None:
        pending, self._pending = self._pending, {}
        values, self._values = self._values, {}
        mirrors, self._mirrors = self._mirrors, {}
        try:
            await deferToThreadPool(self._reactor, self._pool, self._store, pending, values, mirrors)
            self.written += len(pending)
        except DatabaseError as error:
            self.failures += 1
            log.warn("{count} changes are not written yet: {error}", count=len(pending), error=error)
            self._pending = pending | self._pending
            self._values = values | self._values
            self._mirrors = mirrors | self._mirrors
        finally:
            self._writing = None

    def _store(
        self,
        pending: dict[tuple[bytes, bytes], Snapshot | None],
        values: dict[str, str],
        mirrors: dict[Table, Rows],
    ) -> None:
        saved = [self._row(*key, snapshot) for key, snapshot in pending.items() if snapshot is not None]
        removed = [ruid_of(*key) for key, snapshot in pending.items() if snapshot is None]
        if pending:
            self._database.write(saved, removed)
        for name, value in values.items():
            self._database.keep(name, value)
        for shown, rows in mirrors.items():
            self._database.mirror(shown, rows)

    def _row(self, aor: bytes, contact: bytes, snapshot: Snapshot) -> StoredBinding:
        path, call_id, user_agent, flow, expires, q, cseq, modified = snapshot
        user, _, domain = aor.rpartition(b"@")
        socket, received = self._describe(flow)
        return StoredBinding(
            ruid=ruid_of(aor, contact),
            username=user.decode("latin-1"),
            domain=domain.decode("latin-1"),
            contact=contact.decode("latin-1"),
            received=received,
            path=path.decode("latin-1"),
            expires=expires + self._offset,
            q=q,
            call_id=call_id.decode("latin-1"),
            cseq=cseq,
            modified=modified + self._offset,
            user_agent=user_agent.decode("latin-1"),
            socket=socket,
        )


def ruid_of(aor: bytes, contact: bytes) -> str:
    """The unique id of a contact's row."""
    return sha256(aor + b"\0" + contact).hexdigest()[:32]


def binding_of(row: StoredBinding, restore: Restore, offset: float, *, exact: bool) -> Binding:
    """The binding of a row; `offset` is UTC less the clock of `now`.

    Not `exact`: it was perhaps refreshed since, and lives as long as such a refresh may have said.
    """
    binding = Binding(
        aor=address_of_record(row.username.encode("latin-1"), row.domain.encode("latin-1")),
        contact=row.contact.encode("latin-1"),
        expires=row.expires - offset,
        call_id=row.call_id.encode("latin-1"),
        cseq=row.cseq,
        q=row.q if row.q >= 0 else 1.0,
        path=row.path.encode("latin-1"),
        user_agent=row.user_agent.encode("latin-1"),
        flow=restore(row.socket, row.received),
        modified=row.modified - offset,
    )
    binding.told()
    if not exact:
        binding.expires = binding.covered
    return binding


def _release(result: object, waiting: Deferred[None]) -> object:
    waiting.callback(None)
    return result
