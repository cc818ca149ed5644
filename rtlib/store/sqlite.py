"""The store in one SQLite file: WAL, synchronous=FULL, one thread, group commit (sqlite.org/wal.html).

Whatever was asked for while the disk was busy with one commit is the next commit, so that the
number of waits for the disk does not grow with the load.
"""

from __future__ import annotations

import os
import sqlite3
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeVar, cast

from twisted.internet.defer import Deferred, fail, succeed
from twisted.python.failure import Failure

from rtlib.store import sql
from rtlib.store.interface import SLOTS, Item, Operation, Result, StoreError, StoreFull

T = TypeVar("T")
Work = Callable[[sqlite3.Connection, float], Any]
"""Runs in the store's thread, inside a transaction, with the time in UTC seconds."""

LIMIT = 10_000
"""Operations that may wait; about 40 MiB with messages of a common size."""
GROUP = 1_000
"""Requests in one commit at most, so that the first of them does not wait for ever."""
TURN = 32
"""Outcomes that are handed out in one turn of the reactor: what callers do about 1,000 of them takes long."""
_MAGIC = b"SQLite format 3\0"  # sqlite.org/fileformat.html 1.2
LOCK_TIMEOUT = 5.0
"""Seconds to wait for a lock of another process, such as a backup, before a write fails."""


def check_file(path: Path) -> None:
    """See that a file is a database, if it is there. Raises StoreError, OSError."""
    if path.exists():
        with path.open("rb") as file:
            head = file.read(len(_MAGIC))
        if head not in {b"", _MAGIC}:
            raise StoreError(f"{path}: is not a database")


class _Job(NamedTuple):
    work: Work
    writes: bool
    cost: int
    done: Deferred[Any]


class SqliteStore:
    """See `rtlib.store.interface.Store`. All work is done in the store's own thread, in the order it was
    asked for.

    `reactor` provides IReactorTime and IReactorFromThreads; `wall` gives UTC seconds.
    The file is made with mode 0600 if it is not there; its directory must be.
    `watch(problem)` is told when nothing can be written any more, and "" when that is over.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        reactor: Any,
        wall: Callable[[], float] = time.time,
        limit: int = LIMIT,
        watch: Callable[[str], None] = lambda problem: None,
    ) -> None:
        self._path = Path(path)
        self._reactor = reactor
        self._wall = wall
        self._limit = limit
        self._jobs: deque[_Job] = deque()
        self._outcomes: deque[tuple[_Job, Any]] = deque()
        """What is done and not told yet; only the reactor's thread has to do with it."""
        self._changed = threading.Condition()
        self._started = False
        self._running = False
        self._waiting = 0
        self._stopped: Deferred[None] = Deferred()
        self._watch = watch
        self._problem = ""

    @property
    def waiting(self) -> int:
        """Operations accepted and not finished yet."""
        return self._waiting

    @property
    def failed(self) -> bool:
        """Whether the last that was to be written could not be."""
        return bool(self._problem)

    def start(self) -> None:
        """Open or create the file and start the thread. StoreError if the file cannot be used."""
        try:
            connection = sql.connect(self._path, LOCK_TIMEOUT)
        except (OSError, sqlite3.Error) as error:
            raise StoreError(f"the store {self._path} cannot be opened: {error}") from error
        self._started = self._running = True
        threading.Thread(target=self._run, args=(connection,), name="store", daemon=True).start()

    def stop(self) -> Deferred[None]:
        """Finish what was accepted, then close. What is asked for from now on fails."""
        if not self._started:
            return succeed(None)
        with self._changed:
            self._running = False
            self._changed.notify()
        return self._stopped

    def write(self, slot: int, operations: Sequence[Operation]) -> Deferred[list[Result]]:
        """Do all operations, or none, and fire when they are on disk."""
        wanted = tuple(operations)

        def work(connection: sqlite3.Connection, now: float) -> list[Result]:
            return [sql.perform(connection, slot, operation, now) for operation in wanted]

        return self._submit(work, slot, writes=True, cost=max(1, len(wanted)))

    def get(self, slot: int, key: str) -> Deferred[bytes | None]:
        """Give a key's value."""
        return self._submit(lambda connection, now: sql.get(connection, slot, key, now), slot)

    def scan(
        self, slot: int | None, prefix: str, after: str = "", limit: int = 1000
    ) -> Deferred[list[tuple[str, bytes]]]:
        """Give keys and values by prefix."""
        return self._submit(
            lambda connection, now: sql.scan(connection, slot, prefix, sql.Page(after, limit), now), slot or 0
        )

    def queue(self, slot: int, queue: str, limit: int = 100, after: int = 0) -> Deferred[list[Item]]:
        """Give items of a queue."""
        return self._submit(
            lambda connection, now: sql.items(connection, slot, queue, sql.Page(after, limit), now), slot
        )

    def queue_size(self, slot: int, queue: str) -> Deferred[tuple[int, int]]:
        """Give number and bytes of a queue's items."""
        return self._submit(lambda connection, now: sql.size(connection, slot, queue, now), slot)

    def expire(self, now_wall: float) -> Deferred[int]:
        """Free what has expired, at most `sql.EXPIRED_AT_ONCE` of each kind: ask again while it gives as
        many.
        """
        return self._submit(lambda connection, _now: sql.expire(connection, now_wall), 0, writes=True)

    def _submit(
        self,
        work: Callable[[sqlite3.Connection, float], T],
        slot: int,
        *,
        writes: bool = False,
        cost: int = 1,
    ) -> Deferred[T]:
        if not self._running:
            return fail(StoreError("the store is not running"))
        if not 0 <= slot < SLOTS:
            return fail(StoreError(f"there is no slot {slot}: slots are 0 to {SLOTS - 1}"))
        if self._waiting + cost > self._limit:
            return fail(StoreFull(f"{self._waiting} operations are waiting for the disk already"))
        done: Deferred[T] = Deferred()
        self._waiting += cost
        with self._changed:
            self._jobs.append(_Job(work, writes, cost, done))
            self._changed.notify()
        return done

    def _run(self, connection: sqlite3.Connection) -> None:
        """Be the store's thread."""
        while group := self._take():
            outcomes = _commit(connection, group, self._wall())
            self._reactor.callFromThread(self._finish, group, outcomes)
        connection.close()
        self._reactor.callFromThread(self._end)

    def _take(self) -> list[_Job]:
        """Wait for something to do and take all there is; [] when stopped with nothing left."""
        with self._changed:
            self._changed.wait_for(lambda: self._jobs or not self._running)
            return [self._jobs.popleft() for _ in range(min(GROUP, len(self._jobs)))]

    def _finish(self, group: list[_Job], outcomes: list[Any]) -> None:
        """A group is done (in the reactor's thread)."""
        self._look_at([outcome for job, outcome in zip(group, outcomes, strict=True) if job.writes])
        telling = bool(self._outcomes)
        self._outcomes.extend(zip(group, outcomes, strict=True))
        if not telling:
            self._tell()

    def _tell(self) -> None:
        """Tell some of the callers; the others when the reactor has looked after its sockets."""
        for _ in range(min(TURN, len(self._outcomes))):
            job, outcome = self._outcomes.popleft()
            self._waiting -= job.cost
            if not job.done.called:  # else the caller has cancelled it
                job.done.callback(outcome)
        if self._outcomes:
            self._reactor.callLater(0, self._tell)

    def _end(self) -> None:
        """The thread is at its end, and once all are told so is the store."""
        if self._outcomes:
            self._reactor.callLater(0, self._end)
        else:
            self._stopped.callback(None)

    def _look_at(self, outcomes: list[Any]) -> None:
        """See whether anything could be written."""
        if not outcomes:
            return
        failed = all(isinstance(each, Failure) for each in outcomes)
        problem = outcomes[0].getErrorMessage() if failed else ""
        if bool(problem) != bool(self._problem):
            self._watch(problem)
        self._problem = problem


class _GroupLost(Exception):
    """SQLite has rolled back the whole transaction, and with it the jobs that had succeeded."""


def _commit(connection: sqlite3.Connection, group: list[_Job], now: float) -> list[Any]:
    """Do a group of jobs in one transaction; give a result or a Failure for each."""
    try:
        # A transaction that begins as a reader cannot wait for another process's lock when it comes to write.
        connection.execute("BEGIN IMMEDIATE" if any(job.writes for job in group) else "BEGIN")
        outcomes = [_attempt(connection, job, now) for job in group]
        connection.execute("COMMIT")
    except (sqlite3.Error, _GroupLost) as error:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        lost = StoreError(f"the store could not be written: {error}")
        return [Failure(lost) for _ in group]
    return outcomes


def _attempt(connection: sqlite3.Connection, job: _Job, now: float) -> Any:
    """Do one job; a failure undoes this one and leaves the others of the group alone."""
    # A job that only reads leaves nothing to undo.
    if job.writes:
        connection.execute("SAVEPOINT job")
    try:
        outcome = job.work(connection, now)
    except Exception as error:
        if not connection.in_transaction:
            raise _GroupLost(str(error)) from error
        if job.writes:
            connection.execute("ROLLBACK TO job")
        if isinstance(error, (sqlite3.Error, OverflowError, ValueError)):
            outcome = Failure(StoreError(f"the store refused it: {error}"))
        else:
            outcome = Failure()
    if job.writes:
        connection.execute("RELEASE job")
    return cast(Any, outcome)
