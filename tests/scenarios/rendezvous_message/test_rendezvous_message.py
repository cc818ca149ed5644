"""Messages for clients that are away are kept, delivered at attach, confirmed, and survive a crash."""

from base64 import b64encode
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.defer import Deferred, gatherResults

from crs.client.client import Client
from crs.client.error import ClientError, Refused
from crs.client.testing import ACCOUNT, CrsServer, Memory, program, run
from crs.signaling.message import MAX_PAYLOAD, Deliver, ErrorCode, Kind, Recipient
from rtlib.testing.daemon import Daemon
from rtlib.testing.loop import installed_reactor
from rtlib.testing.loop import run as run_on_reactor


@pytest.fixture
def server(tmp_path: Path) -> Iterator[CrsServer]:
    with CrsServer(tmp_path / "home") as running:
        yield running


@pytest.fixture
def reactor() -> Any:
    return installed_reactor()


async def known(server: CrsServer, reactor: Any, *uris: str) -> None:
    """Attach each once, so that the server knows them."""
    for uri in uris:
        client, _ = await server.attached(reactor, uri)
        await client.close()


async def take(memory: Memory, count: int) -> list[Deliver]:
    return [await memory.messages.get() for _ in range(count)]


def test_delivered_at_attach_confirmed_and_gone(server: CrsServer, reactor: Any) -> None:
    async def story() -> None:
        await known(server, reactor, "+472")
        alice, told = await server.attached(reactor, "+471")
        labels = [await alice.post("+472", f"message {index}".encode()) for index in range(40)]
        bob, news = await server.attached(reactor, "+472")
        items = await take(news, 40)
        assert [item.message for item in items] == labels, "in order, also beyond the window"
        assert [item.payload for item in items] == [f"message {index}".encode() for index in range(40)]
        assert {(item.kind, item.sender, item.account) for item in items} == {(Kind.content, "+471", ACCOUNT)}
        receipts = [await told.receipts.get() for _ in range(40)]
        assert [(item.message, item.sender) for item in receipts] == [(label, "+472") for label in labels]
        await bob.close()
        await alice.close()
        bob, news = await server.attached(reactor, "+472")
        await bob.post("+472", b"a note to self")
        assert (await news.messages.get()).payload == b"a note to self", "nothing else was left"
        await bob.close()

    run_on_reactor(story, timeout=60)


def test_unconfirmed_is_delivered_again(server: CrsServer, reactor: Any) -> None:
    async def story() -> None:
        await known(server, reactor, "+474")
        alice, _ = await server.attached(reactor, "+473")
        await alice.post("+474", b"keep me")
        for _ in range(2):
            bob, news = server.client(reactor, "+474")
            news.keep_messages = False
            await bob.connect()
            await bob.attach()
            assert (await news.messages.get()).payload == b"keep me"
            await bob.close()
        await alice.close()

    run_on_reactor(story, timeout=60)


def test_a_repeated_post_is_delivered_once(server: CrsServer, reactor: Any) -> None:
    """Also over another connection, and also after the first was confirmed."""

    async def story() -> None:
        bob, news = await server.attached(reactor, "+476")
        for _ in range(2):
            alice, told = await server.attached(reactor, "+475")
            for _ in range(3):
                assert await alice.post("+476", b"once", label="m1") == "m1"
            if not news.messages.pending:
                assert (await told.receipts.get()).message == "m1"
            await alice.close()
        alice, _ = await server.attached(reactor, "+475")
        await alice.post("+476", b"last", label="m2")
        assert [item.message for item in await take(news, 2)] == ["m1", "m2"]
        await alice.close()
        await bob.close()

    run_on_reactor(story, timeout=60)


def test_a_message_to_a_group(server: CrsServer, reactor: Any) -> None:
    """Each recipient has it once, also when the sender repeats it; the sender knows who has it."""

    async def story() -> None:
        alice, _ = await server.attached(reactor, "+484")
        members = [await server.attached(reactor, uri) for uri in ("+485", "+486")]
        await known(server, reactor, "+487")
        to = [Recipient(uri=uri) for uri in ("+485", "+486", "+487", "+488")]
        for _ in range(2):
            results = await alice.post_group(to, b"welcome", label="g1", system=True)
            assert [result.code for result in results] == [None, None, None, ErrorCode.not_found]
        members.append(await server.attached(reactor, "+487"))
        for member, news in members:
            item = await news.messages.get()
            assert (item.message, item.payload, item.sender, item.system) == ("g1", b"welcome", "+484", True)
            await alice.post(member.credentials.uri, b"next")
            assert (await news.messages.get()).payload == b"next"
            await member.close()
        await alice.close()

    run_on_reactor(story, timeout=60)


def test_refusals(server: CrsServer, reactor: Any) -> None:
    async def story() -> None:
        await known(server, reactor, "+478")
        alice, _ = await server.attached(reactor, "+477")
        for to, payload, code in (
            ("+479", b"who?", ErrorCode.not_found),
            ("+478", bytes(MAX_PAYLOAD + 1), ErrorCode.too_large),
            ("", b"", ErrorCode.bad_message),
        ):
            with pytest.raises(Refused) as refusal:
                await alice.post(to, payload)
            assert refusal.value.code is code, refusal.value
        await alice.post("+478", bytes(MAX_PAYLOAD))
        await alice.close()

    run_on_reactor(story, timeout=60)


def test_kill_and_restart_lose_no_acknowledged_message(server: CrsServer, reactor: Any) -> None:
    """The server is killed while posts are under way: what it has answered is delivered afterwards."""
    acknowledged: list[str] = []

    async def post_until_killed() -> None:
        await known(server, reactor, "+482")
        alice, _ = await server.attached(reactor, "+481")
        await gatherResults([Deferred.fromCoroutine(post(alice, worker)) for worker in range(8)])
        await alice.lost.wait()

    async def post(alice: Client, worker: int) -> None:
        """One post after the other, while others do the same, until the server is gone."""
        for index in range(20):
            label = f"m{worker}-{index}"
            try:
                await alice.post("+482", label.encode(), label=label)
            except ClientError:
                return
            acknowledged.append(label)
            if len(acknowledged) == 60:
                server.daemon.kill()

    async def collect() -> None:
        bob, news = await server.attached(reactor, "+482")
        delivered: set[str] = set()
        while not set(acknowledged) <= delivered:
            delivered.add((await news.messages.get()).message)
        alice, _ = await server.attached(reactor, "+481")
        for label in acknowledged:
            await alice.post("+482", b"again", label=label)
        await alice.post("+482", b"the end", label="end")
        rest = [(await news.messages.get()).message]
        while rest[-1] != "end":
            rest.append((await news.messages.get()).message)
        assert not set(rest) & set(acknowledged), "posted again after the crash, and still delivered once"
        await alice.close()
        await bob.close()

    run_on_reactor(post_until_killed, timeout=60)
    assert 60 <= len(acknowledged) < 150
    server.daemon.start()
    run_on_reactor(collect, timeout=60)


def test_crs_client_on_the_command_line(server: CrsServer, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text(b64encode(server.secret).decode())

    def client(command: str, *words: str, uri: str) -> list[str]:
        options = ("--server", str(server.address), "--account", ACCOUNT, "--uri", uri)
        return [command, *words, *options, "--secret-file", str(secret)]

    sealed = ("--e2e-secret-file", str(secret))
    assert run("crs.client.cli", *client("attach", uri="+492")).returncode == 0
    sent = run("crs.client.cli", *client("send", "+492", "good morning", uri="+491"), *sealed)
    assert (sent.returncode, "encrypted end to end" in sent.stdout) == (0, True), sent.stderr
    plain = run("crs.client.cli", *client("send", "+492", "in the clear", uri="+491"))
    assert "not encrypted end to end" in plain.stdout
    listen = program("crs.client.cli", *client("listen", uri="+492"), *sealed)
    with Daemon(listen, "left in the mailbox") as listener:
        assert "from +491@demo: good morning" in listener.output
        assert "left in the mailbox: the message is not encrypted" in listener.output
        listener.stop()
    receipt = run("crs.client.cli", *client("listen", "--seconds", "0.5", uri="+491"))
    assert "was confirmed by +492@demo" in receipt.stdout
    others = ("--also", "+491", "--also", "+499")
    group = run("crs.client.cli", *client("send", "+492", "to all", *others, uri="+491"), *sealed)
    assert group.returncode == 0
    posted = group.stdout.splitlines()[-3:]
    assert ["to +492@demo, encrypted" in posted[0], "to +491@demo, encrypted" in posted[1]] == [True, True]
    assert posted[2] == "not posted to +499@demo: no client +499@demo is known (not-found)"
    with Daemon(listen, "to all") as listener:
        assert "from +491@demo: to all" in listener.output
        listener.stop()
    unknown = run("crs.client.cli", *client("send", "+499", "hello?", uri="+491"))
    assert unknown.returncode == 1
    assert unknown.stderr.startswith("crs-client: no client +499@demo is known (not-found)")
