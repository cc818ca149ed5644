"""The back-up archive."""

from __future__ import annotations

import fcntl
import os
import resource
import signal
import sqlite3
import subprocess
import tarfile
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import pytest

from crs.backup import BackupError, create

MOMENT = datetime(2026, 11, 23, 4, 5, 6, tzinfo=UTC)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    home = tmp_path / "crs"
    (home / "accounts" / "acc").mkdir(parents=True)
    (home / "data").mkdir()
    (home / "crs.conf").write_text("host crs1\n")
    account = home / "accounts" / "acc" / "account.conf"
    account.write_text("secret x\n")
    account.chmod(0o600)
    (home / "accounts" / "acc" / ".account.conf.tmp").write_text("half")
    return home


def database(home: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(home / "data" / "crs.db", isolation_level=None)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("CREATE TABLE IF NOT EXISTS t (x INTEGER)")
    return connection


def restore(archive: Path, root: Path) -> None:
    root.mkdir()
    subprocess.run(["tar", "xf", str(archive), "-C", str(root)], check=True)


def test_what_is_in_it_comes_back(home: Path, tmp_path: Path) -> None:
    with closing(database(home)) as connection:
        connection.execute("INSERT INTO t VALUES (1), (2)")
        # The server goes on: what is not committed yet is not in the copy, and nothing waits.
        connection.execute("BEGIN IMMEDIATE")
        connection.execute("INSERT INTO t VALUES (3)")
        archive = create(home, "crs1", MOMENT)
        connection.execute("COMMIT")
    assert archive == home / "backup" / "crs-backup-crs1-2026-11-23-040506.tar"
    assert archive.stat().st_mode & 0o777 == 0o600
    assert [path.name for path in archive.parent.iterdir()] == [archive.name], "nothing else is left"
    restore(archive, tmp_path / "machine")
    restored = tmp_path / "machine" / home.relative_to("/")
    assert (restored / "crs.conf").read_text() == "host crs1\n"
    account = restored / "accounts" / "acc" / "account.conf"
    assert (account.read_text(), account.stat().st_mode & 0o777) == ("secret x\n", 0o600)
    assert {path.name for path in account.parent.iterdir()} == {"account.conf"}
    assert {path.name for path in (restored / "data").iterdir()} == {"crs.db"}
    with closing(sqlite3.connect(restored / "data" / "crs.db")) as connection:
        assert connection.execute("SELECT x FROM t").fetchall() == [(1,), (2,)]


def test_a_home_without_data_and_settings(tmp_path: Path) -> None:
    archive = create(tmp_path, "crs1", MOMENT)
    with tarfile.open(archive) as tar:
        assert tar.getnames() == []


def test_a_second_one_at_the_same_time(home: Path) -> None:
    (home / "backup").mkdir()
    other = os.open(home / "backup", os.O_RDONLY)
    try:
        fcntl.flock(other, fcntl.LOCK_EX)
        with pytest.raises(BackupError, match="another backup is being made"):
            create(home, "crs1", MOMENT)
    finally:
        os.close(other)
    create(home, "crs1", MOMENT)
    with pytest.raises(BackupError, match="exists already"):
        create(home, "crs1", MOMENT)


@pytest.mark.parametrize("content", [b"this is no database", b"SQLite format 3\0" + bytes(100)])
def test_a_damaged_database_makes_no_archive(home: Path, content: bytes) -> None:
    (home / "data" / "crs.db").write_bytes(content)
    with pytest.raises(BackupError, match=r"crs\.db"):
        create(home, "crs1", MOMENT)
    assert list((home / "backup").iterdir()) == []


def test_a_folder_that_cannot_be_written(home: Path) -> None:
    (home / "backup").write_text("in the way")
    with pytest.raises(BackupError, match="backup"):
        create(home, "crs1", MOMENT)


@pytest.mark.parametrize("size", [0, 4096, 20_000])
def test_a_full_disk_leaves_nothing_behind(home: Path, size: int) -> None:
    """A limit of the size of files stands in for the disk: writing fails in the same places."""
    with closing(database(home)) as connection:
        connection.execute("CREATE TABLE much (x BLOB)")
        connection.execute("INSERT INTO much VALUES (zeroblob(15000))")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        with pytest.raises(BackupError, match="backup"):
            create(home, "crs1", MOMENT)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)
    assert list((home / "backup").iterdir()) == []
