"""A beat finer than the reactor's, and what reads by it."""

from __future__ import annotations

import time
from typing import Any

from twisted.internet.task import deferLater

from rtlib.address import Address
from rtlib.datagram import CLOSE_WAKES, DatagramEndpoint
from rtlib.listen import bind_datagram
from rtlib.metronome import Metronome
from rtlib.testing.loop import installed_reactor, run


async def turn(seconds: float = 0.0) -> None:
    await deferLater(installed_reactor(), seconds, lambda: None)


def test_it_beats_for_its_members_only() -> None:
    async def story() -> None:
        metronome = Metronome(installed_reactor(), 0.002)
        assert metronome.fileno() == -1
        beats: list[float] = []

        def beat() -> None:
            beats.append(time.monotonic())

        def fail() -> None:
            raise ValueError("no")

        metronome.discard(beat)
        metronome.add(fail)
        metronome.add(beat)
        while len(beats) < 10:
            await turn(0.001)
        assert beats[-1] - beats[0] >= 9 * 0.002 * 0.5
        metronome.discard(fail)
        metronome.discard(beat)
        metronome.discard(beat)
        assert metronome.fileno() == -1
        count = len(beats)
        await turn(0.02)
        assert len(beats) == count

    run(story)


def test_an_endpoint_under_load_is_read_by_the_beat_and_goes_back() -> None:
    reactor: Any = installed_reactor()
    got: list[int] = []

    def receive(batch: list[tuple[bytes, Address]]) -> None:
        got.append(len(batch))

    async def story() -> None:
        metronome = Metronome(reactor, 0.005)
        endpoint = DatagramEndpoint(bind_datagram("127.0.0.1", 0), receive, reactor, metronome=metronome)
        endpoint.start()
        peer = bind_datagram("127.0.0.1", 0)
        sent = 0
        while metronome.fileno() == -1:
            peer.sendto(b"x", endpoint.address)
            sent += 1
            await turn()
        assert sent > CLOSE_WAKES and endpoint not in reactor.getReaders()
        for _ in range(20):
            peer.sendto(b"x", endpoint.address)
            sent += 1
        while sum(got) < sent:
            await turn(0.001)
        assert max(got) > 1, "what came between two beats is read at once"
        while metronome.fileno() != -1:
            await turn(0.001)
        assert endpoint in reactor.getReaders()
        peer.sendto(b"x", endpoint.address)
        while sum(got) < sent + 1:
            await turn(0.001)
        while metronome.fileno() == -1:
            peer.sendto(b"x", endpoint.address)
            await turn()
        endpoint.stop()
        assert metronome.fileno() == -1, "nobody is left to beat for"
        peer.close()

    run(story)


def test_rare_datagrams_are_read_at_once() -> None:
    reactor: Any = installed_reactor()
    got: list[float] = []

    async def story() -> None:
        metronome = Metronome(reactor, 0.0005)
        endpoint = DatagramEndpoint(
            bind_datagram("127.0.0.1", 0), lambda batch: got.append(0.0), reactor, metronome=metronome
        )
        endpoint.start()
        peer = bind_datagram("127.0.0.1", 0)
        for count in range(3 * CLOSE_WAKES):
            await turn(0.002)
            peer.sendto(b"x", endpoint.address)
            while len(got) <= count:
                await turn()
            assert metronome.fileno() == -1
        endpoint.stop()
        peer.close()

    run(story)
