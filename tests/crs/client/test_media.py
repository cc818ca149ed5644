"""Streams on real loopback sockets, through the server's real relay."""

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from typing import Any

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater

from crs.client import leg
from crs.client.error import Closed, NoAnswer
from crs.client.keying import KEY_LENGTHS, Profile, StreamKeys
from crs.client.media import MediaStream
from crs.relay.interface import LegTicket
from crs.relay.service import RelayService
from crs.signaling.message import Relay, RelayKind
from rtlib.audio.playback import frames
from rtlib.audio.tone import share, sine
from rtlib.listen import bind_datagram
from rtlib.media.reactor_forwarder import ReactorForwarder
from rtlib.offence import OffenceLog
from rtlib.testing.loop import installed_reactor, run

PROFILE = Profile.aead_aes_256_gcm
KEYS = StreamKeys(PROFILE, bytes(range(KEY_LENGTHS[PROFILE])), bytes(range(100, 100 + KEY_LENGTHS[PROFILE])))


@dataclass
class Ends:
    """A relay's two ends of a stream, and the relay."""

    relay: RelayService
    caller: MediaStream
    callee: MediaStream

    async def close(self) -> None:
        await self.caller.close()
        await self.callee.close()


def stream(reactor: Any, ticket: LegTicket, port: int) -> MediaStream:
    identifier, peer, key = ticket
    leg = Relay(stream=0, kind=RelayKind.rtp, host="", port=port, identifier=identifier, peer=peer, key=key)
    return MediaStream(reactor, leg, "127.0.0.1")


@contextmanager
def ends() -> Iterator[Ends]:
    reactor = installed_reactor()
    relay = RelayService(
        bind_datagram("127.0.0.1", 0),
        ReactorForwarder(reactor),
        reactor,
        limits={"rtp": None},
        offences=OffenceLog(),
    )
    relay.startService()
    try:
        ((caller, callee),) = relay.allocate(1, ["rtp"])
        yield Ends(relay, stream(reactor, caller, relay.port), stream(reactor, callee, relay.port))
    finally:
        relay.stopService()


async def received(end: MediaStream, count: int) -> None:
    while end.reception.received < count:
        await deferLater(installed_reactor(), 0.005)


def test_audio_flows_both_ways_once_both_are_bound() -> None:
    async def story() -> None:
        with ends() as both:
            for end, caller in ((both.caller, True), (both.callee, False)):
                await end.open()
                end.secure(KEYS, caller=caller)
            playing = [
                both.caller.play(islice(frames(sine(440)), 20)),
                both.callee.play(islice(frames(sine(700)), 20)),
            ]
            for each in playing:
                await each
            await received(both.callee, 20)
            await received(both.caller, 20)
            assert share(both.callee.recording.samples, 440) > 0.95
            assert share(both.caller.recording.samples, 700) > 0.95
            assert (both.caller.counters.sent, both.caller.counters.refused) == (20, 0)
            assert both.caller.reception.lost == 0
            await both.close()

    run(story)


def test_what_comes_before_the_keys_and_what_is_forged_is_counted() -> None:
    async def story() -> None:
        with ends() as both:
            await both.caller.open()
            await both.callee.open()
            both.caller.secure(KEYS, caller=True)
            await both.caller.play(islice(frames(sine(440)), 3))
            while both.callee.counters.early < 3:
                await deferLater(installed_reactor(), 0.005)
            both.callee.secure(StreamKeys(PROFILE, KEYS.callee, KEYS.caller), caller=False)
            await both.caller.play(islice(frames(sine(440)), 3))
            while both.callee.counters.refused < 3:
                await deferLater(installed_reactor(), 0.005)
            assert both.callee.reception.received == 0
            await both.close()

    run(story)


def test_only_the_relay_is_listened_to() -> None:
    async def story() -> None:
        with ends() as both, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
            await both.caller.open()
            both.caller.secure(KEYS, caller=True)
            stranger.sendto(bytes([0x80]) + bytes(200), ("127.0.0.1", both.caller.transport.getHost().port))
            while not both.caller.counters.refused:
                await deferLater(installed_reactor(), 0.005)
            await both.close()

    run(story)


def test_a_leg_moves_to_a_client_that_was_restarted() -> None:
    """The same leg, a new socket: binds of the later owner count on from the clock."""

    async def story() -> None:
        reactor = installed_reactor()
        with ends() as both:
            await both.caller.open()
            await both.callee.open()
            later = MediaStream(reactor, both.callee.relay, "127.0.0.1")
            await later.open()
            both.caller.secure(KEYS, caller=True)
            later.secure(KEYS, caller=False)
            await both.caller.play(islice(frames(sine(440)), 5))
            await received(later, 5)
            assert (both.callee.counters.early, both.callee.reception.received) == (0, 0)
            await later.close()
            await both.close()

    run(story)


def test_no_relay_is_no_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leg, "BIND_TIMEOUT", 0.3)

    async def story() -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as silent:
            silent.bind(("127.0.0.1", 0))
            end = stream(installed_reactor(), LegTicket(1, 2, bytes(32)), silent.getsockname()[1])
            with pytest.raises(NoAnswer, match=f"127.0.0.1:{silent.getsockname()[1]}/udp"):
                await end.open()
            await end.close()
            silent.setblocking(False)
            binds = 0
            while True:
                try:
                    assert len(silent.recv(100)) == 32
                except BlockingIOError:
                    break
                binds += 1
            assert 1 <= binds <= 3, "at 0 and 0.1 s, then at 0.3 s"

    run(story)


def test_closing_ends_what_waits() -> None:
    async def story() -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as silent:
            silent.bind(("127.0.0.1", 0))
            end = stream(installed_reactor(), LegTicket(1, 2, bytes(32)), silent.getsockname()[1])
            opening = Deferred.fromCoroutine(end.open())
            await end.close()
            with pytest.raises(Closed):
                await opening
            with pytest.raises(Closed):
                end.play(iter([bytes(160)]))

    run(story)


def test_playing_stops_on_command_and_can_begin_anew() -> None:
    async def story() -> None:
        with ends() as both:
            await both.caller.open()
            await both.callee.open()
            both.caller.secure(KEYS, caller=True)
            both.callee.secure(KEYS, caller=False)
            endless = both.caller.play(frames(sine(440)))
            await received(both.callee, 3)
            both.caller.stop_playing()
            await endless
            sent = both.caller.counters.sent
            await both.caller.play(islice(frames(sine(440)), 2))
            assert both.caller.counters.sent == sent + 2
            await received(both.callee, sent + 2)
            await both.close()

    run(story)
