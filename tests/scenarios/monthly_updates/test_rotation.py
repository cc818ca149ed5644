"""An account gets another secret: clients with the old key and with the new one connect, until it is over."""

from __future__ import annotations

import re
from base64 import b64encode
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.threads import deferToThread

from crs.client.client import Client
from crs.client.credentials import Credentials
from crs.client.error import ClientError
from crs.client.testing import ACCOUNT, CrsServer, Memory
from crs.cms.testing import Cms
from rtlib.testing.daemon import wait_until
from rtlib.testing.loop import run

NEW = b"another secret, 24 bytes"


async def attached(reactor: Any, server: CrsServer, uri: str, secret: bytes) -> Client:
    """A client that is attached with a key of this secret."""
    client = Client(reactor, server.address, Credentials.derived(uri, ACCOUNT, secret), Memory())
    await client.connect()
    await client.attach()
    return client


def test_both_secrets_are_valid_until_the_rotation_is_finished(
    server: CrsServer, cms: Cms, reactor: Any, tmp_path: Path
) -> None:
    cms.list_clients("+4601", "+4602", "+4603")
    before = cms.issue("-o", str(tmp_path / "before.upd"))
    secret = tmp_path / "new"
    secret.write_text(b64encode(NEW).decode())

    async def story() -> None:
        alice = await attached(reactor, server, "+4601", server.secret)
        with pytest.raises(ClientError):
            await attached(reactor, server, "+4602", NEW)
        text = await deferToThread(
            server.ok, "rotate", "secret", ACCOUNT, "-s", secret.read_text(), "--days", "2"
        )
        assert b64encode(NEW).decode() in text and "former until" in text
        bob = await attached(reactor, server, "+4602", NEW)
        carol = await attached(reactor, server, "+4603", server.secret)
        for client in (alice, bob, carol):
            assert not client.lost.decided
        done = await deferToThread(server.cli, "rotate", "secret", ACCOUNT)
        assert (done.returncode, done.stdout) == (1, "")
        assert "the former secret of demo is still valid" in done.stderr
        shown = await deferToThread(server.ok, "show", "account")
        assert "TWO SECRETS" in shown and f"{ACCOUNT} until 20" in shown

        await deferToThread(server.ok, "apply", before)
        await deferToThread(cms, "rotate", "--secret-file", str(secret))
        after = await deferToThread(cms.issue, "--keep", before)
        await deferToThread(server.ok, "apply", after)
        assert not alice.lost.decided, "an update made with either secret is accepted"

        text = await deferToThread(server.ok, "rotate", "finish", ACCOUNT)
        assert (
            text == f"the former secret of {ACCOUNT} is not valid any more; 2 clients have to connect anew\n"
        )
        await alice.lost.wait()
        await carol.lost.wait()
        assert not bob.lost.decided
        with pytest.raises(ClientError):
            await attached(reactor, server, "+4601", server.secret)
        alice = await attached(reactor, server, "+4601", NEW)
        for client in (alice, bob):
            await client.close()

    run(story, timeout=120)
    assert (
        b64encode(server.secret).decode()
        not in (server.home / "accounts" / ACCOUNT / "account.conf").read_text()
    )
    assert "TWO SECRETS" not in server.ok("show", "account")
    done = server.cli("apply", before)
    assert "with another shared secret than that of account" in done.stderr
    assert server.cli("rotate", "finish", ACCOUNT).returncode == 1


def test_two_secrets_survive_a_restart_and_end_at_the_deadline(server: CrsServer, reactor: Any) -> None:
    server.ok("rotate", "secret", ACCOUNT, "-s", b64encode(NEW).decode())
    server.daemon.stop()
    server.daemon.start()

    async def both() -> None:
        for secret in (server.secret, NEW):
            await (await attached(reactor, server, "+4601", secret)).close()

    run(both, timeout=60)
    server.ok("reload", "account")
    server.daemon.stop()
    conf = server.home / "accounts" / ACCOUNT / "account.conf"
    conf.write_text(re.sub(r"(?m)^(former-secret \S+) .*", r"\1 2026-01-01T00:00:00Z", conf.read_text()))
    server.daemon.start()

    async def story() -> None:
        with pytest.raises(ClientError):
            await attached(reactor, server, "+4601", server.secret)
        await (await attached(reactor, server, "+4601", NEW)).close()

    run(story, timeout=60)
    wait_until(lambda: "former-secret" not in conf.read_text(), what="it is erased, being of no use")
