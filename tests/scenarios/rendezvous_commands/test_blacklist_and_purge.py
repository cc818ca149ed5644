"""Blacklist, purge, reload, services and slots against a running server; every act is in the audit log."""

import os
import re
from base64 import b64encode
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.threads import deferToThread

from crs.client.error import Refused
from crs.client.testing import ACCOUNT, CrsServer, run
from crs.signaling.message import EndReason, ErrorCode, Who
from rtlib.testing.loop import installed_reactor
from rtlib.testing.loop import run as run_on_reactor


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CrsServer]:
    with CrsServer(tmp_path_factory.mktemp("crs")) as running:
        yield running


@pytest.fixture
def reactor() -> Any:
    return installed_reactor()


def ok(server: CrsServer, *arguments: str) -> str:
    """What a command prints that must succeed."""
    done = server.cli(*arguments)
    assert (done.returncode, done.stderr) == (0, ""), done
    return done.stdout


def rows(text: str) -> list[list[str]]:
    """A table's lines, split where two spaces or more are."""
    return [re.split(r" {2,}", line.rstrip()) for line in text.splitlines()]


def test_a_blacklisted_client_is_out_at_once_and_stays_out(server: CrsServer, reactor: Any) -> None:
    async def story() -> None:
        alice, _ = await server.attached(reactor, "+4711")
        bob, told = await server.attached(reactor, "+4712")
        call = await alice.call("+4712")
        incoming = await told.calls.get()
        await incoming.answer()
        await call.answered.wait()
        assert await deferToThread(ok, server, "blacklist", "add", ACCOUNT, "+4711") == ""
        end = await incoming.ended.wait()
        assert (end.reason, end.who) == (EndReason.hangup, Who.server)
        await alice.lost.wait()
        again, _ = server.client(reactor, "+4711")
        await again.connect()
        for _ in range(2):
            with pytest.raises(Refused, match="blacklisted") as refused:
                await again.attach()
            assert refused.value.code is ErrorCode.denied
        assert await deferToThread(ok, server, "show", "blacklist", ACCOUNT) == "URI\n+4711\n"
        table = rows(await deferToThread(ok, server, "show", "attach"))
        assert [row[0] for row in table[1:]] == ["+4712"]
        await deferToThread(ok, server, "blacklist", "remove", ACCOUNT, "+4711")
        await again.attach()
        assert not bob.lost.decided
        await again.close()
        await bob.close()

    run_on_reactor(story, timeout=60)


def test_a_purged_client_may_come_back(server: CrsServer, reactor: Any) -> None:
    async def story() -> None:
        alice, _ = await server.attached(reactor, "+4721")
        bob, _ = await server.attached(reactor, "+4722")
        assert (
            await deferToThread(ok, server, "purge", "client", ACCOUNT, "+4721")
            == f"+4721@{ACCOUNT} is purged\n"
        )
        await alice.lost.wait()
        assert not bob.lost.decided
        alice, _ = await server.attached(reactor, "+4721")
        text = await deferToThread(ok, server, "purge", "clients", ACCOUNT)
        assert text == f"2 connections of {ACCOUNT} are purged\n"
        await alice.lost.wait()
        await bob.lost.wait()

    run_on_reactor(story, timeout=60)


def test_reload_takes_new_files(server: CrsServer, reactor: Any) -> None:
    folder = server.home / "accounts" / "late"
    folder.mkdir()
    (folder / "account.conf").write_text(f"secret {b64encode(server.secret).decode()}\n")
    (folder / "account.conf").chmod(0o600)
    assert "late" not in ok(server, "show", "account")
    assert ok(server, "reload", "account") == "2 accounts are loaded\n"
    table = rows(ok(server, "show", "account"))
    assert table[0] == ["SERVER", "MODULE", "PID", "LOADED ACCOUNTS"]
    assert table[1][:2] == ["crs1", "app:crs"]
    assert table[1][3] == f"{ACCOUNT},late"
    (folder / "blacklist").write_text("two words\n")
    done = server.cli("reload", "account")
    assert done.returncode == 1
    assert f"{folder}/blacklist:1: " in done.stderr
    (folder / "blacklist").unlink()


def test_system_services_and_slot(server: CrsServer) -> None:
    table = rows(ok(server, "show", "system"))
    assert table[0] == ["SERVER", "PROCESS", "PID", "SLOTS"]
    assert table[1] == ["crs1", "app: crs", str(server.daemon.process.pid), "0-1023"]
    table = rows(ok(server, "show", "services"))
    assert table == [
        ["Server", "Service", "Status"],
        ["crs1", "crs", "active"],
        ["crs1", "crs_relay", "active"],
    ]
    slot = ok(server, "check", "slot", "+4612345").splitlines()
    assert [line.split() for line in slot] == [["SLOT", "444"], ["PRIMARY", "crs1"], ["SECONDARY"]]


def test_what_works_without_a_server(tmp_path: Path) -> None:
    home = ("--home", str(tmp_path))
    services = run("crs.cli", *home, "show", "services")
    assert (services.returncode, services.stderr) == (0, "")
    assert [row[2] for row in rows(services.stdout)[1:]] == ["inactive", "inactive"]
    slot = run("crs.cli", *home, "check", "slot", "+4612345")
    assert (slot.returncode, slot.stdout.split()[1]) == (0, "444")
    for words in (("blacklist", "add", "a", "+1"), ("purge", "clients", "a"), ("reload", "account")):
        done = run("crs.cli", *home, *words)
        assert done.returncode == 1
        assert "crs is not running" in done.stderr


@pytest.mark.parametrize(
    ("words", "code", "reason"),
    [
        (("blacklist", "add", "nobody", "+1"), 1, "no account nobody"),
        (("blacklist", "add", "no body", "+1"), 2, "a-z"),
        (("blacklist", "add", ACCOUNT, "+ 1"), 2, "uri"),
        (("blacklist", "add", ACCOUNT), 2, "URI"),
        (("blacklist", "remove", ACCOUNT, "+1"), 1, "not on the blacklist"),
        (("show", "blacklist", "nobody"), 1, "no account nobody"),
        (("purge", "client", ACCOUNT, "+1"), 1, "not connected"),
        (("purge", "clients", "nobody"), 1, "no account nobody"),
        (("check", "slot", "+4 6"), 2, "uri"),
        (("reload", "account", "superfluous"), 2, "unexpected"),
    ],
)
def test_failures(server: CrsServer, words: tuple[str, ...], code: int, reason: str) -> None:
    done = server.cli(*words)
    assert (done.returncode, done.stdout) == (code, ""), done
    assert reason in done.stderr
    assert "Traceback" not in done.stderr


def test_acts_are_audited(server: CrsServer) -> None:
    ok(server, "create", "account", "audited", "-s", "c2VjcmV0IHNlY3JldCBzZWNyZXQ=")
    server.cli("create", "account", "audited")
    ok(server, "list", "account")
    ok(server, "show", "attach")
    ok(server, "delete", "account", "audited")
    text = (server.home / "log" / "audit.log").read_text()
    acts = [line.partition("command=")[2] for line in text.splitlines()]
    made = acts.index('"create account" secret="***" account_id="audited" result="ok"')
    assert acts[made + 1 : made + 4] == [
        '"create account" account_id="audited" result="account audited exists already"',
        '"list account" result="ok"',
        '"delete account" account_id="audited" result="ok"',
    ]
    assert f" uid={os.getuid()} user=" in text.splitlines()[-1]


def test_traces(server: CrsServer, reactor: Any) -> None:
    async def story() -> None:
        alice, _ = await server.attached(reactor, "+4741")
        bob, news = await server.attached(reactor, "+4742")
        await alice.post("+4742", b"text")
        await news.messages.get()
        call = await alice.call("+4742")
        await (await news.calls.get()).decline()
        await call.ended.wait()
        await alice.close()
        await bob.close()
        await deferToThread(ok, server, "blacklist", "add", ACCOUNT, "+4741")

    with (
        server.trace("connection") as connection,
        server.trace("statistics") as statistics,
        server.trace("object") as object_,
        server.trace("event") as event,
    ):
        run_on_reactor(story, timeout=60)
        connection.wait_for_text(r"(?s)closed.*closed")
        object_.wait_for_text("add to blacklist")
        event.wait_for_text("blacklist add")
        fields = [line.split(", ") for line in connection.events]
        assert {(len(row), row[0]) for row in fields} == {(8, "event")}
        first = [row[3:5] + row[7:] for row in fields if row[2] == fields[0][2]]
        client = f"+4741@{ACCOUNT}"
        assert first == [
            ["unknown", "unknown", "connected"],
            ["client", client, "authenticated"],
            ["client", client, "negotiated"],
            ["client", client, "closed"],
        ]
        counted = [line.split(", ") for line in statistics.events]
        assert sorted(row[2:] for row in counted) == [
            ["message-incoming", "+4742", ACCOUNT],
            ["message-outgoing", "+4741", ACCOUNT],
            ["session-incoming", "+4742", ACCOUNT],
            ["session-outgoing", "+4741", ACCOUNT],
        ]
        assert object_.events[0].split(", ")[2:] == ["+4741", "add to blacklist"]
        module, kind, time, _ = event.events[0].split(", ", 3)
        assert (kind, time[-1]) == ("dbg", "Z")
        assert re.fullmatch(r"[\w-]+", module)
