"""The relay as a process of its own: crs is replaced during calls, and the parties hear nothing of it."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack
from itertools import cycle, islice
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.defer import DeferredQueue
from twisted.internet.task import deferLater
from twisted.internet.threads import deferToThread

from crs.client import call
from crs.client.call import Call
from crs.client.credentials import Server
from crs.client.error import Refused
from crs.client.lasting import Backoff, LastingClient
from crs.client.testing import CrsServer, Memory
from crs.relay.testing import Crowd
from crs.signaling.message import Attached, EndReason, ErrorCode
from rtlib.audio.playback import frames
from rtlib.audio.tone import sine
from rtlib.testing.daemon import DaemonError, wait_until
from rtlib.testing.loop import installed_reactor, run

TALKING = 8
"""Calls of phones that play and listen."""
PAIRS, CALLS_OF_A_PAIR = 32, 6
CALLS = TALKING + PAIRS * CALLS_OF_A_PAIR
"""All calls: 200. The legs of the others are at sockets that count what comes."""
LATER = 1_000_000
"""Added to a client's bind counter, so that the client itself does not move its leg back."""
CONNECTED = "connected to the relay service"


class News(Memory):
    """Also tells when the client is back."""

    def __init__(self) -> None:
        super().__init__()
        self.returns: DeferredQueue[bool] = DeferredQueue()

    def returned(self, attached: Attached) -> None:
        self.returns.put(attached.resumed)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[CrsServer]:
    """Relay first, then crs."""
    home = CrsServer(tmp_path / "home", ["relay-service separate"])
    with home.relay() as relay, home:
        home.daemon.wait_for_text(CONNECTED)
        yield home
        assert "Traceback" not in home.daemon.output + relay.output


async def lasting(reactor: Any, server: CrsServer, uri: str) -> tuple[LastingClient, News]:
    news = News()
    backoff = Backoff(first=0.05, longest=0.5, after_shutdown=(0.1, 0.2))
    client = LastingClient(reactor, server.address, server.credentials(uri), news, backoff=backoff)
    await client.connect()
    await client.attach()
    return client, news


async def talk(client: LastingClient, callee: str, told: News) -> tuple[Call, Call]:
    """A call in which both play."""
    outgoing = await client.call(callee)
    incoming = await told.calls.get()
    await incoming.answer()
    await outgoing.answered.wait()
    for end, tone in ((outgoing, 440), (incoming, 1000)):
        end.streams[0].play(cycle(list(islice(frames(sine(tone)), 50))))
    return outgoing, incoming


async def heard(reactor: Any, ends: list[Call], packets: int) -> None:
    """Wait until every end has received so many packets more."""
    wanted = {end: end.streams[0].reception.received + packets for end in ends}
    deadline = time.monotonic() + 20
    while any(end.streams[0].reception.received < count for end, count in wanted.items()):
        assert time.monotonic() < deadline, "a stream has stopped"
        await deferLater(reactor, 0.02)


async def gather(reactor: Any, server: CrsServer, crowds: list[Crowd]) -> list[LastingClient]:
    """Each crowd takes over the legs of a call of each pair; gives the clients, which stay attached."""
    clients: list[LastingClient] = []
    for number in range(PAIRS):
        caller, _ = await lasting(reactor, server, f"+47{number}")
        callee, told = await lasting(reactor, server, f"+48{number}")
        clients += [caller, callee]
        for crowd in crowds:
            outgoing = await caller.call(f"+48{number}")
            incoming = await told.calls.get()
            await incoming.answer()
            await outgoing.answered.wait()
            for end in (outgoing, incoming):
                leg = end.streams[0].relay
                crowd.take(leg.identifier, leg.key, int(time.time() * 1000) + LATER)
    return clients


async def crowded(reactor: Any, crowds: list[Crowd], packets: int) -> None:
    """Wait until so many packets more of every leg have come through."""
    wanted = [{leg: count + packets for leg, count in crowd.received.items()} for crowd in crowds]
    deadline = time.monotonic() + 20
    while any(
        c.received[leg] < count
        for c, counts in zip(crowds, wanted, strict=True)
        for leg, count in counts.items()
    ):
        assert time.monotonic() < deadline, "a stream of the crowd has stopped"
        await deferLater(reactor, 0.02)


def show(server: CrsServer, what: str) -> Any:
    shown = server.cli("--json", "show", what)
    assert shown.returncode == 0, shown.stderr
    return json.loads(shown.stdout)


def test_every_stream_goes_on_while_crs_is_replaced(
    server: CrsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    reactor: Any = installed_reactor()
    monkeypatch.setattr(call, "SILENCE", 1.0)

    async def story() -> None:
        crowds = [Crowd(server.relay_port) for _ in range(CALLS_OF_A_PAIR)]
        silent = await gather(reactor, server, crowds)
        with ExitStack() as running:
            for crowd in crowds:
                running.enter_context(crowd)
            await replaced(crowds)
        for client in silent:
            await client.close()

    async def replaced(crowds: list[Crowd]) -> None:
        clients: list[tuple[LastingClient, News]] = []
        ends: list[Call] = []
        for number in range(TALKING):
            caller, at_caller = await lasting(reactor, server, f"+45{number}")
            callee, at_callee = await lasting(reactor, server, f"+46{number}")
            clients += [(caller, at_caller), (callee, at_callee)]
            ends += await talk(caller, f"+46{number}", at_callee)
        await heard(reactor, ends, 10)
        await crowded(reactor, crowds, 1)
        identifiers = {end.streams[0].relay.identifier for end in ends}.union(*(c.received for c in crowds))
        assert len(identifiers) == 2 * CALLS
        assert await deferToThread(server.daemon.stop, 10.0) < 10.0
        await heard(reactor, ends, 25)
        await crowded(reactor, crowds, 3)
        await deferToThread(server.daemon.start)
        await deferToThread(server.daemon.wait_for_text, f"{CONNECTED}, which has {CALLS} relays")
        for _, news in clients:
            assert await news.returns.get() is False
        await heard(reactor, ends, 25)
        await crowded(reactor, crowds, 3)
        assert [crowd.lost for crowd in crowds] == [0] * len(crowds)
        lost = [end.streams[0].reception.lost for end in ends]
        assert lost == [0] * len(ends) and {end.state for end in ends} == {call.CallState.talk}
        rows = await deferToThread(show, server, "relays")
        assert {each for row in rows for each in row["identifiers"]} == identifiers
        assert {(row["type"], row["nodes"]) for row in rows} == {("rtp", 2)}
        # New calls are as always; of the old ones the server knows nothing.
        more = await talk(clients[0][0], "+461", clients[3][1])
        await heard(reactor, [*ends, *more], 10)
        await more[0].hangup()
        await more[1].ended.wait()
        await ends[0].hangup()
        end = await ends[1].ended.wait()
        assert end.reason is EndReason.lost
        await heard(reactor, ends[2:], 10)
        for client, _ in clients:
            await client.close()

    run(story, timeout=90)
    kinds = {row["type"]: row for row in show(server, "relay")["kinds"]}
    assert kinds["rtp"]["rx"] == kinds["rtp"]["tx"] > TALKING * 2 * 60 + (CALLS - TALKING) * 2 * 7
    services = {row["service"]: row["status"] for row in show(server, "services")}
    assert services == {"crs": "active", "crs_relay": "active"}
    log = (server.home / "log" / "crs_relay.log").read_text()
    for event in ("crs_relay started", "CONNECTION of crs", "CLOSE of crs", "Command add: rtp"):
        assert event in log
    assert log.count("CONNECTION of crs") == 2


def test_the_relay_rereads_its_log_level_and_its_counters_are_metrics(server: CrsServer) -> None:
    relay = int((server.home / "run" / "crs_relay.pid").read_text())
    os.kill(relay, signal.SIGHUP)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
        stranger.sendto(b"\x01 garbage of some length", ("127.0.0.1", server.relay_port))
        stranger.sendto(b"short", ("127.0.0.1", server.relay_port))
        wait_until(lambda: show(server, "relay")["received"][0]["packets"] == 2)
    assert show(server, "relay")["received"][0]["error_too_short"] == 1
    assert server.offences()["relay: garbage"] == 1
    os.kill(relay, 0)


@pytest.mark.parametrize("where", ["inside", "separate"])
def test_under_load_the_relay_waits_as_long_as_it_is_told(tmp_path: Path, where: str) -> None:
    """A packet comes in each millisecond, and ten of them are moved at once: far fewer turns than packets."""
    server = CrsServer(tmp_path / "home", [f"relay-service {where}", "relay-pause 10000"])
    daemon = server.relay() if where == "separate" else server.daemon
    with daemon:
        turns, begun = switches(daemon.pid), time.monotonic()
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            for number in range(1000):
                while time.monotonic() < begun + number / 1000:
                    pass
                sender.sendto(bytes(40), ("127.0.0.1", server.relay_port))
        took = time.monotonic() - begun
        # A turn is a drain, a pause, and the handing up of what came.
        assert switches(daemon.pid) - turns < 100 + 4 * took / 0.010


def switches(pid: int) -> int:
    """How often the threads of a process have gone to sleep."""
    found = [
        re.search(r"^voluntary_ctxt_switches:\s+(\d+)", status.read_text(), re.MULTILINE)
        for status in Path(f"/proc/{pid}/task").glob("*/status")
    ]
    return sum(int(each[1]) for each in found if each)


def test_without_the_relay_there_are_no_calls_but_messages(tmp_path: Path) -> None:
    reactor: Any = installed_reactor()
    server = CrsServer(tmp_path / "home", ["relay-service separate"])

    async def story() -> None:
        alice, _ = await server.attached(reactor, "+451")
        bob, told = await server.attached(reactor, "+452")
        with pytest.raises(Refused, match="the relay service does not answer") as refused:
            await alice.call("+452")
        assert refused.value.code is ErrorCode.unavailable
        await alice.post("+452", b"the relay is away")
        assert (await told.messages.get()).payload == b"the relay is away"
        relay = server.relay()
        await deferToThread(relay.start)
        try:
            await deferToThread(server.daemon.wait_for_text, CONNECTED)
            outgoing = await alice.call("+452")
            incoming = await told.calls.get()
            await incoming.answer()
            await outgoing.answered.wait()
            await outgoing.hangup()
            await incoming.ended.wait()
            assert await deferToThread(relay.stop) < 2.0
        finally:
            relay.close()
        await alice.close()
        await bob.close()

    with server:
        run(story, timeout=60)
        shown = server.cli("show", "relay")
        assert shown.returncode != 0 and "the relay service" in shown.stderr
        services = {row["service"]: row["status"] for row in show(server, "services")}
        assert services == {"crs": "active", "crs_relay": "inactive"}
        assert "Traceback" not in server.daemon.output


@pytest.mark.parametrize(
    ("settings", "role", "reason"),
    [
        ([], "relay", "relay-service separate"),
        (["relay-service separate"], "nobody", "there is no such role"),
        (["relay-service elsewhere"], "relay", "relay-service"),
    ],
)
def test_a_relay_that_cannot_start_says_why(
    tmp_path: Path, settings: list[str], role: str, reason: str
) -> None:
    server = CrsServer(tmp_path / "home", settings)
    relay = server.relay()
    relay.command[relay.command.index("relay")] = role
    with pytest.raises(DaemonError, match=reason), relay:
        raise AssertionError("it has started")


def test_clients_of_both_families_call_each_other(tmp_path: Path) -> None:
    reactor: Any = installed_reactor()
    server = CrsServer(tmp_path / "home", ["relay-service separate"])
    settings = (server.home / "crs.conf").read_text()
    (server.home / "crs.conf").write_text(settings.replace("listen-ip 127.0.0.1", "listen-ip ::"))
    old, new = server.address, Server("::1", server.address.port)

    async def story() -> None:
        server.address = old
        alice, _ = await lasting(reactor, server, "+451")
        server.address = new
        bob, told = await lasting(reactor, server, "+452")
        ends = await talk(alice, "+452", told)
        await heard(reactor, list(ends), 10)
        await alice.close()
        await bob.close()

    with server.relay(), server:
        server.daemon.wait_for_text(CONNECTED)
        run(story, timeout=60)
