"""One client calls another: SRTP flows both ways through the relay, and each hears the other's tone."""

import signal
from base64 import b64encode
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.task import deferLater
from twisted.internet.threads import deferToThread

from crs.client.call import Call, IncomingCall, OutgoingCall
from crs.client.client import Client
from crs.client.error import CallEnded, Refused
from crs.client.keying import KeyingError
from crs.client.testing import ACCOUNT, CrsServer, Memory, program, run
from crs.signaling.message import EndReason, ErrorCode, Who
from rtlib.audio import wav
from rtlib.audio.playback import frames
from rtlib.audio.tone import share, sine
from rtlib.testing.daemon import Daemon
from rtlib.testing.loop import installed_reactor
from rtlib.testing.loop import run as run_on_reactor

FRAMES = 50
"""One second of audio."""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CrsServer]:
    with CrsServer(tmp_path_factory.mktemp("crs")) as running:
        yield running


@pytest.fixture
def reactor() -> Any:
    return installed_reactor()


def heard(call: Call, frequency: float) -> float:
    """How much of what arrived is this tone."""
    return share(call.streams[0].recording.samples, frequency)


async def arrived(reactor: Any, call: Call, count: int) -> None:
    """Wait until so many packets have arrived."""
    while call.streams[0].reception.received < count:
        await deferLater(reactor, 0.01)


async def connected(caller: Client, callee: Memory, to: str) -> tuple[OutgoingCall, IncomingCall]:
    """A call that has been answered."""
    outgoing = await caller.call(to)
    incoming = await callee.calls.get()
    await incoming.ring()
    await outgoing.rang.wait()
    await incoming.answer()
    await outgoing.answered.wait()
    return outgoing, incoming


@pytest.mark.parametrize("secret", [None, b"shared end to end"], ids=["plain", "end-to-end-secret"])
def test_tones_both_ways(server: CrsServer, reactor: Any, secret: bytes | None) -> None:
    async def story() -> None:
        alice, _ = await server.attached(reactor, "+4611", secret)
        bob, told = await server.attached(reactor, "+4612", secret)
        outgoing, incoming = await connected(alice, told, "+4612")
        assert incoming.parties == outgoing.parties
        await_all = [
            outgoing.streams[0].play(islice(frames(sine(440)), FRAMES)),
            incoming.streams[0].play(islice(frames(sine(1000)), FRAMES)),
        ]
        for playing in await_all:
            await playing
        await arrived(reactor, outgoing, FRAMES)
        await arrived(reactor, incoming, FRAMES)
        for call, tone, other in ((outgoing, 1000, 440), (incoming, 440, 1000)):
            stream = call.streams[0]
            assert (stream.counters.sent, stream.counters.refused, stream.counters.early) == (FRAMES, 0, 0)
            assert (stream.reception.received, stream.reception.lost) == (FRAMES, 0)
            assert len(stream.recording.samples) == FRAMES * 160
            assert heard(call, tone) > 0.95
            assert heard(call, other) < 0.01
        relays = server.cli("show", "relays").stdout.splitlines()
        assert len(relays) == 2
        assert relays[1].split()[:2] == ["rtp", "2"]
        await outgoing.hangup()
        end = await incoming.ended.wait()
        assert (end.reason, end.who) == (EndReason.hangup, Who.caller)
        assert len(server.cli("show", "relays").stdout.splitlines()) == 1
        await alice.close()
        await bob.close()

    run_on_reactor(story, timeout=60)


def test_several_streams(server: CrsServer, reactor: Any) -> None:
    async def story() -> None:
        alice, _ = await server.attached(reactor, "+4613")
        bob, told = await server.attached(reactor, "+4614")
        outgoing = await alice.call("+4614", streams=3)
        incoming = await told.calls.get()
        await incoming.answer()
        await outgoing.answered.wait()
        for index, (ours, theirs) in enumerate(zip(outgoing.streams, incoming.streams, strict=True)):
            await ours.play(islice(frames(sine(400 + 200 * index)), 10))
            while theirs.reception.received < 10:
                await deferLater(reactor, 0.01)
            assert share(theirs.recording.samples, 400 + 200 * index) > 0.95
        await incoming.hangup()
        end = await outgoing.ended.wait()
        assert (end.reason, end.who) == (EndReason.hangup, Who.callee)
        await alice.close()
        await bob.close()

    run_on_reactor(story, timeout=60)


def test_ways_to_not_talk(server: CrsServer, reactor: Any) -> None:
    """Unknown, away, declined, busy, cancelled: each has its own ending."""

    async def story() -> None:
        alice, _ = await server.attached(reactor, "+4615")
        with pytest.raises(Refused) as refusal:
            await alice.call("+4699")
        assert refusal.value.code is ErrorCode.not_found
        bob, told = await server.attached(reactor, "+4616")
        for reason in (EndReason.decline, EndReason.busy):
            outgoing = await alice.call("+4616")
            await (await told.calls.get()).decline(reason)
            with pytest.raises(CallEnded) as ending:
                await outgoing.answered.wait()
            assert (ending.value.reason, ending.value.who) == (reason, Who.callee)
            await outgoing.ended.wait()
        outgoing = await alice.call("+4616")
        incoming = await told.calls.get()
        await incoming.ring()
        await outgoing.hangup()
        end = await incoming.ended.wait()
        assert (end.reason, end.who) == (EndReason.cancel, Who.caller)
        await bob.close()
        with pytest.raises(Refused) as refusal:
            await alice.call("+4616")
        assert refusal.value.code is ErrorCode.not_connected
        await alice.close()

    run_on_reactor(story, timeout=60)


def test_another_end_to_end_secret_ends_the_call(server: CrsServer, reactor: Any) -> None:
    async def story() -> None:
        alice, _ = await server.attached(reactor, "+4617", b"one secret")
        bob, told = await server.attached(reactor, "+4618", b"another secret")
        outgoing = await alice.call("+4618")
        incoming = await told.calls.get()
        await incoming.answer()
        with pytest.raises(KeyingError, match="another end-to-end secret"):
            await outgoing.answered.wait()
        end = await incoming.ended.wait()
        assert (end.reason, end.who) == (EndReason.hangup, Who.caller)
        await outgoing.ended.wait()
        await alice.close()
        await bob.close()

    run_on_reactor(story, timeout=60)


def test_a_client_that_comes_back_keeps_its_call(server: CrsServer, reactor: Any) -> None:
    """The callee's connection is lost while it rings; it attaches anew, is told again, and answers."""

    async def story() -> None:
        alice, _ = await server.attached(reactor, "+4619")
        bob, told = await server.attached(reactor, "+4620")
        outgoing = await alice.call("+4620")
        lost = await told.calls.get()
        bob.abort()
        await lost.ended.wait()
        bob, told = await server.attached(reactor, "+4620")
        incoming = await told.calls.get()
        assert incoming.parties == outgoing.parties
        await incoming.answer()
        await outgoing.answered.wait()
        await outgoing.streams[0].play(islice(frames(sine(440)), 10))
        await arrived(reactor, incoming, 10)
        await outgoing.hangup()
        await incoming.ended.wait()
        await alice.close()
        await bob.close()

    run_on_reactor(story, timeout=60)


def test_media_from_elsewhere_is_dropped(server: CrsServer, reactor: Any) -> None:
    """Somebody who knows an identifier, but not the key, neither hears nor speaks."""

    async def story() -> None:
        alice, _ = await server.attached(reactor, "+4621")
        bob, told = await server.attached(reactor, "+4622")
        outgoing, incoming = await connected(alice, told, "+4622")
        stranger = await intruder(reactor, server, outgoing)
        await outgoing.streams[0].play(islice(frames(sine(440)), 10))
        await arrived(reactor, incoming, 10)
        assert (incoming.streams[0].reception.received, incoming.streams[0].counters.refused) == (10, 0)
        assert stranger == []
        await outgoing.hangup()
        await incoming.ended.wait()
        await alice.close()
        await bob.close()

    run_on_reactor(story, timeout=60)


async def intruder(reactor: Any, server: CrsServer, call: Call) -> list[bytes]:
    """Send media, a forged bind and garbage under both identifiers of a call; returns what comes back."""
    from twisted.internet.protocol import DatagramProtocol

    from crs.relay.packet import Type, build

    answers: list[bytes] = []

    class Socket(DatagramProtocol):
        def datagramReceived(self, datagram: bytes, addr: Any) -> None:
            answers.append(datagram)

    port = reactor.listenUDP(0, Socket(), interface="127.0.0.1")
    relay = call.streams[0].relay
    for identifier in (relay.identifier, relay.peer):
        for data in (
            b"\x80\x00\x00\x01\x00\x00\x00\x00" + identifier.to_bytes(4, "big") + bytes(160),
            build(Type.bind, identifier, 2**40, bytes(32)),
            b"\x10\x00\x00\x00" + identifier.to_bytes(4, "big") + bytes(100),
        ):
            port.write(data, ("127.0.0.1", server.relay_port))
    await deferLater(reactor, 0.2)
    await port.stopListening()
    return answers


def test_crs_client_on_the_command_line(server: CrsServer, tmp_path: Path) -> None:
    """`listen --answer` plays one tone, `call` another; both record, and both recordings are right."""
    key = {uri: tmp_path / uri for uri in ("+4631", "+4632")}
    secret = tmp_path / "secret"
    secret.write_text(b64encode(server.secret).decode())
    for uri, file in key.items():
        made = run("crs.client.cli", "key", "--uri", uri, "--account", ACCOUNT, "--secret-file", str(secret))
        file.write_text(made.stdout)
    (tmp_path / "heard").mkdir()

    def who(uri: str) -> tuple[str, ...]:
        options = ("--server", str(server.address), "--account", ACCOUNT)
        return (*options, "--uri", uri, "--key-file", str(key[uri]), "--e2e-secret-file", str(secret))

    listen = ("listen", "--answer", "--tone", "600", "--record-dir", str(tmp_path / "heard"), *who("+4632"))
    call = ("call", "+4632", "--tone", "900", "--seconds", "1", "--record", str(tmp_path / "back.wav"))
    with Daemon(program("crs.client.cli", *listen), "attached as") as listener:
        called = run("crs.client.cli", *call, *who("+4631"))
        assert called.returncode == 0, called.stderr
        listener.wait_for_text("recorded ")
        for expected in ("call from +4631@demo", "answered", "ended: hangup by the caller"):
            assert expected in listener.output
        listener.stop()
    for expected in ("calling +4632@demo", "+4632@demo rings", "+4632@demo has answered", "0 refused"):
        assert expected in called.stdout
    assert share(wav.read(tmp_path / "back.wav"), 600) > 0.9
    (recorded,) = (tmp_path / "heard").glob("*.wav")
    assert share(wav.read(recorded), 900) > 0.9


def test_ctrl_c_hangs_up(server: CrsServer, reactor: Any, tmp_path: Path) -> None:
    """Who interrupts `crs-client call` ends the call at once, not after the grace period."""
    secret = tmp_path / "secret"
    secret.write_text(b64encode(server.secret).decode())
    name = ("--server", str(server.address), "--account", ACCOUNT, "--uri", "+4641")
    who = (*name, "--secret-file", str(secret))

    async def story() -> None:
        bob, told = await server.attached(reactor, "+4642")
        command = program("crs.client.cli", "call", "+4642", "--seconds", "60", *who)
        caller = await deferToThread(Daemon(command, "calling").start)
        try:
            incoming = await told.calls.get()
            await incoming.answer()
            await arrived(reactor, incoming, 5)
            caller.process.send_signal(signal.SIGINT)
            end = await incoming.ended.wait()
            assert (end.reason, end.who) == (EndReason.hangup, Who.caller)
            assert await deferToThread(caller.process.wait, 5) == 0
            assert "Traceback" not in caller.output
        finally:
            caller.close()
        await bob.close()

    run_on_reactor(story, timeout=60)
