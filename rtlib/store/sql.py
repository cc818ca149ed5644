"""The tables of the SQLite store and the statements for each operation; all calls are inside a
transaction.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any, Generic, NamedTuple, TypeVar

from rtlib.store.interface import (
    TOMBSTONE_LIFETIME,
    Append,
    Delete,
    Increment,
    Item,
    Operation,
    Put,
    Remove,
    Result,
)

T = TypeVar("T")

VERSION = 1
"""PRAGMA user_version of the tables below."""
EXPIRED_AT_ONCE = 10_000

# An item whose value is NULL is a tombstone: its id is remembered until it expires.
_SCHEMA = f"""
BEGIN;
CREATE TABLE value (
    slot INTEGER NOT NULL, key TEXT NOT NULL, value BLOB NOT NULL, expires REAL, PRIMARY KEY (slot, key));
CREATE INDEX value_key ON value (key);
CREATE INDEX value_expires ON value (expires) WHERE expires IS NOT NULL;
CREATE TABLE counter (
    slot INTEGER NOT NULL, key TEXT NOT NULL, value INTEGER NOT NULL, PRIMARY KEY (slot, key)) WITHOUT ROWID;
CREATE TABLE item (
    sequence INTEGER PRIMARY KEY AUTOINCREMENT,
    slot INTEGER NOT NULL, queue TEXT NOT NULL, id TEXT NOT NULL, value BLOB, expires REAL,
    UNIQUE (slot, queue, id));
CREATE INDEX item_order ON item (slot, queue, sequence) WHERE value IS NOT NULL;
CREATE INDEX item_expires ON item (expires) WHERE expires IS NOT NULL;
PRAGMA user_version = {VERSION};
COMMIT;
"""
_ALIVE = "(expires IS NULL OR expires > ?)"


class Page(NamedTuple, Generic[T]):
    """Which part of a long list: behind this place, at most so many."""

    after: T
    limit: int


def connect(path: Path, lock_timeout: float) -> sqlite3.Connection:
    """Open or create the file, for use in one thread. sqlite3.Error or OSError say why it cannot be used."""
    os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
    connection = sqlite3.connect(path, timeout=lock_timeout, isolation_level=None, check_same_thread=False)
    try:
        _prepare(connection)
    except BaseException:
        connection.close()
        raise
    _sync_directory(path.parent)
    return connection


def perform(connection: sqlite3.Connection, slot: int, operation: Operation, now: float) -> Result:
    """Do one operation and give its result."""
    return _PERFORM[type(operation)](connection, slot, operation, now)


def get(connection: sqlite3.Connection, slot: int, key: str, now: float) -> bytes | None:
    """Give a value that has not expired."""
    row = connection.execute(
        f"SELECT value FROM value WHERE slot = ? AND key = ? AND {_ALIVE}",  # noqa: S608 - constants
        (slot, key, now),
    ).fetchone()
    return None if row is None else row[0]


def scan(
    connection: sqlite3.Connection, slot: int | None, prefix: str, page: Page[str], now: float
) -> list[tuple[str, bytes]]:
    """Give keys and values by prefix, in key order."""
    where, place = ("slot = ? AND", (slot,)) if slot is not None else ("", ())
    # U+10FFFF is no character, so no key that begins with the prefix comes after the upper bound.
    bounds = (now, prefix, prefix + "\U0010ffff", page.after, page.limit)
    return connection.execute(
        f"SELECT key, value FROM value WHERE {where} {_ALIVE}"  # noqa: S608 - constants
        " AND key >= ? AND key < ? AND key > ? ORDER BY key LIMIT ?",
        (*place, *bounds),
    ).fetchall()


def items(connection: sqlite3.Connection, slot: int, queue: str, page: Page[int], now: float) -> list[Item]:
    """Give items of a queue in the order they were appended."""
    rows = connection.execute(
        "SELECT sequence, id, value, expires FROM item"  # noqa: S608 - constants
        f" WHERE slot = ? AND queue = ? AND sequence > ? AND value IS NOT NULL AND {_ALIVE}"
        " ORDER BY sequence LIMIT ?",
        (slot, queue, page.after, now, page.limit),
    )
    return [Item(*row) for row in rows]


def size(connection: sqlite3.Connection, slot: int, queue: str, now: float) -> tuple[int, int]:
    """Give number and bytes of a queue's items."""
    row: tuple[int, int] = connection.execute(
        "SELECT COUNT(*), COALESCE(SUM(LENGTH(value)), 0) FROM item"  # noqa: S608 - constants
        f" WHERE slot = ? AND queue = ? AND value IS NOT NULL AND {_ALIVE}",
        (slot, queue, now),
    ).fetchone()
    return row


def expire(connection: sqlite3.Connection, now: float) -> int:
    """Delete what expired at or before `now`, at most EXPIRED_AT_ONCE rows of each table; give how many."""
    return sum(
        connection.execute(
            f"DELETE FROM {table} WHERE rowid IN"  # noqa: S608 - constants
            f" (SELECT rowid FROM {table} WHERE expires <= ? LIMIT {EXPIRED_AT_ONCE})",
            (now,),
        ).rowcount
        for table in ("value", "item")
    )


def _put(connection: sqlite3.Connection, slot: int, operation: Put, _now: float) -> None:
    connection.execute(
        "INSERT OR REPLACE INTO value (slot, key, value, expires) VALUES (?, ?, ?, ?)",
        (slot, operation.key, operation.value, operation.expires),
    )


def _delete(connection: sqlite3.Connection, slot: int, operation: Delete, now: float) -> bool:
    was_there = get(connection, slot, operation.key, now) is not None
    connection.execute("DELETE FROM value WHERE slot = ? AND key = ?", (slot, operation.key))
    return was_there


def _increment(connection: sqlite3.Connection, slot: int, operation: Increment, _now: float) -> int:
    (value,) = connection.execute(
        "INSERT INTO counter (slot, key, value) VALUES (?, ?, ?)"
        " ON CONFLICT (slot, key) DO UPDATE SET value = value + excluded.value RETURNING value",
        (slot, operation.key, operation.by),
    ).fetchone()
    return int(value)


def _append(connection: sqlite3.Connection, slot: int, operation: Append, now: float) -> bool:
    place = (slot, operation.queue, operation.id)
    connection.execute(
        "DELETE FROM item WHERE slot = ? AND queue = ? AND id = ? AND expires <= ?", (*place, now)
    )
    cursor = connection.execute(
        "INSERT INTO item (slot, queue, id, value, expires) VALUES (?, ?, ?, ?, ?)"
        " ON CONFLICT (slot, queue, id) DO NOTHING",
        (*place, operation.value, operation.expires),
    )
    return cursor.rowcount == 1


def _remove(connection: sqlite3.Connection, slot: int, operation: Remove, now: float) -> bool:
    cursor = connection.execute(
        "UPDATE item SET value = NULL, expires = COALESCE(expires, ?)"  # noqa: S608 - constants
        f" WHERE slot = ? AND queue = ? AND id = ? AND value IS NOT NULL AND {_ALIVE}",
        (now + TOMBSTONE_LIFETIME, slot, operation.queue, operation.id, now),
    )
    return cursor.rowcount == 1


_PERFORM: dict[type, Callable[[sqlite3.Connection, int, Any, float], Result]] = {
    Put: _put,
    Delete: _delete,
    Increment: _increment,
    Append: _append,
    Remove: _remove,
}


def _prepare(connection: sqlite3.Connection) -> None:
    (mode,) = connection.execute("PRAGMA journal_mode = WAL").fetchone()
    if mode != "wal":
        raise sqlite3.OperationalError(f"its file system allows only journal mode {mode}, not wal")
    connection.execute("PRAGMA synchronous = FULL")
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if version == 0:
        connection.executescript(_SCHEMA)
    elif version != VERSION:
        raise sqlite3.OperationalError(f"it has format {version}; this version knows format {VERSION}")


def _sync_directory(directory: Path) -> None:
    """Make the names of files just created durable."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
