"""crs and its relay as two processes: who is restarted, who is silent, who talks nonsense."""

from __future__ import annotations

import random
import socket
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.protocol import Factory, Protocol

from crs.relay import control
from crs.relay.allocation import IDLE, KINDS, Bind, RelayFull
from crs.relay.interface import LegTicket, RelayAway, RemoteEnd
from crs.relay.remote import RemoteRelay
from crs.relay.server import ABANDONED, CONNECTIONS, RelayControl
from crs.relay.service import RelayService
from crs.relay.testing import Party, turn
from rtlib.listen import StreamPort, bind_datagram, bind_unix
from rtlib.media.reactor_forwarder import ReactorForwarder
from rtlib.offence import OffenceLog
from rtlib.testing.loop import installed_reactor, run


class World:
    """One host: a relay and one crs after the other."""

    def __init__(self, folder: Path) -> None:
        self.reactor = installed_reactor()
        self.path = folder / "relay.sock"
        self.clock = 0.0
        self.running: list[Any] = []
        self.parties: list[Party] = []

    def relay(self, port: int = 0, limits: dict[str, int | None] | None = None) -> RelayControl:
        """Start the relay's process."""
        service = RelayService(
            bind_datagram("127.0.0.1", port),
            ReactorForwarder(self.reactor, lambda: self.clock),
            self.reactor,
            limits=limits or dict.fromkeys(KINDS),
            offences=OffenceLog(),
            now=lambda: self.clock,
        )
        accept = partial(StreamPort, bind_unix(self.path), reactor=self.reactor)
        clock: Any = _Clock(self)
        control_service = RelayControl(service, accept, clock)
        self._start(control_service)
        return control_service

    def crs(self) -> RemoteRelay:
        """Start crs."""
        crs = RemoteRelay(self.path, self.reactor, now=lambda: self.clock)
        self._start(crs)
        return crs

    async def connected(self) -> RemoteRelay:
        """Start crs and wait until it has its relay."""
        crs = self.crs()
        await until(lambda: not crs.away)
        return crs

    def stop(self, service: Any) -> None:
        """Stop one of both."""
        self.running.remove(service)
        service.stopService()

    async def pair(self, crs: RemoteRelay, group: int) -> tuple[Party, Party]:
        """The bound parties of a call."""
        [(one, two)] = crs.allocate(group, ["rtp"])
        await crs.statistics()
        parties = self.party(crs, one), self.party(crs, two)
        for party in parties:
            await party.bound()
        return parties

    def party(self, crs: RemoteRelay, ticket: LegTicket) -> Party:
        """A party with a leg."""
        self.parties.append(Party(crs.port, ticket))
        return self.parties[-1]

    def _start(self, service: Any) -> None:
        self.running.append(service)
        service.startService()


class _Clock:
    """The reactor's timers, but the world's time."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.callLater = world.reactor.callLater

    def seconds(self) -> float:
        return self._world.clock


async def until(condition: Callable[[], object]) -> None:
    for _ in range(2000):
        if condition():
            return
        await turn(0.002)
    raise AssertionError("it did not come true")


@pytest.fixture
def play(tmp_path: Path) -> Callable[..., None]:
    def story_in_a_world(story: Callable[[World], Any]) -> None:
        async def main() -> None:
            with closing(World(tmp_path)) as world:
                await story(world)
            await turn()

        run(main, timeout=30)

    return story_in_a_world


@contextmanager
def closing(world: World) -> Iterator[World]:
    try:
        yield world
    finally:
        for service in reversed(world.running):
            service.stopService()
        for party in world.parties:
            party.close()


async def flows(one: Party, two: Party) -> None:
    """Packets go both ways."""
    for sender, receiver in ((one, two), (two, one)):
        sent = sender.rtp(b"still there")
        assert await receiver.receive() == sent


def test_a_call_goes_on_while_crs_is_replaced(play: Callable[..., None]) -> None:
    async def story(world: World) -> None:
        world.relay(limits={"rtp": 2, "opaque-multicast": None})
        first = await world.connected()
        one, two = await world.pair(first, 1)
        first.allocate_multicast(2)
        node = first.add_node(2)
        await first.statistics()
        world.stop(first)
        await flows(one, two)
        second = await world.connected()
        await flows(one, two)
        moved = world.party(second, one.ticket)
        await moved.bound(2)
        await flows(moved, two)
        resources = {resource.kind: resource for resource in await second.resources()}
        assert set(resources["rtp"].identifiers) == {one.ticket.identifier, two.ticket.identifier}
        assert resources["opaque-multicast"].identifiers == (node.identifier,)
        assert resources["rtp"].nodes == 2
        # What the earlier one left counts; its group numbers are no concern of the new one.
        second.allocate(1, ["rtp"])
        with pytest.raises(RelayFull, match="all 2 relays"):
            second.allocate(3, ["rtp"])
        second.release(1)
        await flows(moved, two)

    play(story)


def test_what_an_earlier_crs_left_ends_when_it_is_idle(play: Callable[..., None]) -> None:
    async def story(world: World) -> None:
        relay = world.relay()
        first = await world.connected()
        one, two = await world.pair(first, 1)
        await world.pair(first, 2)
        world.stop(first)
        second = await world.connected()
        idle: list[int] = []
        second.on_idle = idle.append
        world.clock = IDLE - 1
        await flows(one, two)
        world.clock = IDLE
        await relay.relay.sweep()
        await second.statistics()
        assert len(second.table) == len(relay.relay.table) == 1 and idle == []
        await flows(one, two)

    play(story)


def test_an_idle_group_is_released_while_crs_is_away(play: Callable[..., None]) -> None:
    async def story(world: World) -> None:
        relay = world.relay()
        crs = await world.connected()
        await world.pair(crs, 1)
        world.stop(crs)
        await until(lambda: relay.commander is None)
        world.clock = IDLE
        await relay.relay.sweep()
        assert len(relay.relay.table) == 0

    play(story)


def test_media_that_nobody_can_end_ends_after_half_a_day(play: Callable[..., None]) -> None:
    async def story(world: World) -> None:
        relay = world.relay()
        first = await world.connected()
        one, two = await world.pair(first, 1)
        world.stop(first)
        await until(lambda: relay.commander is None)
        second = await world.connected()
        mine = await world.pair(second, 1)
        for passed in (0.0, ABANDONED / 2, ABANDONED - 1):
            world.clock = passed
            relay.look()
            await flows(one, two)
        world.clock = ABANDONED
        relay.look()
        one.rtp(b"too long")
        assert await two.receive() is None
        await flows(*mine)
        await second.statistics()
        assert len(second.table) == 1

    play(story)


def test_a_relay_that_was_restarted_gets_its_calls_again(play: Callable[..., None]) -> None:
    async def story(world: World) -> None:
        relay = world.relay()
        crs = await world.connected()
        one, two = await world.pair(crs, 1)
        crs.allocate_multicast(2)
        nodes = [crs.add_node(2) for _ in range(3)]
        [proxy] = crs.allocate_proxies(3, ["rtp-proxy"])
        crs.connect(3, proxy.identifier, RemoteEnd("127.0.0.1", 9, 77))
        await crs.statistics()
        before = sorted(resource.identifiers for resource in await crs.resources())
        port = crs.port
        world.stop(relay)
        await until(lambda: crs.away)
        with pytest.raises(RelayAway, match="the relay service does not answer"):
            crs.allocate(4, ["rtp"])
        with pytest.raises(RelayAway):
            await crs.statistics()
        crs.remove_node(2, nodes[0].identifier)
        again = world.relay(port)
        await until(lambda: not crs.away)
        await crs.statistics()
        after = sorted(resource.identifiers for resource in await crs.resources())
        multicast = tuple(node.identifier for node in nodes)
        assert after == sorted(each if each != multicast else multicast[1:] for each in before)
        # A stranger who caught a bind packet moves nothing with it.
        stranger = world.party(crs, one.ticket)
        stranger.bind(1)
        await until(lambda: again.relay.table.binds[Bind.replayed] == 1)
        for party in (one, two):
            await party.bound(5)
        await flows(one, two)

    play(story)


def test_crs_learns_what_was_bound_while_the_connection_was_cut(play: Callable[..., None]) -> None:
    async def story(world: World) -> None:
        relay = world.relay()
        crs = await world.connected()
        one, _ = await world.pair(crs, 1)
        assert relay.commander is not None
        relay.commander.abort()
        await until(lambda: crs.away)
        await one.bound(7)
        await until(lambda: not crs.away)
        [allocation] = crs.table
        assert sorted(leg.counter for leg in allocation.legs) == [1, 7]

    play(story)


def test_what_changed_while_the_connection_was_cut_is_mended(play: Callable[..., None]) -> None:
    async def story(world: World) -> None:
        relay = world.relay()
        crs = await world.connected()
        kept = await world.pair(crs, 1)
        await world.pair(crs, 2)
        crs.allocate_multicast(3)
        crs.add_node(3)
        await crs.statistics()
        assert relay.commander is not None
        relay.commander.abort()
        await until(lambda: crs.away)
        crs.release(2)
        node = crs.add_node(3)
        await until(lambda: not crs.away)
        await crs.statistics()
        found = {resource.kind: resource for resource in await crs.resources()}
        assert node.identifier in found["opaque-multicast"].identifiers
        assert set(found["rtp"].identifiers) == {party.ticket.identifier for party in kept}
        await flows(*kept)

    play(story)


def test_the_newest_crs_commands(play: Callable[..., None]) -> None:
    async def story(world: World) -> None:
        relay = world.relay()
        first = await world.connected()
        second = await world.connected()
        assert relay.commander is not None and relay.commander.instance == second.instance
        world.stop(first)
        await second.statistics()

    play(story)


def test_the_relay_refuses_what_cannot_be(play: Callable[..., None]) -> None:
    async def story(world: World) -> None:
        relay = world.relay()
        crs = await world.connected()
        [(one, _)] = crs.allocate(1, ["rtp"])
        await crs.statistics()
        idle: list[int] = []
        crs.on_idle = idle.append
        link: Any = crs._link
        wire = crs.instance << control.INSTANCE_BITS
        leg = control.LegState(9, b"k" * 32)
        for number, command in enumerate(
            (
                control.Add(wire + 2, "no such kind", [leg]),
                control.Add(wire + 3, "rtp", [control.LegState(9)]),
                control.Add(wire + 4, "rtp", [control.LegState(one.identifier, b"k")]),
                control.Add(wire + 5, "rtp", [control.LegState(9, b"", "no address", 1)]),
                control.Extend(wire + 6, 0, leg),
                control.Extend(wire + 1, 4711, leg),
                control.Extend(wire + 1, one.identifier, leg),
            ),
            1,
        ):
            link.tell(command)
            await crs.statistics()
            assert len(idle) == number
        link.tell(control.Reduce(wire + 1, 4711))
        link.tell(control.Release(wire + 99))
        await crs.statistics()
        assert idle == [2, 3, 4, 5, 6, 1, 1] and len(relay.relay.table) == 1

    play(story)


def test_nonsense_on_the_control_socket(play: Callable[..., None]) -> None:
    async def story(world: World) -> None:
        world.relay()
        crs = await world.connected()
        hello = control.encode(control.Hello(control.VERSION, 5))
        for data in (
            b"\xff" * 8,
            frame(b"\xc1"),
            frame(b"\x81\xa4type\xa5nobod"),
            frame(control.encode(control.Poll(1))),
            frame(control.encode(control.Hello(control.VERSION + 1, 5))),
            frame(control.encode(control.Hello(control.VERSION, 0))),
            frame(control.encode(control.Hello(control.VERSION, 1 << 31))),
        ):
            with closing_socket(world.path) as sock:
                sock.sendall(data)
                await ended(sock)
            await crs.statistics()
        with closing_socket(world.path) as sock:
            sock.sendall(frame(hello) + frame(hello))
            await ended(sock)
        await until(lambda: not crs.away)
        many = [socket.socket(socket.AF_UNIX) for _ in range(2 * CONNECTIONS)]
        for sock in many:
            sock.connect(str(world.path))
        await crs.statistics()
        for sock in many:
            sock.close()

    play(story)


def frame(data: bytes) -> bytes:
    return len(data).to_bytes(4) + data


@contextmanager
def closing_socket(path: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX) as sock:
        sock.connect(str(path))
        sock.setblocking(False)
        yield sock


async def ended(sock: socket.socket) -> None:
    """Wait until the other end has closed the connection."""

    def is_closed() -> bool:
        try:
            return sock.recv(65536) == b""
        except BlockingIOError:
            return False
        except ConnectionError:
            return True

    await until(is_closed)


def test_a_relay_that_is_silent_or_strange_is_left(
    play: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(control, "ANSWER_TIME", 0.05)
    greeting = control.Greeting(control.VERSION, 1, False, {})
    other = control.Greeting(control.VERSION + 1, 1, False, {})
    said = [b"", b"\xff" * 8, frame(b"\xc1"), frame(control.encode(other)), frame(control.encode(greeting))]

    async def story(world: World) -> None:
        come: list[Protocol] = []

        class Strange(Protocol):
            def connectionMade(self) -> None:
                assert self.transport is not None
                self.transport.write(said[len(come) % len(said)])
                come.append(self)

        factory = Factory.forProtocol(Strange)
        port = StreamPort(bind_unix(world.path), factory, world.reactor)
        port.startService()
        crs = world.crs()
        await until(lambda: len(come) > len(said))
        assert crs.away
        with pytest.raises(RelayAway):
            crs.allocate(1, ["rtp"])
        world.stop(crs)
        stopped = port.stopService()
        assert isinstance(stopped, Deferred)
        await stopped
        for protocol in come:
            if protocol.connected:
                protocol.transport.abortConnection()  # type: ignore[union-attr]

    play(story)


class Chaos:
    """Does what signaling may do, in any order, while connections and processes come and go."""

    def __init__(self, world: World, dice: random.Random) -> None:
        self.world = world
        self.dice = dice
        self.process = world.relay()
        self.crs = world.crs()
        self.groups: dict[int, str] = {}
        self.legs: dict[int, list[int]] = {}
        self.number = 0

    def act(self) -> None:
        """One step."""
        steps = [self.allocate] * 6 + [self.release] * 3 + [self.extend] * 4 + [self.reduce] * 2
        self.dice.choice([*steps, self.cut, self.restart_relay, self.restart_crs])()

    def allocate(self) -> None:
        kind = self.dice.choice(list(KINDS))
        self.number += 1
        try:
            if kind == "opaque-multicast":
                self.crs.allocate_multicast(self.number)
                legs = []
            elif kind.endswith("proxy"):
                legs = [self.crs.allocate_proxies(self.number, [kind])[0].identifier]
            else:
                legs = [ticket.identifier for ticket in self.crs.allocate(self.number, [kind])[0]]
        except (RelayFull, RelayAway):
            assert self.crs.away
            return
        self.groups[self.number], self.legs[self.number] = kind, legs

    def release(self) -> None:
        if self.groups:
            group = self.dice.choice(list(self.groups))
            self.crs.release(group)
            del self.groups[group], self.legs[group]

    def extend(self) -> None:
        group = self.dice.choice(list(self.groups) or [0])
        kind = self.groups.get(group, "")
        if kind == "opaque-multicast":
            self.legs[group].append(self.crs.add_node(group).identifier)
        elif kind.endswith("proxy") and len(self.legs[group]) == 1:
            remote = RemoteEnd("127.0.0.1", 9, self.dice.getrandbits(32) or 1)
            self.crs.connect(group, self.legs[group][0], remote)
            self.legs[group].append(remote.identifier)

    def reduce(self) -> None:
        for group, legs in self.legs.items():
            if self.groups[group] == "opaque-multicast" and legs:
                self.crs.remove_node(group, legs.pop(self.dice.randrange(len(legs))))
                return

    def cut(self) -> None:
        if self.process.commander is not None:
            self.process.commander.abort()

    def restart_relay(self) -> None:
        self.world.stop(self.process)
        self.process = self.world.relay()

    def restart_crs(self) -> None:
        """Its calls are orphans from now on."""
        self.world.stop(self.crs)
        self.crs = self.world.crs()
        self.groups.clear()
        self.legs.clear()

    async def agree(self) -> None:
        """Wait until both are connected; then they must have the same."""
        while True:
            await until(lambda: not self.crs.away)
            with suppress(RelayAway):  # it was cut, and crs has not noticed yet
                await self.crs.statistics()
                break
        here, there = (
            Counter((each.kind, *sorted(leg.identifier for leg in each.legs)) for each in table)
            for table in (self.crs.table, self.process.relay.table)
        )
        assert here == there and self.crs.table.counts == self.process.relay.table.counts
        for group, legs in self.legs.items():
            [allocation] = self.crs.table.of_group(group)
            assert [leg.identifier for leg in allocation.legs] == legs


@pytest.mark.parametrize("seed", range(4))
def test_both_agree_whatever_happened(play: Callable[..., None], seed: int) -> None:
    async def story(world: World) -> None:
        chaos = Chaos(world, random.Random(seed))
        for _ in range(12):
            await chaos.agree()
            for _ in range(chaos.dice.randrange(1, 25)):
                chaos.act()
                if chaos.dice.random() < 0.2:
                    await turn(0.01 * chaos.dice.random())
        await chaos.agree()

    play(story)
