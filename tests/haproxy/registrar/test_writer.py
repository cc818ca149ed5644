"""Write-behind."""

import time
from pathlib import Path
from typing import Any

from twisted.internet import reactor

from haproxy.registrar import table
from haproxy.registrar.database import Database, DatabaseError, subscriber_rows
from haproxy.registrar.location import Binding, LocationService, Removed, Saved, address_of_record
from haproxy.registrar.subscriber import Subscriber
from haproxy.registrar.writer import BindingWriter, binding_of, ruid_of
from rtlib.testing import loop


def binding(user: str = "5000", cseq: int = 1) -> Binding:
    aor = address_of_record(user.encode(), b"example.org")
    return Binding(aor, b"sip:\xe9@192.0.2.5", 1e9, call_id=b"c", cseq=cseq, q=0.5, modified=1.0)


def describe(flow: object) -> tuple[str, str]:
    return "udp:192.0.2.1:5060", f"flow {flow}"


def opened(path: Path) -> Database:
    database = Database(path / "genproxy.db")
    database.open()
    return database


def test_stop_writes_what_is_left(tmp_path: Path) -> None:
    async def story() -> BindingWriter:
        writer = BindingWriter(reactor, opened(tmp_path), describe)
        writer.startService()
        writer.add(Saved(binding()))
        writer.add(Saved(binding(cseq=2)))
        writer.add(Saved(binding("5001")))
        writer.add(Removed(binding("5001"), "expired"))
        writer.keep("primary", "0")
        writer.mirror(table.subscriber, subscriber_rows([Subscriber(b"5000", b"example.org")]))
        assert writer.pending == 2
        await writer.stopService()
        return writer

    writer = loop.run(story)
    assert (writer.pending, writer.written) == (0, 2)
    database = opened(tmp_path)
    (row,), exact = database.bindings(0.0)
    assert not exact
    assert (row.cseq, row.received, database.value("primary")) == (2, "flow None", "0")
    again = binding_of(row, lambda socket, received: received, row.expires - 1e9, exact=True)
    assert (again.aor, again.contact, again.expires, again.flow) == (
        b"5000@example.org",
        b"sip:\xe9@192.0.2.5",
        1e9,
        "flow None",
    )
    assert not again.lags


def test_a_stop_writes_refreshes_exactly_and_a_crash_gives_them_the_benefit_of_doubt(tmp_path: Path) -> None:
    now = time.monotonic()
    one = Binding(b"5000@example.org", b"sip:a", now + 100, call_id=b"c", cseq=1, modified=now)
    location = LocationService()

    async def story(*, orderly: bool) -> None:
        writer = BindingWriter(reactor, opened(tmp_path), describe)
        writer.startService()
        if not len(location):
            location.save(one)
            writer.add(Saved(one))
        location.renew(one, now + 140, b"c", one.cseq + 1, now + 40)
        if orderly:
            writer.settle(location)
        await writer.stopService()

    def read() -> Binding:
        rows, exact = opened(tmp_path).bindings(time.time())
        offset = time.time() - time.monotonic()
        return binding_of(rows[0], lambda socket, received: None, offset, exact=exact)

    loop.run(lambda: story(orderly=False))
    crashed = read()
    assert (round(crashed.expires - now), crashed.cseq, crashed.lags) == (150, 1, True)
    loop.run(lambda: story(orderly=True))
    stopped = read()
    assert (round(stopped.expires - now), stopped.cseq, stopped.lags) == (140, 3, False)


def test_what_could_not_be_noted_is_not_said_to_be_exact(tmp_path: Path) -> None:
    async def story() -> None:
        writer = BindingWriter(reactor, opened(tmp_path), describe, limit=1)
        writer.startService()
        writer.add(Saved(binding()))
        writer.add(Saved(binding("5001")))
        writer.settle(())
        await writer.stopService()

    loop.run(story)
    assert not opened(tmp_path).bindings(0.0).exact


class Failing(Database):
    """A database whose disk is full at first."""

    full = True

    def write(self, *rows: Any) -> None:
        if self.full:
            raise DatabaseError("the disk is full")
        super().write(*rows)


def test_a_failed_write_is_tried_again(tmp_path: Path) -> None:
    async def story() -> None:
        database = Failing(tmp_path / "genproxy.db")
        database.open()
        writer = BindingWriter(reactor, database, describe)
        writer.startService()
        writer.add(Saved(binding()))
        await writer.flush()
        assert (writer.pending, writer.failures) == (1, 1)
        database.full = False
        await writer.stopService()
        assert writer.pending == 0

    loop.run(story)
    assert len(opened(tmp_path).bindings(0.0).bindings) == 1


def test_bounded() -> None:
    writer = BindingWriter(reactor, Database(Path("unused")), describe, limit=1)
    writer.add(Saved(binding()))
    writer.add(Saved(binding("5001")))
    writer.add(Removed(binding(), "expired"))
    assert (writer.pending, writer.dropped) == (1, 1)


def test_one_row_for_each_contact() -> None:
    assert ruid_of(b"a@h", b"sip:a") == ruid_of(b"a@h", b"sip:a")
    assert len({ruid_of(b"a@h", b"sip:a"), ruid_of(b"b@h", b"sip:a"), ruid_of(b"a@h", b"sip:b")}) == 3
