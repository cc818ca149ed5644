"""Clients connect over TLS-PSK and attach; the newest connection wins; strangers stay outside."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from crs.client.client import Client
from crs.client.credentials import Server
from crs.client.error import Denied, Refused, Unreachable
from crs.client.testing import ACCOUNT, CrsServer, program, run
from crs.signaling.message import ErrorCode
from rtlib.testing.daemon import Daemon, free_port
from rtlib.testing.loop import installed_reactor
from rtlib.testing.loop import run as run_on_reactor


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CrsServer]:
    with CrsServer(tmp_path_factory.mktemp("crs")) as running:
        yield running


@pytest.fixture
def reactor() -> Any:
    return installed_reactor()


def test_attach_and_detach(server: CrsServer, reactor: Any) -> None:
    async def story() -> None:
        client, _ = server.client(reactor, "+461")
        await client.connect()
        with pytest.raises(Refused) as refusal:
            await client.post("+461", b"too early")
        assert refusal.value.code is ErrorCode.not_attached
        attached = await client.attach()
        assert (attached.uri, attached.account) == ("+461", ACCOUNT)
        assert attached.server.startswith("crs")
        await client.detach()
        with pytest.raises(Refused):
            await client.post("+461", b"too late")
        await client.attach()
        await client.close()
        assert str(await client.lost.wait()).endswith("(1000)")

    run_on_reactor(story, timeout=60)


def test_the_newest_connection_wins(server: CrsServer, reactor: Any) -> None:
    async def story() -> None:
        older, told = await server.attached(reactor, "+462")
        newer, news = await server.attached(reactor, "+462")
        assert await told.detachments.get() == "superseded"
        assert "(4000)" in str(await older.lost.wait())
        sender, _ = await server.attached(reactor, "+463")
        await sender.post("+462", b"to the newer one")
        assert (await news.messages.get()).payload == b"to the newer one"
        assert told.messages.pending == []
        await newer.close()
        await sender.close()

    run_on_reactor(story, timeout=60)


def test_wrong_key_and_unknown_identity_are_refused_alike(server: CrsServer, reactor: Any) -> None:
    async def story() -> None:
        right = server.credentials("+464")
        strangers = [
            replace(right, key=bytes(32)),
            replace(right, account="nobody"),
            replace(right, uri="+465"),
        ]
        texts = set()
        for stranger in strangers:
            with pytest.raises(Denied) as denial:
                await Client(reactor, server.address, stranger).connect()
            texts.add(str(denial.value))
        assert len(texts) == 1

    run_on_reactor(story, timeout=60)


def test_no_server_is_no_riddle(reactor: Any, server: CrsServer) -> None:
    async def story() -> None:
        nowhere = Server("127.0.0.1", free_port())
        with pytest.raises(Unreachable, match=f"no answer at {nowhere}"):
            await Client(reactor, nowhere, server.credentials("+461")).connect()

    run_on_reactor(story, timeout=60)


def test_an_account_exists_at_once_and_ends_at_once(server: CrsServer, reactor: Any, tmp_path: Path) -> None:
    """`create account` lets its clients in; `delete account` drops them and keeps them out."""
    created = server.cli("create", "account", "other", "-s", "c2VjcmV0IHNlY3JldCBzZWNyZXQ=")
    assert created.returncode == 0, created.stderr
    secret = tmp_path / "secret"
    secret.write_text("c2VjcmV0IHNlY3JldCBzZWNyZXQ=\n")
    name = ("--server", str(server.address), "--uri", "+461", "--account", "other")
    who = (*name, "--secret-file", str(secret))
    with Daemon(program("crs.client.cli", "attach", "--seconds", "60", *who), "attached as") as client:
        assert f"attached as +461@other at {server.address} (crs" in client.output
        deleted = server.cli("delete", "account", "other")
        assert deleted.returncode == 0, deleted.stderr
        assert client.process.wait(5) == 1
        assert "(4003)" in client.output
    again = run("crs.client.cli", "attach", *who)
    assert again.returncode == 1
    assert again.stderr == (
        f"crs-client: {server.address} refused the TLS handshake: unknown identity or wrong key\n"
    )
