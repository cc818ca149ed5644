"""crs-cli against a running server: each command's columns, exit codes and JSON."""

import json
import re
import signal
from base64 import b64decode
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.threads import deferToThread

from crs.client.error import Refused
from crs.client.testing import ACCOUNT, CrsServer, run
from crs.version import VERSION
from rtlib.testing.loop import installed_reactor
from rtlib.testing.loop import run as run_on_reactor

SECRET = "c2VjcmV0IHNlY3JldCBzZWNyZXQ="


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CrsServer]:
    with CrsServer(tmp_path_factory.mktemp("crs")) as running:
        yield running


@pytest.fixture
def reactor() -> Any:
    return installed_reactor()


def columns(text: str) -> list[list[str]]:
    """A table's lines, split where two spaces or more are."""
    return [re.split(r" {2,}", line.rstrip()) for line in text.splitlines()]


def ok(server: CrsServer, *arguments: str) -> str:
    """What a command prints that must succeed."""
    done = server.cli(*arguments)
    assert (done.returncode, done.stderr) == (0, ""), done
    return done.stdout


async def ask(server: CrsServer, *arguments: str) -> list[list[str]]:
    """A table, asked for while this process's reactor runs on."""
    text: str = await deferToThread(ok, server, *arguments)
    return columns(text)


def test_accounts(server: CrsServer) -> None:
    ok(server, "create", "account", "blue", "-s", SECRET)
    ok(server, "create", "account", "green", "-B32")
    table = columns(ok(server, "list", "account"))
    assert table[0] == ["ID", "path", "shared secret"]
    rows = {row[0]: row[1:] for row in table[1:]}
    assert set(rows) == {"blue", "green", ACCOUNT}
    assert rows["blue"] == [str(server.home / "accounts" / "blue"), SECRET]
    assert len(b64decode(rows["green"][1])) == 32
    file = server.home / "accounts" / "blue" / "account.conf"
    assert file.stat().st_mode & 0o777 == 0o600
    assert f"secret {SECRET}\n" in file.read_text()
    ok(server, "delete", "account", "blue")
    assert not file.parent.exists()
    ok(server, "delete", "account", "green")
    assert [row[0] for row in columns(ok(server, "list", "account"))[1:]] == [ACCOUNT]
    assert SECRET not in server.daemon.output, "secrets are never logged"


@pytest.mark.parametrize(
    ("arguments", "code", "reason"),
    [
        (("create", "account", ACCOUNT), 1, "exists already"),
        (("create", "account", "no spaces"), 2, "a-z, A-Z, 0-9"),
        (("create", "account", "x" * 21), 2, "a-z, A-Z, 0-9"),
        (("create", "account", "red", "-s", "???"), 2, "base64"),
        (("create", "account", "red", "-s", SECRET, "-b", "128"), 2, "exclude"),
        (("create", "account", "red", "-B", "0"), 2, "1 to"),
        (("create", "account"), 2, "ACCOUNT"),
        (("delete", "account", "nobody"), 1, "no account nobody"),
        (("show", "nothing"), 2, "No such command"),
        (("show", "attach", "superfluous"), 2, "unexpected"),
    ],
)
def test_failures(server: CrsServer, arguments: tuple[str, ...], code: int, reason: str) -> None:
    done = server.cli(*arguments)
    assert done.returncode == code, done
    assert reason.lower() in " ".join(done.stderr.split()).lower()
    assert "Traceback" not in done.stderr
    assert done.stdout == ""


def test_without_a_server(tmp_path: Path) -> None:
    """Secrets and the version need none; the others say that it is not running."""
    home = ("--home", str(tmp_path))
    for options, size in (((), 16), (("-b", "129"), 17), (("-B32",), 32)):
        made = run("crs.cli", *home, "create", "sharedSecret", *options)
        assert (made.returncode, len(b64decode(made.stdout.strip(), validate=True))) == (0, size)
    version = run("crs.cli", *home, "show", "version")
    assert (version.returncode, version.stdout.strip()) == (0, VERSION)
    for words in (("show", "attach"), ("list", "account"), ("trace", "session")):
        done = run("crs.cli", *home, *words)
        assert done.returncode == 1
        assert f"crs is not running (no answer at {tmp_path / 'run' / 'crs.sock'})" in done.stderr


def test_empty_tables_have_their_headings(server: CrsServer) -> None:
    assert columns(ok(server, "show", "attach")) == [["URI", "ACCOUNT", "TIME", "VERSION", "IP:PORT", "CRS"]]
    assert columns(ok(server, "show", "relays")) == [["TYPE", "NODES", "LAST ACTIVE", "IDENTIFIERS"]]
    assert json.loads(ok(server, "--json", "show", "attach")) == []


def test_attached_clients(server: CrsServer, reactor: Any) -> None:
    async def story() -> None:
        client, _ = await server.attached(reactor, "+4711")
        table = await ask(server, "show", "attach")
        assert table[0] == ["URI", "ACCOUNT", "TIME", "VERSION", "IP:PORT", "CRS"]
        (row,) = table[1:]
        assert (row[0], row[1], row[3], row[5]) == ("+4711", ACCOUNT, "crs-client/0.1.0", "crs1")
        assert 0 <= int(row[2]) < 10
        assert re.fullmatch(r"127\.0\.0\.1:\d+", row[4])
        shown = json.loads(await deferToThread(ok, server, "--json", "show", "attach"))
        assert [(entry["uri"], entry["account"]) for entry in shown] == [("+4711", ACCOUNT)]
        await client.close()
        assert len(await ask(server, "show", "attach")) == 1

    run_on_reactor(story, timeout=60)


def test_sessions_and_their_relays(server: CrsServer, reactor: Any) -> None:
    async def states() -> dict[str, str]:
        table = await ask(server, "show", "session")
        assert table[0] == ["CALLER", "CALLEE", "TIME", "STATE"]
        assert all(0 <= int(row[2]) < 20 for row in table[1:])
        return {f"{row[0]} {row[1]}": row[3] for row in table[1:]}

    async def story() -> None:
        alice, _ = await server.attached(reactor, "+4721")
        bob, told = await server.attached(reactor, "+4722")
        outgoing = await alice.call("+4722", streams=2)
        assert (await states())["+4721 +4722"] == "invite"
        incoming = await told.calls.get()
        await incoming.ring()
        assert (await states())["+4721 +4722"] == "ringing"
        await incoming.answer()
        await outgoing.answered.wait()
        assert (await states())["+4721 +4722"] == "talk"
        relays = await ask(server, "show", "relays")
        assert relays[0] == ["TYPE", "NODES", "LAST ACTIVE", "IDENTIFIERS"]
        assert [row[:2] for row in relays[1:]] == [["rtp", "2"]] * 2
        for row, stream in zip(relays[1:], outgoing.streams, strict=True):
            assert datetime.fromisoformat(row[2]).tzinfo is not None
            numbers = {int(number) for number in re.findall(r"\d+", row[3])}
            assert numbers == {stream.relay.identifier, stream.relay.peer}
        await incoming.hangup()
        await outgoing.ended.wait()
        with pytest.raises(Refused):
            await alice.call("+4799")
        await bob.close()
        with pytest.raises(Refused):
            await alice.call("+4722")
        table = await ask(server, "show", "session")
        assert sorted(row[3] for row in table[1:] if row[0] == "+4721") == [
            "hangup(hangup; callee)",
            "responder not connected",
            "responder not found",
        ]
        await alice.close()

    run_on_reactor(story, timeout=60)


def test_message_counters(server: CrsServer, reactor: Any) -> None:
    async def story() -> None:
        alice, told = await server.attached(reactor, "+4731")
        bob, news = await server.attached(reactor, "+4732")
        for _ in range(3):
            await alice.post("+4732", b"text")
            await news.messages.get()
            await told.receipts.get()
        table = await ask(server, "show", "message")
        assert table[0] == ["URI", "POST", "DELIV", "READ", "ACCOUNT", "SYSPOST", "SYSDELIV"]
        rows = {row[0]: row[1:] for row in table[1:]}
        assert (rows["+4731"][0], rows["+4731"][1], rows["+4731"][3]) == ("3", "3", ACCOUNT)
        assert rows["+4732"][:2] == ["0", "0"]
        assert datetime.fromisoformat(rows["+4732"][2]).tzinfo is not None
        await alice.close()
        await bob.close()

    run_on_reactor(story, timeout=60)


def test_traces(server: CrsServer, reactor: Any) -> None:
    """Each event is one line of the manual's fields; ctrl-c ends a trace with exit code 0."""

    async def story() -> None:
        alice, told = await server.attached(reactor, "+4741")
        bob, news = await server.attached(reactor, "+4742")
        label = await alice.post("+4742", b"text")
        await news.messages.get()
        await told.receipts.get()
        outgoing = await alice.call("+4742")
        await (await told_call(news)).decline()
        await outgoing.ended.wait()
        await bob.detach()
        await alice.close()
        await bob.close()
        labels.append(label)
        labels.append(outgoing.parties.session)

    async def told_call(memory: Any) -> Any:
        return await memory.calls.get()

    labels: list[str] = []
    with (
        server.trace("attach") as attach,
        server.trace("session") as session,
        server.trace("message") as message,
    ):
        run_on_reactor(story, timeout=60)
        attach.wait_for_text(r"\+4742.*unregistered")
        session.wait_for_text("hangup")
        message.wait_for_text("posted ack")
        rows = [line.split(", ") for line in attach.events]
        assert {len(row) for row in rows} == {10}
        assert [row[3:6] + [row[8]] for row in rows[:2]] == [
            ["primary", "+4741", ACCOUNT, "registered"],
            ["primary", "+4742", ACCOUNT, "registered"],
        ]
        rows = [line.split(", ") for line in session.events]
        assert [row[0:1] + row[2:] for row in rows] == [
            ["event", "+4741", "+4742", "invite", ACCOUNT, labels[1]],
            ["event", "+4741", "+4742", "hangup(decline; callee)", ACCOUNT, labels[1]],
        ]
        rows = [line.split(", ") for line in message.events]
        assert [row[2:] for row in rows] == [
            ["+4741", "+4742", "posted content", ACCOUNT, labels[0]],
            ["+4741", "+4742", "delivered", ACCOUNT, labels[0]],
            ["+4742", "+4741", "posted ack", ACCOUNT, labels[0]],
        ]
        assert all(datetime.fromisoformat(row[1]).tzinfo is not None for row in rows)
        for trace in (attach, session, message):
            trace.process.send_signal(signal.SIGINT)
            assert trace.process.wait(5) == 0, trace.output
            assert "Traceback" not in trace.output
