"""The back-up archive: configuration, accounts and data of this host in one tar file (manual 4.15).

It can be made while the server runs: the database is copied by SQLite's own backup, as it was at
one moment. Paths in it are those of this machine without the leading slash, for `tar xf ... -C /`.
"""

from __future__ import annotations

import fcntl
import os
import sqlite3
import tarfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import datetime
from pathlib import Path
from typing import Final

from crs.home import ADMINS, DATABASE, PEERS
from rtlib.secretfile import MODE, synchronise

FOLDER: Final = "backup"
PARTS: Final = ("crs.conf", "crs-local.conf", "crs-relay.conf", PEERS, "accounts", ADMINS, "data", "scripts")
"""What is saved. The manual names a part of it, but the rest are settings as well."""

_BESIDE_DATABASE: Final = ("-wal", "-shm", "-journal")
"""What SQLite keeps beside a database; its content is in the copy."""


class BackupError(Exception):
    """The archive could not be made; the text says why. Nothing of it is left."""


def create(home: Path, instance: str, moment: datetime) -> Path:
    """Make an archive in the home's folder `backup`; its path. Blocks. Raises BackupError."""
    folder = home / FOLDER
    archive = folder / f"crs-backup-{instance}-{moment:%Y-%m-%d-%H%M%S}.tar"
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        with _alone(folder), _finished(archive) as temporary, _copied(home, folder) as database:
            with tarfile.open(temporary, "x") as tar:
                _fill(tar, home, database)
            temporary.chmod(MODE)
    except sqlite3.Error as error:
        raise BackupError(f"copying {home / DATABASE} to {folder}: {error}") from error
    except (OSError, tarfile.TarError) as error:
        place = getattr(error, "filename", None) or archive
        raise BackupError(f"{place}: {getattr(error, 'strerror', None) or error}") from error
    return archive


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Keep a second backup out, also that of another process."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError:
        raise BackupError("another backup is being made") from None
    finally:
        os.close(descriptor)


@contextmanager
def _finished(path: Path) -> Iterator[Path]:
    """A temporary path; what is there at the end gets the right name, whole and durable."""
    if path.exists():
        raise BackupError(f"{path} exists already")
    temporary = path.with_name(f".{path.name}.tmp")
    temporary.unlink(missing_ok=True)
    try:
        yield temporary
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        temporary.replace(path)
        synchronise(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def _copied(home: Path, folder: Path) -> Iterator[Path | None]:
    """A checked copy of the database as it is now, None where there is none yet."""
    if not (home / DATABASE).exists():
        yield None
        return
    copy = folder / ".crs.db.tmp"
    copy.unlink(missing_ok=True)
    try:
        _copy(home / DATABASE, copy)
        yield copy
    finally:
        for suffix in ("", *_BESIDE_DATABASE):
            copy.with_name(copy.name + suffix).unlink(missing_ok=True)


def _copy(database: Path, copy: Path) -> None:
    os.close(os.open(copy, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, MODE))
    with closing(sqlite3.connect(database)) as source, closing(sqlite3.connect(copy)) as target:
        source.backup(target)
        # One file, without a log beside it.
        target.execute("PRAGMA journal_mode = DELETE")
        [verdict] = target.execute("PRAGMA quick_check(1)").fetchone()
        if verdict != "ok":
            raise sqlite3.DatabaseError(f"the database is damaged: {verdict}")
    owner = database.stat()
    if os.geteuid() == 0:
        os.chown(copy, owner.st_uid, owner.st_gid)


def _fill(tar: tarfile.TarFile, home: Path, database: Path | None) -> None:
    for part in PARTS:
        path = home / part
        for entry in [path, *sorted(path.rglob("*"))] if path.is_dir() else [path]:
            _add(tar, entry, entry, home)
    if database is not None:
        _add(tar, database, home / DATABASE, home)


def _add(tar: tarfile.TarFile, source: Path, named: Path, home: Path) -> None:
    """Add a file that is there; what a command removes meanwhile, or has not finished, is left out."""
    beside = {DATABASE, *(DATABASE + suffix for suffix in _BESIDE_DATABASE)}
    if source is named and (named.name.startswith(".") or str(named.relative_to(home)) in beside):
        return
    try:
        tar.add(source, str(named.absolute()), recursive=False)
    except FileNotFoundError:
        return
