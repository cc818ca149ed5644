"""A bad network between callers and relay: loss, duplicates, reordering, a NAT that forgets.

In user space, by a seeded dice, because not every kernel has netem: what the relay owes is exact then.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

import pytest
from twisted.internet.defer import maybeDeferred
from twisted.internet.protocol import DatagramProtocol
from twisted.internet.task import deferLater

from crs.client import binding
from crs.client.media import MediaStream
from crs.client.testing import CrsServer
from crs.signaling.message import Relay
from rtlib.audio.playback import frames
from rtlib.audio.tone import sine
from rtlib.testing.loop import installed_reactor, run

FRAMES = 100
RELAY = "127.0.0.1"


@dataclass
class Weather:
    """What happens to packets. Probabilities, and seconds of delay at most."""

    loss: float = 0.0
    duplicate: float = 0.0
    jitter: float = 0.0
    dice: random.Random = field(default_factory=lambda: random.Random(7))

    def delays(self) -> list[float]:
        """When each copy of a packet arrives; none for a lost one."""
        if self.dice.random() < self.loss:
            return []
        copies = 2 if self.dice.random() < self.duplicate else 1
        return [self.dice.random() * self.jitter for _ in range(copies)]


class Router(DatagramProtocol):
    """Between one party and the relay; a NAT whose mapping can be forgotten."""

    noisy = False

    def __init__(self, reactor: Any, port: int, weather: Weather) -> None:
        self._reactor = reactor
        self._port = port
        self._weather = weather
        self._inside = reactor.listenUDP(0, self, interface=RELAY)
        self.address = (RELAY, self._inside.getHost().port)
        self._client: tuple[str, int] | None = None
        self._outside: Any = None
        self.up: Counter[bytes] = Counter()
        """Copies of media packets that reached the relay."""
        self.down: Counter[bytes] = Counter()
        """Those that the relay sent to this party."""
        self.forget()

    def forget(self) -> None:
        """From now on the party has another address for the relay."""
        if self._outside is not None:
            self._outside.stopListening()
        self._outside = self._reactor.listenUDP(0, _Outside(self), interface=RELAY)

    def datagramReceived(self, data: bytes, addr: Any) -> None:
        """From the party."""
        self._client = addr
        for delay in self._weather.delays():
            self._reactor.callLater(delay, self._to_relay, data)

    def from_relay(self, data: bytes) -> None:
        """To the party."""
        if data[:1] >= b"\x40":
            self.down[data] += 1
        for delay in self._weather.delays():
            self._reactor.callLater(delay, self._to_party, data)

    async def close(self) -> None:
        """Close both ends."""
        await maybeDeferred(self._inside.stopListening)
        await maybeDeferred(self._outside.stopListening)

    def _to_party(self, data: bytes) -> None:
        assert self.transport is not None
        self.transport.write(data, self._client)

    def _to_relay(self, data: bytes) -> None:
        if data[:1] >= b"\x40":
            self.up[data] += 1
        self._outside.write(data, (RELAY, self._port))


class _Outside(DatagramProtocol):
    noisy = False

    def __init__(self, router: Router) -> None:
        self._router = router

    def datagramReceived(self, data: bytes, addr: Any) -> None:
        self._router.from_relay(data)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CrsServer]:
    with CrsServer(tmp_path_factory.mktemp("crs") / "home") as running:
        yield running
        assert "Traceback" not in running.daemon.output


@dataclass
class Network:
    """A router for each media stream, first that of the caller."""

    weather: Weather = field(default_factory=Weather)
    routers: list[Router] = field(default_factory=list)


@pytest.fixture
def network(monkeypatch: pytest.MonkeyPatch) -> Network:
    """Every media stream of a client goes through it."""
    made = Network()
    original = MediaStream.__init__

    def through_a_router(self: MediaStream, reactor: Any, relay: Relay, host: str, *more: Any) -> None:
        router = Router(reactor, relay.port, made.weather)
        made.routers.append(router)
        original(self, reactor, relay, host, *more)
        self._address = router.address

    monkeypatch.setattr(MediaStream, "__init__", through_a_router)
    return made


def play(server: CrsServer, network: Network, *, rebind: bool = False) -> list[MediaStream]:
    """A call in which both send the same number of frames; their streams."""
    reactor: Any = installed_reactor()
    streams: list[MediaStream] = []

    async def story() -> None:
        alice, _ = await server.attached(reactor, "+4711")
        bob, told = await server.attached(reactor, "+4712")
        outgoing = await alice.call("+4712")
        incoming = await told.calls.get()
        await incoming.answer()
        await outgoing.answered.wait()
        streams.extend((outgoing.streams[0], incoming.streams[0]))
        playing = [
            end.streams[0].play(islice(frames(sine(tone)), FRAMES))
            for end, tone in ((outgoing, 440), (incoming, 1000))
        ]
        if rebind:
            await deferLater(reactor, 0.5)
            network.routers[0].forget()
        for each in playing:
            await each
        await deferLater(reactor, 0.3)  # what is still on its way
        await alice.close()
        await bob.close()
        for router in network.routers:
            await router.close()

    run(story, timeout=60)
    return streams


def test_what_reaches_the_relay_goes_on_once_for_each_copy(server: CrsServer, network: Network) -> None:
    """Loss, duplicates and reordering are the network's: the relay adds nothing and takes nothing."""
    network.weather = Weather(loss=0.1, duplicate=0.05, jitter=0.08)
    streams = play(server, network)
    one, two = network.routers
    assert two.down == one.up and one.down == two.up
    assert 0.7 * FRAMES < len(one.up) < FRAMES
    assert max(one.up.values()) == 2
    for stream in streams:
        assert stream.reception.received > 0.6 * FRAMES


def test_a_nat_that_forgets_costs_the_time_until_the_next_bind(
    server: CrsServer, network: Network, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(binding, "REFRESH", 0.3)
    before = server.offences()
    network.weather = Weather(loss=0.02)
    alice, bob = play(server, network, rebind=True)
    refused = (server.offences() - before)["relay: media from a wrong address"]
    assert 0 < refused < 0.6 * FRAMES
    for stream in (alice, bob):
        assert stream.reception.received > 0.6 * FRAMES
    assert alice.counters.sent == bob.counters.sent == FRAMES
