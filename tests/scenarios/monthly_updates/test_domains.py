"""Clients of two accounts reach each other while the updates in force of both name the other's domain."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from twisted.internet.threads import deferToThread

from crs.client.error import Refused
from crs.client.testing import CrsServer
from crs.cms.testing import Cms
from crs.signaling.message import ErrorCode, Kind
from rtlib.testing.loop import run as run_on_reactor

RED, BLUE = "red", "blue"


def test_domains_are_connected_by_both_updates_and_by_nothing_less(tmp_path: Path, reactor: Any) -> None:
    async def story(server: CrsServer) -> None:
        cms = {name: await deferToThread(Cms, tmp_path / name, server, name) for name in (RED, BLUE)}

        async def apply(account: str, *connected: str) -> None:
            """An account's CMS issues an update with these connected domains, and the operator applies it."""
            words = [word for domain in connected or ("",) for word in ("--connect", domain)]
            cms[account].list_clients("+461", "+462")
            await deferToThread(cms[account], "change", *words)
            await deferToThread(server.ok, "apply", await deferToThread(cms[account].issue))

        alice, told_alice = await server.attached(reactor, "+461", account=RED)
        bob, told_bob = await server.attached(reactor, "+462", account=BLUE)

        async def refused() -> None:
            """Neither can reach the other, and neither learns whether the other is there."""
            for client, to, account in ((alice, "+462", BLUE), (bob, "+461", RED)):
                for attempt in (client.call(to, account), client.post(to, b"x", account=account)):
                    with pytest.raises(Refused) as refusal:
                        await attempt
                    assert refusal.value.code is ErrorCode.not_found

        await refused()
        await apply(RED, BLUE)
        await refused()
        await apply(BLUE, RED)

        outgoing = await alice.call("+462", BLUE)
        incoming = await told_bob.calls.get()
        assert (incoming.parties.caller, incoming.parties.caller_account) == ("+461", RED)
        await incoming.answer()
        await outgoing.answered.wait()
        label = await bob.post("+461", b"hello", account=RED)
        item = await told_alice.messages.get()
        assert (item.sender, item.account, item.payload) == ("+462", BLUE, b"hello")
        receipt = await told_bob.receipts.get()
        assert (receipt.kind, receipt.message, receipt.account) == (Kind.ack, label, RED)

        # An update that takes the connection away, of one side only: nothing new, while the talk goes on.
        await apply(BLUE)
        await refused()
        assert not outgoing.ended.decided
        await incoming.hangup()
        await outgoing.ended.wait()
        await apply(BLUE, RED)
        await alice.post("+462", b"again", account=BLUE)
        assert (await told_bob.messages.get()).payload == b"again"
        await alice.close()
        await bob.close()

    with CrsServer(tmp_path / "crs", accounts=(RED, BLUE)) as server:
        run_on_reactor(lambda: story(server), timeout=120)
