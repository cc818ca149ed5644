"""Limits of crs.conf and crs-relay.conf: each is enforced with a clear reason, and counted."""

from __future__ import annotations

import select
import socket
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.task import deferLater
from twisted.internet.threads import deferToThread

from crs.client import websocket
from crs.client.error import ClientError, Refused
from crs.client.testing import ACCOUNT, CrsServer
from crs.limits import BOUNDS
from crs.signaling.message import (
    Attach,
    ClientData,
    Detach,
    Error,
    ErrorCode,
    Fetch,
    GroupOpened,
    Hangup,
    Invite,
    Invitee,
    Inviting,
    ItemKind,
    OpenGroup,
    Post,
    RelayKind,
    Request,
    Store,
    decode_server_message,
    encode,
)
from rtlib.outcome import Outcome
from rtlib.testing.loop import installed_reactor, run

GENEROUS = (
    "limit sessions-per-client 1",
    "limit stored-bytes 0",
    f"limit stored-bytes 4096 {ACCOUNT}",
    f"limit message-size 2048 {ACCOUNT}",
    f"limit mailbox-items 2 {ACCOUNT}",
    f"limit message-lifetime 3600 {ACCOUNT}",
    "limit handshake-time 1",
)


STRICT = (
    "limit connections 8",
    "limit handshakes-per-address 3",
    "limit sessions 6",
    "limit requests-per-address 60",
    "limit requests-per-second 1 slow",
    f"limit requests-per-second 1000 {ACCOUNT}",
    "limit requests-waiting 16",
    "limit invites-per-second 1",
    "limit stored-items 1",
    f"limit group-members 2 {ACCOUNT}",
    f"limit rooms-per-client 1 {ACCOUNT}",
    "limit mailbox-bytes 40960",
)

ELSEWHERE = {"outgoing-buffer"}
"""Limits that tests/scenarios/bad_input_crs reaches, with a client that does not read."""


class Raw:
    """A client that sends what it likes, several requests in one piece if need be."""

    def __init__(self) -> None:
        self.inbox: list[Any] = []
        self._link: Any = None
        self._over: Outcome[ClientError] = Outcome()

    async def attach(self, reactor: Any, server: CrsServer, uri: str, account: str = ACCOUNT) -> Raw:
        credentials = server.credentials(uri, account)
        self._link = await websocket.connect(reactor, server.address, credentials, self)
        self._link.send(encode(Attach(id=0, version="raw")))
        await self.replies(reactor, 1)
        return self

    async def ask(self, reactor: Any, *requests: Request) -> list[Any]:
        """Send these in one TLS record, so that the server takes them at once; what comes of them."""
        self.inbox.clear()
        self._link.transport.write(b"".join(_frame(encode(request)) for request in requests))
        return await self.replies(reactor, len(requests))

    async def replies(self, reactor: Any, number: int) -> list[Any]:
        while len([each for each in self.inbox if hasattr(each, "id")]) < number:
            await deferLater(reactor, 0.01)
        return sorted((each for each in self.inbox if hasattr(each, "id")), key=lambda reply: reply.id)

    async def close(self) -> None:
        self._link.close()
        await self._over.wait()

    def message(self, data: bytes) -> None:
        self.inbox.append(decode_server_message(data))

    def lost(self, reason: ClientError) -> None:
        self._over.set(reason)


def _frame(payload: bytes) -> bytes:
    """RFC 6455 section 5.2; the mask is zero."""
    size = len(payload)
    length = bytes([0x80 | size]) if size < 126 else b"\xfe" + size.to_bytes(2, "big")
    return b"\x82" + length + bytes(4) + payload


def refusals(replies: list[Any], code: ErrorCode = ErrorCode.limit) -> list[str]:
    """The reasons of the errors of this code, of which there must be no other."""
    errors = [reply for reply in replies if isinstance(reply, Error)]
    assert {error.code for error in errors} <= {code}
    return [error.reason for error in errors]


def invite(number: int, to: str, kind: RelayKind = RelayKind.rtp) -> Invite:
    return Invite(id=number, session=f"s{number}", to=to, streams=[kind])


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

    with CrsServer(tmp_path / "crs", GENEROUS) as server:
        run(lambda: story(server), timeout=60)


def are_closed(server: CrsServer, sources: list[str]) -> list[bool]:
    """Open a silent connection from each address, all at a time; which of them the server closes at once."""
    place = (server.address.host, server.address.port)
    with ExitStack() as stack:
        connections = [
            stack.enter_context(socket.create_connection(place, 10, source_address=(source, 0)))
            for source in sources
        ]
        # They are taken in order, so all was decided once the last one is closed.
        connections[-1].recv(1)
        return [bool(select.select([connection], [], [], 0)[0]) for connection in connections]


def test_the_other_limits(tmp_path: Path) -> None:
    reactor: Any = installed_reactor()

    async def story(server: CrsServer) -> None:
        alice = await Raw().attach(reactor, server, "+461")
        bob = await Raw().attach(reactor, server, "+462")
        carol = await Raw().attach(reactor, server, "+463")
        slow = await Raw().attach(reactor, server, "+464", "slow")

        # 4 connections, then 3 handshakes of one address: one of another, and there are 8.
        sources = ["127.0.0.2"] * 4 + ["127.0.0.3"] * 2
        assert await deferToThread(are_closed, server, sources) == [False] * 3 + [True, False, True]

        assert (
            len(refusals(await slow.ask(reactor, *(Fetch(id=n, kind=ItemKind.info) for n in range(20)))))
            >= 15
        )

        fetches = await alice.ask(reactor, *(Fetch(id=n, kind=ItemKind.info) for n in range(20)))
        assert set(refusals(fetches)) == {"too many of your requests are waiting; wait for replies"}
        assert len(refusals(fetches)) == 4

        group = OpenGroup(id=1, session="g", to=[Invitee(uri="+462"), Invitee(uri="+463")])
        [opened] = await alice.ask(reactor, group)
        assert isinstance(opened, GroupOpened)
        assert [(each.uri, each.code) for each in opened.refused] == [("+463", ErrorCode.limit)]

        refused = refusals(await carol.ask(reactor, *(invite(n, "+462") for n in range(5))))
        assert refused == ["too many calls in a short time; wait a little"]
        # A group and four calls so far.
        refused = refusals(await bob.ask(reactor, *(invite(n, "+461") for n in range(2))))
        assert refused == ["the server has too many calls"]

        stored = await bob.ask(
            reactor, *(Store(id=n, item=ClientData(name=f"n{n}", data=b"")) for n in (1, 2))
        )
        assert refusals(stored, ErrorCode.quota) == ["+462@demo may keep 1 items"]

        posts = [Post(id=n, message=f"m{n}", to="+465", payload=bytes(25_000)) for n in (1, 2)]
        late = await Raw().attach(reactor, server, "+465")
        await late.ask(reactor, Detach(id=1))
        posted = [(await bob.ask(reactor, post))[0] for post in posts]
        assert refusals(posted, ErrorCode.quota) == ["the mailbox of +465@demo may hold 40960 bytes"]

        await deferToThread(server.ok, "create", "conference-room", "123456", ACCOUNT, "+461")
        second = await deferToThread(server.cli, "create", "conference-room", "123457", ACCOUNT, "+461")
        assert "+461 may have 1 conference rooms (limit rooms-per-client)" in second.stderr

        flood = await carol.ask(reactor, *(Hangup(id=n, session="s", caller="x") for n in range(300)))
        assert ErrorCode.limit in {reply.code for reply in flood}

        counts = await deferToThread(server.counted, "limits_reached", "limit")
        assert set(counts) == {line.split()[1] for line in STRICT}
        for client in (alice, bob, carol, slow, late):
            await client.close()

    with CrsServer(tmp_path / "crs", STRICT, (ACCOUNT, "slow")) as server:
        run(lambda: story(server), timeout=60)


def test_every_limit_is_reached_here() -> None:
    """Or by the scenario of bad input."""
    assert {line.split()[1] for line in (*GENEROUS, *STRICT)} | ELSEWHERE == set(BOUNDS)


def test_the_limits_of_relays(tmp_path: Path) -> None:
    """Whoever asks for one more of a kind is told which kind there are no more of."""
    reactor: Any = installed_reactor()

    async def story(server: CrsServer) -> None:
        alice = await Raw().attach(reactor, server, "+461")
        bob = await Raw().attach(reactor, server, "+462")
        for number, kind in enumerate((RelayKind.rtp, RelayKind.opaque)):
            requests = [invite(10 * number + each, "+462", kind) for each in (1, 2)]
            first, second = await alice.ask(reactor, *requests)
            assert isinstance(first, Inviting)
            assert refusals([second]) == [f"all 1 relays of type {kind} are in use"]
        groups = [OpenGroup(id=n, session=f"g{n}", to=[Invitee(uri="+462")]) for n in (1, 2)]
        opened, second = await alice.ask(reactor, *groups)
        assert isinstance(opened, GroupOpened)
        assert refusals([second]) == ["all 1 relays of type opaque-multicast are in use"]
        await alice.close()
        await bob.close()

    home = tmp_path / "crs"
    server = CrsServer(home)
    kinds = ("RTP", "OPAQUE", "OPAQUE_MULTICAST")
    (home / "crs-relay.conf").write_text("".join(f"MAX_{kind}_RELAYS=1\n" for kind in kinds))
    with server:
        run(lambda: story(server), timeout=60)
