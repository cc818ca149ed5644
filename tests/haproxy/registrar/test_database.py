"""Kamailio's tables in SQLite."""

import sqlite3
from pathlib import Path

import pytest

from haproxy.registrar import table
from haproxy.registrar.database import EXACT, Database, DatabaseError, StoredBinding, subscriber_rows
from haproxy.registrar.subscriber import Subscriber


def stored(ruid: str = "r1", **changes: object) -> StoredBinding:
    values: dict[str, object] = {
        "ruid": ruid, "username": "5000", "domain": "example.org", "contact": "sip:5000@192.0.2.5",
        "received": "sip:192.0.2.5:5060", "path": "", "expires": 2_000_000_000.5, "q": 0.5, "call_id": "c",
        "cseq": 7, "modified": 1_900_000_000.0, "user_agent": "phone", "socket": "udp:192.0.2.1:5060",
    }  # fmt: skip
    return StoredBinding(**values | changes)  # type: ignore[arg-type]  # the values are of the fields' types


@pytest.fixture
def database(tmp_path: Path) -> Database:
    made = Database(tmp_path / "genproxy.db")
    made.open()
    return made


def test_round_trip(database: Database, tmp_path: Path) -> None:
    database.write([stored(), stored("r2", contact="sip:x")], [])
    database.write([stored(cseq=8)], ["r2"])
    database.close()
    again = Database(tmp_path / "genproxy.db")
    again.open()
    assert again.bindings(1_900_000_000.0).bindings == [stored(cseq=8)]


def test_expired_ones_are_deleted(database: Database) -> None:
    database.write([stored()], [])
    database.keep(EXACT, "")
    assert database.bindings(2_000_000_001.0) == ([], True)
    assert database.bindings(0.0) == ([], False)


def test_without_an_orderly_stop_they_may_have_been_refreshed(database: Database) -> None:
    database.write([stored(modified=1_999_999_900.5), stored("r2", modified=1_999_999_999.5)], [])
    (row,), exact = database.bindings(2_000_000_049.0)
    assert (row.ruid, row.expires, row.covered, exact) == ("r1", 2_000_000_000.5, 2_000_000_050.5, False)
    assert database.bindings(2_000_000_051.0).bindings == []


def test_many_rows_at_once(database: Database) -> None:
    rows = [stored(f"r{number}") for number in range(1500)]
    database.write(rows, [])
    database.write(rows, [])
    assert len(database.bindings(0.0).bindings) == 1500


def test_kamailio_finds_what_it_expects(database: Database, tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "genproxy.db") as connection:
        found = dict(connection.execute("SELECT table_name, table_version FROM version"))
    assert found == {"location": 9, "subscriber": 7, "uacreg": 5, "address": 6}


def test_only_the_owner_may_read_it(database: Database, tmp_path: Path) -> None:
    assert {path.stat().st_mode & 0o777 for path in tmp_path.iterdir()} == {0o600}


def test_the_mirror_has_no_passwords(database: Database, tmp_path: Path) -> None:
    subscriber = Subscriber.with_password(b"5000", b"example.org", b"open sesame")
    database.mirror(table.subscriber, subscriber_rows([subscriber]))
    with sqlite3.connect(tmp_path / "genproxy.db") as connection:
        rows = list(connection.execute("SELECT username, domain, password, length(ha1) FROM subscriber"))
    assert rows == [("5000", "example.org", "", 32)]
    database.mirror(table.subscriber, [])
    with sqlite3.connect(tmp_path / "genproxy.db") as connection:
        assert list(connection.execute("SELECT * FROM subscriber")) == []


def test_values(database: Database) -> None:
    assert database.value("primary") is None
    database.keep("primary", "1")
    database.keep("primary", "0")
    assert database.value("primary") == "0"


def test_what_is_no_database(tmp_path: Path) -> None:
    (tmp_path / "other.db").write_bytes(b"not a database" * 100)
    with pytest.raises(DatabaseError, match="not a database"):
        Database(tmp_path / "other.db").open()
    with pytest.raises(DatabaseError, match="No such file"):
        Database(tmp_path / "none" / "x.db").open()
