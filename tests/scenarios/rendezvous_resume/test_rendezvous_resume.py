"""Connections are cut in mid-call: the clients come back by themselves, and nothing is lost or doubled."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count, islice
from typing import Any

import pytest
from twisted.internet.defer import Deferred, DeferredQueue
from twisted.internet.protocol import Protocol
from twisted.internet.task import deferLater
from twisted.protocols.portforward import ProxyFactory, ProxyServer

from crs.client.client import Client
from crs.client.credentials import Server
from crs.client.error import ClientError
from crs.client.lasting import Backoff, LastingClient
from crs.client.testing import CrsServer, Memory
from crs.signaling.message import Attached, EndReason, Who
from rtlib.audio.playback import frames
from rtlib.audio.tone import sine
from rtlib.testing.loop import installed_reactor
from rtlib.testing.loop import run as run_on_reactor


@pytest.fixture
def server(tmp_path: Any) -> Iterator[CrsServer]:
    with CrsServer(tmp_path / "crs") as running:
        yield running


@pytest.fixture
def reactor() -> Any:
    return installed_reactor()


class News(Memory):
    """Also keeps when the connection comes back."""

    def __init__(self) -> None:
        super().__init__()
        self.returns: DeferredQueue[bool] = DeferredQueue()

    def returned(self, attached: Attached) -> None:
        self.returns.put(attached.resumed)

    def interrupted(self, reason: ClientError) -> None:
        self.interruption = reason


class Network:
    """A network between client and server that loses connections: for both, or noticed by the client only."""

    def __init__(self, reactor: Any, server: CrsServer) -> None:
        self._open: list[Any] = []
        self._lost: list[Any] = []
        factory: Any = ProxyFactory(*server.address)
        factory.noisy = False
        factory.protocol = self._made
        self._port = reactor.listenTCP(0, factory, interface="127.0.0.1")
        self.address = Server("127.0.0.1", self._port.getHost().port)

    def _made(self) -> Protocol:
        proxy = ProxyServer()
        proxy.clientProtocolFactory.noisy = False
        self._open.append(proxy)
        return proxy

    def cut(self, *, noticed: bool) -> None:
        """Every connection is lost, with all that is on its way."""
        lost, self._open = self._open, []
        for proxy in lost:
            if noticed:
                proxy.transport.abortConnection()
            else:
                # The server's end stays as it is: nobody reads or writes there any more.
                server_end, proxy.peer = proxy.peer, None
                server_end.peer = proxy
                server_end.transport.pauseProducing()
                self._lost.append(server_end)
                proxy.transport.abortConnection()

    async def close(self) -> None:
        for end in self._lost:
            end.transport.abortConnection()
        await self._port.stopListening()


async def lasting(reactor: Any, server: CrsServer, network: Network, uri: str) -> tuple[Client, News]:
    """A client that is attached over a bad network."""
    news = News()
    backoff = Backoff(first=0.05, longest=0.5, after_shutdown=(0.1, 0.2))
    client = LastingClient(reactor, network.address, server.credentials(uri), news, backoff=backoff)
    await client.connect()
    await client.attach()
    return client, news


@pytest.mark.parametrize("noticed", [True, False], ids=["noticed", "half-open"])
def test_a_call_survives_cut_connections(server: CrsServer, reactor: Any, noticed: bool) -> None:
    """Both lose their connections, again and again; media flows, messages come once, the hangup arrives."""

    async def story() -> None:
        network = Network(reactor, server)
        alice, at_alice = await lasting(reactor, server, network, "+4611")
        bob, at_bob = await lasting(reactor, server, network, "+4612")
        carol, _ = await server.attached(reactor, "+4613")
        outgoing = await alice.call("+4612")
        incoming = await at_bob.calls.get()
        await incoming.answer()
        await outgoing.answered.wait()
        for number in range(3):
            network.cut(noticed=noticed)
            await carol.post("+4611", b"%d" % number)
            posting = Deferred.fromCoroutine(alice.post("+4612", b"to bob %d" % number))
            await outgoing.streams[0].play(islice(frames(sine(440)), 10))
            await posting
            assert await at_alice.returns.get() and await at_bob.returns.get()
        for number in range(3):
            assert (await at_alice.messages.get()).payload == b"%d" % number
            assert (await at_bob.messages.get()).payload == b"to bob %d" % number
        heard = incoming.streams[0]
        while heard.reception.received < 30:
            await deferLater(reactor, 0.01)
        assert (heard.reception.lost, heard.counters.refused) == (0, 0)
        network.cut(noticed=noticed)
        await outgoing.hangup()
        end = await incoming.ended.wait()
        assert (end.reason, end.who) == (EndReason.hangup, Who.caller)
        assert (at_alice.messages.pending, at_bob.messages.pending, at_bob.calls.pending) == ([], [], [])
        assert server.offences() == {}
        for client in (alice, bob, carol):
            await client.close()
        await network.close()

    run_on_reactor(story, timeout=60)


def test_messages_in_a_storm_of_cuts(server: CrsServer, reactor: Any) -> None:
    """The line is cut every moment while messages fly both ways: each arrives, and none twice."""
    total = 60

    async def story() -> None:
        network = Network(reactor, server)
        alice, at_alice = await lasting(reactor, server, network, "+4611")
        bob, at_bob = await lasting(reactor, server, network, "+4612")
        numbers = count()
        for number in islice(numbers, total):
            await alice.post("+4612", b"%d" % number)
            await bob.post("+4611", b"%d" % number)
            if number % 5 == 0:
                network.cut(noticed=bool(number % 2))
            await deferLater(reactor, 0.005)
        for at in (at_alice, at_bob):
            arrived = [(await at.messages.get()).payload for _ in range(total)]
            assert arrived == [b"%d" % number for number in range(total)]
            resumed = [await at.returns.get() for _ in range(total // 5)]
            assert all(resumed)
        await deferLater(reactor, 0.3)
        assert at_alice.messages.pending == at_bob.messages.pending == []
        await alice.close()
        await bob.close()
        await network.close()

    run_on_reactor(story, timeout=90)


def test_after_a_crash_the_calls_are_gone_and_the_clients_are_back(server: CrsServer, reactor: Any) -> None:
    async def crash() -> None:
        network = Network(reactor, server)
        alice, at_alice = await lasting(reactor, server, network, "+4611")
        bob, at_bob = await lasting(reactor, server, network, "+4612")
        outgoing = await alice.call("+4612")
        incoming = await at_bob.calls.get()
        await incoming.answer()
        await outgoing.answered.wait()
        server.daemon.kill()
        server.daemon.start()
        for call, at in ((outgoing, at_alice), (incoming, at_bob)):
            end = await call.ended.wait()
            assert (end.reason, end.who) == (EndReason.lost, Who.server)
            assert await at.returns.get() is False
        await alice.post("+4612", b"we are back")
        assert (await at_bob.messages.get()).payload == b"we are back"
        await alice.close()
        await bob.close()
        await network.close()

    run_on_reactor(crash, timeout=90)
