"""Limits of crs.conf: for all, and for one account's clients; each is counted where it is reached."""

from __future__ import annotations

import socket
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.threads import deferToThread

from crs.client.error import Refused
from crs.client.testing import ACCOUNT, CrsServer
from crs.signaling.message import ClientData, ErrorCode, ItemKind
from rtlib.testing.loop import installed_reactor, run

SETTINGS = (
    "limit sessions-per-client 1",
    "limit stored-bytes 0",
    f"limit stored-bytes 4096 {ACCOUNT}",
    f"limit message-size 2048 {ACCOUNT}",
    f"limit mailbox-items 2 {ACCOUNT}",
    f"limit message-lifetime 3600 {ACCOUNT}",
    "limit handshake-time 1",
)


def wait_for_the_end(server: CrsServer) -> None:
    """Open a connection and do nothing with it, until the server closes it."""
    place = (server.address.host, server.address.port)
    with suppress(ConnectionResetError), socket.create_connection(place, 10) as silent:
        assert silent.recv(1) == b""


def test_limits_are_enforced_and_counted(tmp_path: Path) -> None:
    reactor: Any = installed_reactor()

    async def story(server: CrsServer) -> None:
        alice, _ = await server.attached(reactor, "+461")
        bob, told = await server.attached(reactor, "+462")
        carol, _ = await server.attached(reactor, "+463")
        outgoing = await alice.call("+462")
        incoming = await told.calls.get()
        for caller in (alice, carol):
            with pytest.raises(Refused, match="may have 1 calls at a time") as refusal:
                await caller.call("+462")
            assert refusal.value.code is ErrorCode.limit
        await outgoing.hangup()
        await incoming.ended.wait()
        for name in "ab":
            await alice.store(ClientData(name=name, data=bytes(1500)))
        with pytest.raises(Refused, match="may keep 4096 bytes") as refusal:
            await alice.store(ClientData(name="c", data=bytes(1500)))
        assert refusal.value.code is ErrorCode.quota
        await alice.delete(ItemKind.data, "a")
        await alice.store(ClientData(name="c", data=bytes(1500)))
        await bob.detach()
        for _ in range(2):
            await alice.post("+462", b"", ttl=3600)
        with pytest.raises(Refused, match=r"mailbox of \+462@demo holds 2 items") as refusal:
            await alice.post("+462", b"")
        assert refusal.value.code is ErrorCode.quota
        with pytest.raises(Refused, match="kept for at most 3600 seconds") as refusal:
            await alice.post("+462", b"", ttl=3601)
        assert refusal.value.code is ErrorCode.limit
        await deferToThread(wait_for_the_end, server)
        with pytest.raises(Exception, match="1009"):
            await carol.post("+461", bytes(2048))
        counts = await deferToThread(server.counted, "limits_reached", "limit")
        assert counts == {
            "sessions-per-client": 2,
            "stored-bytes": 1,
            "mailbox-items": 1,
            "message-lifetime": 1,
            "handshake-time": 1,
            "message-size": 1,
        }
        await alice.close()
        await bob.close()

    with CrsServer(tmp_path / "crs", SETTINGS) as server:
        run(lambda: story(server), timeout=60)
