"""What every relay must do for signaling and operators, over real sockets, wherever it runs."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from crs.relay import packet
from crs.relay.allocation import IDLE, KINDS, NODES, RelayFull
from crs.relay.interface import KindCounters, LegTicket, Relay, RemoteEnd, Statistics
from crs.relay.remote import RemoteRelay
from crs.relay.server import RelayControl
from crs.relay.service import RelayService
from crs.relay.testing import Party, turn
from rtlib.listen import StreamPort, bind_datagram, bind_unix
from rtlib.media.native_forwarder import NativeForwarder, available
from rtlib.media.reactor_forwarder import ReactorForwarder
from rtlib.offence import OffenceLog
from rtlib.testing.loop import installed_reactor, run


@dataclass
class Rig:
    """A relay, and the service that moves its packets, which may be somewhere else."""

    relay: Relay
    service: RelayService
    offences: OffenceLog
    clock: list[float]
    used: ExitStack = field(default_factory=ExitStack)

    def party(self, ticket: LegTicket, host: str = "127.0.0.1") -> Party:
        party = Party(self.relay.port, ticket, host)
        self.used.callback(party.close)
        return party

    async def settle(self) -> Statistics:
        """Wait until the service knows what the relay was told."""
        return await self.relay.statistics()

    async def pair(self, group: int, kind: str = "rtp", host: str = "127.0.0.1") -> tuple[Party, Party]:
        """The bound parties of a new stream."""
        [(one, two)] = self.relay.allocate(group, [kind])
        await self.settle()
        parties = self.party(one, host), self.party(two, host)
        for party in parties:
            await party.bound()
        return parties


Options = dict[str, Any]


@contextmanager
def local(host: str, options: Options, tmp_path: Path, *, start: bool = True) -> Iterator[Rig]:
    """The relay inside the process."""
    reactor, offences, clock = installed_reactor(), OffenceLog(), [0.0]
    service = RelayService(
        bind_datagram(host, 0, dual=True),
        ReactorForwarder(reactor, lambda: clock[0]),
        reactor,
        offences=offences,
        now=lambda: clock[0],
        **{"limits": dict.fromkeys(KINDS), **options},
    )
    if start:
        service.startService()
    try:
        yield Rig(service, service, offences, clock)
    finally:
        if start:
            service.stopService()


@contextmanager
def remote(host: str, options: Options, tmp_path: Path) -> Iterator[Rig]:
    """The relay behind a control socket."""
    reactor = installed_reactor()
    translate = options.pop("translate", str)
    with local(host, options, tmp_path, start=False) as rig:
        path = tmp_path / "relay.sock"
        control = RelayControl(rig.service, partial(StreamPort, bind_unix(path), reactor=reactor), reactor)
        relay = RemoteRelay(path, reactor, now=lambda: rig.clock[0], translate=translate)
        relay.startService()
        control.startService()
        try:
            yield Rig(relay, rig.service, rig.offences, rig.clock)
        finally:
            relay.stopService()
            control.stopService()


IMPLEMENTATIONS = (local, remote)
Story = Callable[[Rig], Any]
OnRelay = Callable[..., None]


@pytest.fixture(params=IMPLEMENTATIONS)
def on_relay(request: pytest.FixtureRequest, tmp_path: Path) -> OnRelay:
    """Runs a story with a relay: on_relay(story, host, **options of RelayService)."""

    def play(story: Story, host: str = "127.0.0.1", **options: Any) -> None:
        async def main() -> None:
            with request.param(host, options, tmp_path) as rig:
                await connected(rig.relay)
                with rig.used:
                    await story(rig)
            await turn()

        run(main)

    return play


async def connected(relay: Relay) -> None:
    """Wait until the relay takes calls."""
    for _ in range(500):
        if not relay.away:
            return
        await turn(0.002)
    raise AssertionError(relay.away)


def test_a_stream_from_bind_to_release(on_relay: OnRelay) -> None:
    async def story(rig: Rig) -> None:
        [(one, two)] = rig.relay.allocate(1, ["rtp"])
        assert (one.peer, two.peer) == (two.identifier, one.identifier)
        await rig.settle()
        caller, callee = rig.party(one), rig.party(two)
        caller.rtp(b"too early")
        await caller.bound()
        caller.rtp(b"nobody there yet")
        await callee.bound()
        assert await callee.receive() is None
        sent = caller.rtp(b"hello")
        assert await callee.receive() == sent
        sent = callee.rtp(b"hello yourself")
        assert await caller.receive() == sent
        assert rig.offences.totals == {"relay: media of an unbound leg": 1}
        assert (await rig.relay.statistics()).kinds["rtp"].tx == 2
        rig.relay.release(1)
        rig.relay.release(1)
        await rig.settle()
        caller.rtp(b"too late")
        assert await callee.receive() is None
        assert (await rig.relay.statistics()).kinds["rtp"].tx == 2
        assert rig.offences.totals["relay: unknown identifier"] == 1

    on_relay(story)


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_opaque_data_and_rtcp_on_both_families(on_relay: OnRelay, host: str) -> None:
    async def story(rig: Rig) -> None:
        caller, callee = await rig.pair(1, "opaque", host)
        sent = caller.opaque(b"anything")
        assert await callee.receive() == sent
        caller, callee = await rig.pair(2, "rtp", host)
        sent = callee.rtcp(b"report")
        assert await caller.receive() == sent

    on_relay(story, host)


def test_a_leg_moves_and_cannot_be_hijacked(on_relay: OnRelay) -> None:
    async def story(rig: Rig) -> None:
        caller, callee = await rig.pair(1)
        moved, thief = rig.party(caller.ticket), rig.party(caller.ticket)
        await moved.bound(2)
        thief.bind(2)
        forged = LegTicket(caller.ticket.identifier, 0, bytes(32))
        rig.party(forged).bind(9)
        thief.ticket = LegTicket(0x7FFFFFFF, 0, bytes(32))
        thief.bind(1)
        assert await thief.receive() is None
        sent = callee.rtp(b"where are you")
        assert await moved.receive() == sent
        thief.ticket = caller.ticket
        thief.rtp(b"injected")
        caller.rtp(b"from the old address")
        assert await callee.receive() is None
        assert rig.offences.totals == {
            "relay: replayed bind": 1,
            "relay: forged bind": 1,
            "relay: unknown bind": 1,
            "relay: media from a wrong address": 2,
        }
        binds = (await rig.relay.statistics()).binds
        assert binds == {"bound": 2, "moved": 1, "replayed": 1, "forged": 1, "unknown": 1}

    on_relay(story)


def test_multicast_from_one_to_all_others(on_relay: OnRelay) -> None:
    async def story(rig: Rig) -> None:
        relay = rig.relay
        relay.allocate_multicast(1)
        with pytest.raises(RelayFull):
            relay.allocate_multicast(2)
        nodes = [rig.party(relay.add_node(1)) for _ in range(4)]
        identifiers = [node.ticket.identifier for node in nodes]
        assert len(set(identifiers)) == 4 and {node.ticket.peer for node in nodes} == {0}
        await rig.settle()
        for node in nodes[:3]:
            await node.bound()
        for speaker in nodes[:3]:
            sent = speaker.opaque(b"hello")
            for listener in nodes[:3]:
                assert await listener.receive() == (None if listener is speaker else sent)
        moved = rig.party(nodes[2].ticket)
        await moved.bound(2)
        relay.remove_node(1, identifiers[1])
        relay.remove_node(1, 12345)
        await rig.settle()
        nodes[1].opaque(b"after leaving")
        sent = nodes[0].opaque(b"who is still there")
        assert await moved.receive() == sent
        for silent in nodes:
            assert await silent.receive() is None
        counters = (await relay.statistics()).kinds["opaque-multicast"]
        assert (counters.rx, counters.tx) == (4, 3 * 2 + 1)
        [resource] = await relay.resources()
        assert (resource.kind, resource.nodes) == ("opaque-multicast", 2)
        assert set(resource.identifiers) == set(identifiers) - {identifiers[1]}
        relay.release(1)
        assert (await relay.statistics()).kinds["opaque-multicast"] == counters
        with pytest.raises(KeyError):
            relay.add_node(1)

    on_relay(story, limits={"opaque-multicast": 1})


def test_as_many_nodes_as_there_may_be(on_relay: OnRelay) -> None:
    async def story(rig: Rig) -> None:
        rig.relay.allocate_multicast(1)
        for _ in range(NODES):
            rig.relay.add_node(1)
        with pytest.raises(RelayFull, match=str(NODES)):
            rig.relay.add_node(1)
        [resource] = await rig.relay.resources()
        assert len(resource.identifiers) == NODES

    on_relay(story)


@pytest.mark.parametrize("kind", ["rtp-proxy", "opaque-proxy"])
def test_a_stream_through_the_relays_of_two_servers(on_relay: OnRelay, kind: str) -> None:
    """The other server is known by a public address that nobody here could send to."""
    public = "203.0.113.101"
    reactor = installed_reactor()

    async def story(rig: Rig) -> None:
        other = RelayService(
            bind_datagram("127.0.0.1", 0),
            NativeForwarder(reactor) if available() else ReactorForwarder(reactor),
            reactor,
            limits=dict.fromkeys(KINDS),
            offences=OffenceLog(),
        )
        other.startService()
        rig.used.callback(other.stopService)
        [here], [there] = rig.relay.allocate_proxies(1, [kind]), other.allocate_proxies(7, [kind])
        assert here.peer == 0
        caller, callee = rig.party(here), Party(other.port, there)
        rig.used.callback(callee.close)
        await rig.settle()
        await caller.bound()
        await callee.bound()
        callee.rtp(b"before the servers agreed")
        assert await caller.receive() is None
        remote = RemoteEnd(public, other.port, there.identifier)
        ticket = rig.relay.connect(1, here.identifier, remote)
        assert ticket == here._replace(peer=there.identifier)
        other.connect(7, there.identifier, RemoteEnd("127.0.0.1", rig.relay.port, here.identifier))
        await rig.settle()
        for number in range(10):
            sent = caller.rtp(bytes([number]))
            assert await callee.receive() == sent
            sent = callee.opaque(bytes([number]))
            assert await caller.receive() == sent
        thief = rig.party(LegTicket(there.identifier, 0, b""))
        thief.rtp(b"I am the other server")
        thief.bind(99)
        assert await caller.receive() is None and await thief.receive() is None
        assert rig.offences.totals == {
            "relay: media from a wrong address": 1,
            "relay: forged bind": 1,
        }
        counters = (await rig.relay.statistics()).kinds[kind]
        assert (counters.rx, counters.tx) == (20, 20)
        [resource] = await rig.relay.resources()
        assert (resource.kind, resource.nodes) == (kind, 2)
        assert resource.identifiers == (here.identifier, there.identifier)
        with pytest.raises(RelayFull):
            rig.relay.connect(1, here.identifier, remote._replace(identifier=5))
        with pytest.raises(KeyError):
            rig.relay.connect(2, here.identifier, remote)

    on_relay(story, translate={public: "127.0.0.1"}.__getitem__)


def test_other_ends_that_cannot_be(on_relay: OnRelay) -> None:
    async def story(rig: Rig) -> None:
        [here] = rig.relay.allocate_proxies(1, ["rtp-proxy"])
        [(one, _)] = rig.relay.allocate(2, ["rtp"])
        for remote in (
            RemoteEnd("no address", 1, 5),
            RemoteEnd("127.0.0.1", 70000, 5),
            RemoteEnd("::1", 1, 5),
            RemoteEnd("127.0.0.1", 1, one.identifier),
            RemoteEnd("127.0.0.1", 1, 0),
            RemoteEnd("127.0.0.1", 1, 1 << 32),
        ):
            with pytest.raises(ValueError):
                rig.relay.connect(1, here.identifier, remote)
        with pytest.raises(KeyError):
            rig.relay.connect(2, one.identifier, RemoteEnd("127.0.0.1", 1, 5))
        assert (await rig.relay.resources())[0].identifiers == (here.identifier,)

    on_relay(story)


def test_limits_of_every_kind(on_relay: OnRelay) -> None:
    async def story(rig: Rig) -> None:
        relay = rig.relay
        makers: dict[str, Callable[[int, str], object]] = {
            "rtp": lambda group, kind: relay.allocate(group, [kind]),
            "opaque": lambda group, kind: relay.allocate(group, [kind]),
            "rtp-proxy": lambda group, kind: relay.allocate_proxies(group, [kind]),
            "opaque-proxy": lambda group, kind: relay.allocate_proxies(group, [kind]),
            "opaque-multicast": relay.allocate_multicast,
        }
        assert makers.keys() == KINDS.keys()
        for number, (kind, make) in enumerate(makers.items(), 1):
            make(10 * number, kind)
            make(10 * number + 1, kind)
            with pytest.raises(RelayFull, match=f"all 2 relays of type {kind} are in use"):
                make(10 * number + 2, kind)
            relay.release(10 * number)
            make(10 * number + 2, kind)
        assert (await rig.settle()).in_use == dict.fromkeys(KINDS, 2)

    on_relay(story, limits=dict.fromkeys(KINDS, 2))


def test_every_packet_is_in_its_counter(on_relay: OnRelay) -> None:
    """`show relay`: errorTooShort, errorTooLong, errorNoDest, error, and the sums."""

    async def story(rig: Rig) -> None:
        [(one, two)] = rig.relay.allocate(1, ["rtp"])
        [proxy] = rig.relay.allocate_proxies(2, ["opaque-proxy"])
        # Nobody may send to the broadcast address without asking for that first.
        rig.relay.connect(2, proxy.identifier, RemoteEnd("255.255.255.255", 9, 77))
        await rig.settle()
        caller, callee, proxied = rig.party(one), rig.party(two), rig.party(proxy)
        await caller.bound()
        await proxied.bound()
        nobody = caller.rtp(b"nobody there")
        await callee.bound()
        binds = 3 * packet.SIZE
        media = [caller.rtp(b"123"), caller.rtcp(b"1234"), caller.rtp(bytes(1488))]
        refused = proxied.opaque(b"to nowhere")
        short = [b"", b"\x80", b"\x80" + bytes(10), b"\x80\xc8" + bytes(5), b"\x10" + bytes(6), b"\x01"]
        long = [b"\x80" + bytes(1500), b"\x10" + bytes(5000)]
        for data in (*short, *long):
            caller.send(data)
        for data in media:
            assert await callee.receive() == data
        assert await callee.receive() is None
        statistics = await rig.relay.statistics()
        port, rtp = statistics.port, statistics.kinds["rtp"]
        total = [nobody, *media, refused, *short]
        assert port.too_short == len(short)
        assert port.too_long == len(long)
        assert port.no_destination == 1
        assert port.send_errors == 1
        assert port.received == 3 + len(total) + len(long)
        # What is too long is read no further than one byte beyond the bound.
        assert port.received_bytes == binds + size(total) + len(long) * 1501
        assert (port.sent, port.sent_bytes) == (3 + len(media), binds + size(media))
        assert rtp == KindCounters(4, size([nobody, *media]), 3, size(media))
        assert statistics.kinds["opaque-proxy"] == KindCounters(1, len(refused), 1, len(refused))
        assert rig.offences.totals == {}

    on_relay(story)


def size(packets: list[bytes]) -> int:
    return sum(map(len, packets))


def test_bad_packets_are_counted_by_name_and_harm_nobody(on_relay: OnRelay) -> None:
    async def story(rig: Rig) -> None:
        caller, callee = await rig.pair(1)
        [(unbound, _)] = rig.relay.allocate(2, ["rtp"])
        await rig.settle()
        stranger = rig.party(unbound)
        stranger.rtp(b"before the bind")
        recorded = callee.bind(2)
        assert await callee.receive() is not None
        callee.bind(3)
        assert await callee.receive() is not None
        stranger.send(recorded)
        for data in (
            b"\x40" + bytes(20),
            b"\xc0" + bytes(20),
            b"\xff" * 100,
            b"\x01" * 31,
            b"\x01" * 32,
            bytes(50),
            b"\x01" + bytes(31),
            b"\x80" + bytes(7) + b"\xfe\xdc\xba\x98" + bytes(20),
        ):
            stranger.send(data)
        assert await stranger.receive() is None
        assert rig.offences.totals == {
            "relay: media of an unbound leg": 1,
            "relay: replayed bind": 1,
            "relay: unknown version": 3,
            "relay: garbage": 3,
            "relay: unknown bind": 1,
            "relay: unknown identifier": 1,
        }
        sent = caller.rtp(b"undisturbed")
        assert await callee.receive() == sent
        assert stranger.ticket.identifier not in (callee.ticket.identifier, caller.ticket.identifier)

    on_relay(story)


def test_a_flood_from_one_source_takes_nothing_from_the_others(on_relay: OnRelay) -> None:
    async def story(rig: Rig) -> None:
        caller, callee = await rig.pair(1)
        stranger = rig.party(LegTicket(5, 0, bytes(32)))
        flood, sent = 0, 0
        for number in range(100):
            for _ in range(100):
                stranger.rtp(b"let me in")
                flood += 1
            expected = caller.rtp(bytes([number]))
            assert await callee.receive() == expected
            sent += 1
        statistics = await rig.relay.statistics()
        port = statistics.port
        assert statistics.kinds["rtp"].rx == statistics.kinds["rtp"].tx == sent
        counted = rig.offences.totals["relay: unknown identifier"]
        assert port.unmatched == flood + 2 and counted + port.unmatched_dropped == flood

    on_relay(story)


def test_idle_groups_are_reported(on_relay: OnRelay) -> None:
    async def story(rig: Rig) -> None:
        idle: list[int] = []
        rig.relay.on_idle = idle.append
        rig.relay.allocate(1, ["rtp"])
        rig.relay.allocate_multicast(3)
        [(one, _)] = rig.relay.allocate(2, ["rtp"])
        await rig.settle()
        rig.clock[0] = IDLE - 1
        await rig.party(one).bound()
        rig.clock[0] = IDLE
        await rig.service.sweep()
        await rig.settle()
        assert idle == [1, 3]
        assert sorted(resource.active for resource in await rig.relay.resources()) == [1.0, IDLE, IDLE]

    on_relay(story)


def test_an_idle_group_that_nobody_claims_is_released(on_relay: OnRelay) -> None:
    async def story(rig: Rig) -> None:
        rig.relay.allocate(1, ["rtp", "opaque"])
        await rig.settle()
        rig.clock[0] = IDLE
        await rig.service.sweep()
        await rig.settle()
        assert await rig.relay.resources() == []
        assert len(rig.relay.table) == len(rig.service.table) == 0

    on_relay(story)


def test_stopping_before_the_start_harms_nothing() -> None:
    sock = bind_datagram("127.0.0.1", 0)
    relay = RelayService(
        sock,
        ReactorForwarder(installed_reactor()),
        installed_reactor(),
        limits={"rtp": None},
        offences=OffenceLog(),
    )
    relay.stopService()
    assert sock.fileno() == -1


def test_both_families_on_one_port(on_relay: OnRelay) -> None:
    """A host that listens on :: serves clients of IPv4 as well, also in one call with those of IPv6."""

    async def story(rig: Rig) -> None:
        [(one, two)] = rig.relay.allocate(1, ["rtp"])
        await rig.settle()
        old, new = rig.party(one, "127.0.0.1"), rig.party(two, "::1")
        await old.bound()
        await new.bound()
        sent = old.rtp(b"from IPv4")
        assert await new.receive() == sent
        sent = new.rtp(b"from IPv6")
        assert await old.receive() == sent

    on_relay(story, "::")
    assert socket.has_dualstack_ipv6()
