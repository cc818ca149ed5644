"""Calls that change, and calls of many: everybody hears everybody else, and can tell them apart."""

from base64 import b64encode
from collections.abc import Callable, Iterator
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater

from crs.client.call import CallState
from crs.client.error import ChangeDeclined, Refused
from crs.client.group import GroupCall
from crs.client.testing import ACCOUNT, CrsServer, program, run
from crs.identity import Identity
from crs.signaling.message import ChangeEnd, EndReason, ErrorCode, MemberState
from rtlib.audio import wav
from rtlib.audio.playback import frames
from rtlib.audio.rtp import Reception
from rtlib.audio.tone import share, sine
from rtlib.testing.daemon import Daemon
from rtlib.testing.loop import installed_reactor
from rtlib.testing.loop import run as run_on_reactor

FRAMES = 25
"""Half a second of audio."""

SECRET = b"shared end to end"
TONES = (440.0, 1000.0, 1600.0)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CrsServer]:
    with CrsServer(tmp_path_factory.mktemp("crs")) as running:
        yield running


@pytest.fixture
def reactor() -> Any:
    return installed_reactor()


def _is_complete(reception: Reception) -> bool:
    return reception.received == FRAMES


async def until(reactor: Any, condition: Callable[[], bool]) -> None:
    while not condition():
        await deferLater(reactor, 0.01)


def relays(server: CrsServer) -> list[str]:
    return [line.split()[0] for line in server.cli("show", "relays").stdout.splitlines()[1:]]


async def hears(reactor: Any, group: GroupCall, identifier: int) -> Any:
    """Wait for all that a party plays."""
    assert group.stream is not None
    heard = group.stream.heard
    await until(reactor, lambda: identifier in heard and heard[identifier].reception.received == FRAMES)
    return heard[identifier].recording.samples


async def all_heard(reactor: Any, groups: list[GroupCall]) -> None:
    """Everybody plays a tone of its own; everybody hears those of the others, and can tell them apart."""
    await until(reactor, lambda: all(len(group.joined) == len(groups) for group in groups))
    playing = []
    for group, tone in zip(groups, TONES, strict=False):
        assert group.stream is not None
        playing.append(group.stream.play(islice(frames(sine(tone)), FRAMES)))
    for each in playing:
        await each
    for group in groups:
        assert group.stream is not None
        for other, tone in zip(groups, TONES, strict=False):
            assert other.stream is not None
            identifier = other.stream.relay.identifier
            if other is group:
                assert identifier not in group.stream.heard
                continue
            assert share(await hears(reactor, group, identifier), tone) > 0.95
        assert group.stream.counters.refused == 0


def test_a_stream_is_added_refused_and_replaced(server: CrsServer, reactor: Any) -> None:
    async def story() -> None:
        alice, hers = await server.attached(reactor, "+4611", SECRET)
        bob, his = await server.attached(reactor, "+4612", SECRET)
        outgoing = await alice.call("+4612")
        incoming = await his.calls.get()
        await incoming.answer()
        await outgoing.answered.wait()
        added = Deferred.fromCoroutine(outgoing.change(add=1))
        await (await his.changes.get()).accept()
        await added
        for ours, theirs in zip(outgoing.streams, incoming.streams, strict=True):
            await ours.play(islice(frames(sine(440)), FRAMES))
            reception = theirs.reception
            await until(reactor, partial(_is_complete, reception))
            assert share(theirs.recording.samples, 440) > 0.95
        assert relays(server) == ["rtp", "rtp"]
        refused = Deferred.fromCoroutine(incoming.change(add=1, remove=[0]))
        await (await hers.changes.get()).refuse()
        with pytest.raises(ChangeDeclined) as declined:
            await refused
        assert declined.value.reason is ChangeEnd.refused
        assert relays(server) == ["rtp", "rtp"]
        replaced = Deferred.fromCoroutine(incoming.change(add=1, remove=[0]))
        await (await hers.changes.get()).accept()
        await replaced
        assert [stream.relay.stream for stream in outgoing.streams] == [1, 3]
        await incoming.streams[1].play(islice(frames(sine(1000)), FRAMES))
        await until(reactor, lambda: outgoing.streams[1].reception.received == FRAMES)
        assert share(outgoing.streams[1].recording.samples, 1000) > 0.95
        assert relays(server) == ["rtp", "rtp"]
        await outgoing.hangup()
        await incoming.ended.wait()
        assert incoming.state is CallState.ended and relays(server) == []
        await alice.close()
        await bob.close()

    run_on_reactor(story, timeout=60)


def test_a_group_call_of_three(server: CrsServer, reactor: Any) -> None:
    async def story() -> None:
        clients = [await server.attached(reactor, f"+462{number}", SECRET) for number in range(3)]
        first = await clients[0][0].open_group(
            [Identity("+4621", ACCOUNT), Identity("+4622", ACCOUNT), Identity("+4699", ACCOUNT)]
        )
        assert [(each.uri, each.code) for each in first.refused] == [("+4699", ErrorCode.not_found)]
        groups = [first]
        for _, told in clients[1:]:
            invited = await told.groups.get()
            await invited.ring()
            await invited.join()
            groups.append(invited)
        await all_heard(reactor, groups)
        assert relays(server) == ["opaque-multicast"]
        rows = [line.split() for line in server.cli("show", "session").stdout.splitlines()[1:]]
        assert [(row[0], row[1], row[3]) for row in rows[-2:]] == [
            ("+4620", "+4621", "talk"),
            ("+4620", "+4622", "talk"),
        ]
        await first.leave()
        await until(reactor, lambda: len(groups[1].joined) == 2)
        assert groups[1].members[Identity("+4620", ACCOUNT)].state is MemberState.left
        await groups[2].leave()
        assert (await groups[1].ended.wait()).reason is EndReason.empty
        assert relays(server) == []
        for client, _ in clients:
            await client.close()

    run_on_reactor(story, timeout=60)


def test_a_conference_room(server: CrsServer, reactor: Any) -> None:
    def cli(*arguments: str) -> str:
        done = server.cli(*arguments)
        assert done.returncode == 0, done.stderr
        return done.stdout

    async def story() -> None:
        clients = [await server.attached(reactor, f"+463{number}", SECRET) for number in range(3)]
        cli("create", "conference-room", "123456", ACCOUNT, "+4630")
        assert cli("list", "conference-room").splitlines()[1].split() == ["123456", ACCOUNT, "+4630"]
        assert cli("lookup", "conference-room", "123456", ACCOUNT).splitlines()[1].split() == [
            "123456",
            ACCOUNT,
            "+4630",
        ]
        rooms = [await client.dial("123456") for client, _ in clients]
        await all_heard(reactor, rooms)
        assert relays(server) == ["opaque-multicast"]
        await rooms[1].leave()
        await until(reactor, lambda: len(rooms[0].joined) == 2)
        cli("delete", "conference-room", "123456", ACCOUNT, "+4630")
        for room in (rooms[0], rooms[2]):
            assert (await room.ended.wait()).reason is EndReason.hangup
        with pytest.raises(Refused) as refused:
            await clients[0][0].dial("123456")
        assert refused.value.code is ErrorCode.not_found
        assert relays(server) == []
        for client, _ in clients:
            await client.close()

    run_on_reactor(story, timeout=60)


def test_crs_client_on_the_command_line(server: CrsServer, tmp_path: Path) -> None:
    """Two listen; a third calls one, adding a stream, then both in a group, and dials a room."""
    secret, e2e = tmp_path / "secret", tmp_path / "e2e"
    secret.write_text(b64encode(server.secret).decode())
    e2e.write_text(b64encode(SECRET).decode())

    def who(uri: str) -> tuple[str, ...]:
        options = ("--server", str(server.address), "--account", ACCOUNT, "--uri", uri)
        return (*options, "--secret-file", str(secret), "--e2e-secret-file", str(e2e))

    def listen(uri: str, tone: int) -> Daemon:
        arguments = ("listen", "--answer", "--tone", str(tone), *who(uri))
        return Daemon(program("crs.client.cli", *arguments), "attached as")

    with listen("+4641", 600) as one, listen("+4642", 1500) as two:
        called = run("crs.client.cli", "call", "+4641", "--add-streams", "1", "--seconds", "1", *who("+4640"))
        assert called.returncode == 0, called.stderr
        assert "2 streams" in called.stdout and called.stdout.count("0 refused") == 2
        one.wait_for_text("2 streams")
        heard = tmp_path / "heard"
        heard.mkdir()
        group = ("group", "+4641", "+4642", "+4649", "--seconds", "2", "--record-dir", str(heard))
        called = run("crs.client.cli", *group, *who("+4640"))
        assert called.returncode == 0, called.stderr
        for expected in ("+4649@demo cannot be invited: not-found", "+4641@demo joined", "from +4642@demo"):
            assert expected in called.stdout
        for uri, tone in (("+4641", 600), ("+4642", 1500)):
            (recorded,) = heard.glob(f"*{uri}@demo.wav")
            assert share(wav.read(recorded), tone) > 0.9
        for listener in (one, two):
            listener.wait_for_text("group call from .4640")
            listener.wait_for_text("4640@demo left: hangup")
        one.stop()
        two.wait_for_text("the call has ended: empty by the server")
        two.stop()
    assert run("crs.client.cli", "join", "654321", *who("+4640")).returncode == 1
    server.cli("create", "conference-room", "654321", ACCOUNT, "+4640")
    joined = run("crs.client.cli", "join", "654321", "--seconds", "0.2", *who("+4640"))
    assert joined.returncode == 0, joined.stderr
    assert "in a group with +4640@demo" in joined.stdout
