"""Silent clients are pinged as crs.conf says, and those that are gone or not registered are cut off."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from autobahn.twisted.websocket import WebSocketClientFactory, WebSocketClientProtocol
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ClientEndpoint, wrapClientTLS
from twisted.internet.task import deferLater

from crs.client.testing import ACCOUNT, CrsServer
from crs.signaling.message import SUBPROTOCOL
from rtlib.testing.daemon import wait_until
from rtlib.testing.loop import installed_reactor, run
from rtlib.tls import PskClientOptions

SETTINGS = (
    f"keep-alive +1@{ACCOUNT} ws 1000 1000",
    f"keep-alive +2@{ACCOUNT} tcp 5000",
    "keep-alive 127.0.0.0/8 ws 60000",
    f"detach-cleanup +4@{ACCOUNT} 300",
    f"detach-cleanup +5@{ACCOUNT} 600000",
    "detach-cleanup 127.0.0.0/8 0",
)
KEEP_ALIVE_TIMER = "02"
"""The kernel's timer of a socket in /proc/net/tcp (proc(5))."""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CrsServer]:
    with CrsServer(tmp_path_factory.mktemp("crs"), SETTINGS) as running:
        yield running


@pytest.fixture
def reactor() -> Any:
    return installed_reactor()


class Phone(WebSocketClientProtocol):
    """Says nothing, and answers pings only if it is told to."""

    transport: Any

    def __init__(self, answers: bool) -> None:
        super().__init__()
        self.answers = answers
        self.pings = 0
        self.opened: Deferred[None] = Deferred()
        self.lost: Deferred[float] = Deferred()

    def onOpen(self) -> None:
        self.opened.callback(None)

    def onPing(self, payload: bytes) -> None:
        self.pings += 1
        if self.answers:
            super().onPing(payload)

    def connectionLost(self, reason: Any = None) -> None:
        super().connectionLost(reason)
        self.lost.callback(time.monotonic())


async def silent(server: CrsServer, reactor: Any, uri: str, *, answers: bool = False) -> Phone:
    """A client that is connected and says nothing more."""
    credentials = server.credentials(uri)
    factory: Any = WebSocketClientFactory("wss://127.0.0.1", protocols=[SUBPROTOCOL], reactor=reactor)
    factory.protocol = lambda: Phone(answers)
    factory.noisy = False
    endpoint = TCP4ClientEndpoint(reactor, *server.address)
    tls = PskClientOptions(credentials.identity, credentials.key)
    phone: Any = await wrapClientTLS(tls, endpoint).connect(factory)
    await phone.opened
    assert isinstance(phone, Phone)
    return phone


def test_who_does_not_answer_is_cut_off(server: CrsServer, reactor: Any) -> None:
    async def story() -> None:
        began = time.monotonic()
        phone = await silent(server, reactor, "+1")
        assert 1.9 < await phone.lost - began < 6
        assert phone.pings == 1

    run(story, timeout=60, clean=False)


def test_who_answers_stays(server: CrsServer, reactor: Any) -> None:
    async def story() -> None:
        phone = await silent(server, reactor, "+1", answers=True)
        while phone.pings < 3:
            await deferLater(reactor, 0.05)
        assert not phone.lost.called
        phone.transport.abortConnection()
        await phone.lost

    run(story, timeout=60, clean=False)


def test_the_kernel_watches_where_the_method_is_tcp(server: CrsServer, reactor: Any) -> None:
    async def story() -> None:
        phone = await silent(server, reactor, "+2")
        other = await silent(server, reactor, "+3")
        timers = {each: timer(server.address.port, each.transport.getHost().port) for each in (phone, other)}
        assert timers[phone] == KEEP_ALIVE_TIMER
        assert timers[other] != KEEP_ALIVE_TIMER
        for each in (phone, other):
            each.transport.abortConnection()
            await each.lost

    run(story, timeout=60, clean=False)


def timer(local: int, remote: int) -> str:
    """The kernel's timer for the server's end of a connection, once nothing waits for an ACK."""
    ends = (f"0100007F:{local:04X}", f"0100007F:{remote:04X}")
    found: list[str] = []

    def idle() -> bool:
        rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
        found[:] = [row[5].partition(":")[0] for row in rows if (row[1], row[2]) == ends]
        return found != [] and found[0] != "01"

    wait_until(idle, what="the connection to be idle")
    return found[0]


@pytest.mark.parametrize(("uri", "least", "most"), [("+4", 0.3, 3.0), ("+6", 0.0, 2.0)])
def test_who_detaches_is_disconnected(
    server: CrsServer, reactor: Any, uri: str, least: float, most: float
) -> None:
    async def story() -> None:
        client, _ = await server.attached(reactor, uri)
        began = time.monotonic()
        await client.detach()
        assert "(4002)" in str(await client.lost.wait())
        assert least <= time.monotonic() - began < most

    run(story, timeout=60)


def test_the_first_match_counts(server: CrsServer, reactor: Any) -> None:
    async def story() -> None:
        client, _ = await server.attached(reactor, "+5")
        await client.detach()
        await deferLater(reactor, 0.5)
        await client.attach()
        await client.close()

    run(story, timeout=60)


def test_these_directives_have_their_effect(server: CrsServer) -> None:
    assert "no effect" not in server.daemon.log
