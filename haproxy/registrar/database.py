"""Reading and writing the tables. Everything here blocks: call it at start, or in the writer's thread."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import lru_cache
from operator import attrgetter
from pathlib import Path
from typing import Any, NamedTuple

from sqlalchemy import Connection, Engine, Table, create_engine, delete, event, insert, select
from sqlalchemy.engine import URL
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.pool import StaticPool

from haproxy.registrar import table
from haproxy.registrar.subscriber import Subscriber

CHUNK = 500
"""Rows in one statement; below the limit of bound variables of every database."""


USUAL_ROOM, ROOM = 2_000, 65_536
"""KiB of the file that SQLite keeps in memory: always, and at most while bindings are written."""


Rows = Sequence[Mapping[str, Any]]
"""Values by the names of their columns."""


class DatabaseError(Exception):
    """The database cannot be used; the text says why."""


EXACT = "bindings"
"""Under this name it is noted at a stop that all bindings are written as they are."""


class StoredBinding(NamedTuple):
    """One row of `location`; times in UTC seconds."""

    ruid: str
    username: str
    domain: str
    contact: str
    received: str
    path: str
    expires: float
    q: float
    call_id: str
    cseq: int
    modified: float
    user_agent: str
    socket: str

    def row(self) -> tuple[object, ...]:
        """The values of _COLUMNS, as SQLite keeps them."""
        return (*_same_of(self), self.call_id, _text(self.expires), _text(self.modified))

    @property
    def covered(self) -> float:
        """Until when it may live if it was refreshed without being written: half of its life longer."""
        return self.expires + max(0.0, self.expires - self.modified) / 2


class Kept(NamedTuple):
    """The bindings that were kept."""

    bindings: list[StoredBinding]
    exact: bool
    """Whether they are as they were at the stop; else there was none, and each may live until `covered`."""


_SAME = ("ruid", "username", "domain", "contact", "received", "path", "q", "cseq", "user_agent", "socket")
_COLUMNS = (*_SAME, "callid", "expires", "last_modified")
_same_of = attrgetter(*_SAME)


_ZERO = ("flags", "cflags", "reg_id", "server_id", "connection_id", "keepalive", "partition")
"""Columns that only Kamailio uses."""


def _save() -> str:
    """The statement that puts a row in, in the place of the one with the same ruid."""
    names = ", ".join(f'"{name}"' for name in (*_COLUMNS, *_ZERO))
    values = ", ".join([*("?" for _ in _COLUMNS), *("0" for _ in _ZERO)])
    replaced = ", ".join(f'"{name}" = excluded."{name}"' for name in _COLUMNS if name != "ruid")
    return f"INSERT INTO location ({names}) VALUES ({values}) ON CONFLICT (ruid) DO UPDATE SET {replaced}"  # noqa: S608


_SAVE = _save()


def _text(seconds: float) -> str:
    """A time as SQLAlchemy has SQLite keep it."""
    whole, part = divmod(round(seconds * 1e6), 1_000_000)
    return f"{_whole_text(whole)}.{part:06d}"


@lru_cache(4096)
def _whole_text(seconds: int) -> str:
    return _moment(seconds).strftime("%Y-%m-%d %H:%M:%S")


class Database:
    """The proxy's tables in an SQLite file."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._engine: Engine | None = None

    def open(self) -> None:
        """Open the file, and make what is missing in it. Raises DatabaseError."""
        try:
            # Made by us, because SQLite would let everybody read it.
            os.close(os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
            self._engine = _engine(self._path)
            table.metadata.create_all(self._engine)
            with self._begin() as connection:
                _write_versions(connection)
        except (OSError, SQLAlchemyError) as error:
            raise DatabaseError(f"{self._path}: {_cause(error)}") from error

    def close(self) -> None:
        """Close the file."""
        if self._engine is not None:
            self._engine.dispose()

    def bindings(self, now: float) -> Kept:
        """All bindings that may be valid at `now`, in UTC seconds; the others are deleted.

        From now on they count as not exact, until `EXACT` is kept again.
        """
        with self._begin() as connection:
            exact = connection.execute(delete(table.state).where(table.state.c.name == EXACT)).rowcount > 0
            found = [_stored(row) for row in connection.execute(select(table.location)).mappings()]
            valid: list[StoredBinding] = []
            gone: list[StoredBinding] = []
            for each in found:
                alive = (each.expires if exact else each.covered) > now
                (valid if alive else gone).append(each)
            _delete(connection, [each.ruid for each in gone])
        return Kept(valid, exact)

    def write(self, saved: Sequence[StoredBinding], removed: Sequence[str]) -> None:
        """Put bindings in, for those with the same ruid, and take others out. Raises DatabaseError."""
        with self._begin() as connection:
            _delete(connection, removed)
            if saved:
                # What has to be read again and again, because it found no room, takes half of the time.
                _set_room(connection, ROOM)
                # Straight to the driver: SQLAlchemy's care for each value was measured to cost two thirds.
                connection.exec_driver_sql(_SAVE, [binding.row() for binding in saved])
                _set_room(connection, USUAL_ROOM)

    def mirror(self, shown: Table, rows: Rows) -> None:
        """Make a table show what the configuration says: these rows and no others. Raises DatabaseError."""
        with self._begin() as connection:
            connection.execute(delete(shown))
            if rows:
                connection.execute(insert(shown), rows)

    def value(self, name: str) -> str | None:
        """A value that was kept with `keep`."""
        with self._begin() as connection:
            query = select(table.state.c.value).where(table.state.c.name == name)
            found: str | None = connection.execute(query).scalar_one_or_none()
            return found

    def keep(self, name: str, value: str) -> None:
        """Keep a value under a name."""
        with self._begin() as connection:
            connection.execute(delete(table.state).where(table.state.c.name == name))
            connection.execute(insert(table.state).values(name=name, value=value))

    @contextmanager
    def _begin(self) -> Iterator[Connection]:
        """A transaction. Raises DatabaseError."""
        assert self._engine is not None, "the database is not open"
        try:
            with self._engine.begin() as connection:
                yield connection
        except SQLAlchemyError as error:
            raise DatabaseError(f"{self._path}: {_cause(error)}") from error


def _engine(path: Path) -> Engine:
    # One connection for the one thread at a time that uses it.
    engine = create_engine(
        URL.create("sqlite", database=str(path)),
        poolclass=StaticPool,
        connect_args={"check_same_thread": False},
    )

    @event.listens_for(engine, "connect")
    def configure(connection: Any, record: object) -> None:
        connection.execute("PRAGMA journal_mode=WAL")
        # The last second of bindings may be lost with the power: they register again.
        connection.execute("PRAGMA synchronous=NORMAL")

    return engine


def _set_room(connection: Connection, kib: int) -> None:
    connection.exec_driver_sql(f"PRAGMA cache_size = -{kib}")


def _delete(connection: Connection, removed: Sequence[str]) -> None:
    """Take bindings out, by ruid."""
    for start in range(0, len(removed), CHUNK):
        part = removed[start : start + CHUNK]
        connection.execute(delete(table.location).where(table.location.c.ruid.in_(part)))


def _write_versions(connection: Connection) -> None:
    known = set(connection.execute(select(table.version.c.table_name)).scalars())
    missing: list[Mapping[str, Any]] = [
        {"table_name": name, "table_version": number}
        for name, number in table.VERSIONS.items()
        if name not in known
    ]
    if missing:
        connection.execute(insert(table.version), missing)


def _stored(row: Mapping[Any, Any]) -> StoredBinding:
    same: dict[str, Any] = {name: row[name] if row[name] is not None else "" for name in _SAME}
    expires, modified = (row[name].replace(tzinfo=UTC).timestamp() for name in ("expires", "last_modified"))
    return StoredBinding(expires=expires, modified=modified, call_id=row["callid"], **same)


def subscriber_rows(subscribers: Iterable[Subscriber]) -> Rows:
    """What the table `subscriber` shows: hashes, no passwords."""
    return [_subscriber_row(subscriber) for subscriber in subscribers]


def _subscriber_row(subscriber: Subscriber) -> dict[str, str]:
    names = {"username": subscriber.username, "domain": subscriber.domain}
    hashes = {"ha1": subscriber.ha1, "ha1b": subscriber.ha1b}
    return {key: value.decode(errors="replace") for key, value in (names | hashes).items()} | {"password": ""}


def _moment(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC).replace(tzinfo=None)


def _cause(error: Exception) -> str:
    return str(getattr(error, "orig", None) or getattr(error, "strerror", None) or error)
