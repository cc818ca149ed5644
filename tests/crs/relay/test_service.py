"""The relay on a real UDP port."""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Any

import pytest
from twisted.internet.task import deferLater

from crs.relay import packet
from crs.relay.allocation import IDLE, RelayFull
from crs.relay.packet import Type
from crs.relay.service import LegTicket, RelayService
from rtlib.listen import bind_datagram
from rtlib.media.reactor_forwarder import ReactorForwarder
from rtlib.offence import OffenceLog
from rtlib.testing.loop import installed_reactor, run


class Client:
    """A UDP socket with the ticket of its leg."""

    def __init__(self, relay: RelayService, ticket: LegTicket) -> None:
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind(("127.0.0.1", 0))
        self.socket.connect(("127.0.0.1", relay.port))
        self.socket.setblocking(False)
        self.ticket = ticket

    def bind(self, counter: int = 1) -> None:
        self.socket.send(packet.build(Type.bind, self.ticket.identifier, counter, self.ticket.key))

    def media(self, payload: bytes) -> bytes:
        data = bytes.fromhex("8000 0001 00000000") + self.ticket.identifier.to_bytes(4) + payload
        self.socket.send(data)
        return data

    async def receive(self) -> bytes | None:
        """The next packet, None when there is none for a while."""
        for _ in range(50):
            try:
                return self.socket.recv(2000)
            except BlockingIOError:
                await turn(0.002)
        return None


async def turn(seconds: float = 0.0) -> None:
    await deferLater(installed_reactor(), seconds, lambda: None)


def on_a_relay(story: Callable[[RelayService, OffenceLog, list[float]], Any]) -> None:
    """Run a story with a relay whose clock is a list of one number."""

    async def main() -> None:
        reactor, offences, clock = installed_reactor(), OffenceLog(), [0.0]
        forwarder = ReactorForwarder(reactor, lambda: clock[0])
        relay = RelayService(
            bind_datagram("127.0.0.1", 0),
            forwarder,
            reactor,
            limits={"rtp": None, "opaque": None, "opaque-multicast": 1},
            offences=offences,
            now=lambda: clock[0],
        )
        relay.startService()
        try:
            await story(relay, offences, clock)
        finally:
            relay.stopService()

    run(main)


def test_a_stream_from_bind_to_release() -> None:
    async def story(relay: RelayService, offences: OffenceLog, clock: list[float]) -> None:
        [(one, two)] = relay.allocate(1, ["rtp"])
        caller, callee = Client(relay, one), Client(relay, two)
        caller.media(b"too early")
        caller.bind()
        assert await caller.receive() == packet.build(Type.bind_ack, one.identifier, 1, one.key)
        caller.media(b"nobody there yet")
        callee.bind()
        assert await callee.receive() == packet.build(Type.bind_ack, two.identifier, 1, two.key)
        assert await callee.receive() is None
        sent = caller.media(b"hello")
        assert await callee.receive() == sent
        sent = callee.media(b"hello yourself")
        assert await caller.receive() == sent
        assert offences.totals == {"relay: media without a bound leg": 1}
        assert relay.counters()["rtp"].tx == 2
        relay.release(1)
        caller.media(b"too late")
        assert await callee.receive() is None
        assert relay.counters()["rtp"].tx == 2
        caller.socket.close()
        callee.socket.close()

    on_a_relay(story)


def test_a_leg_moves_and_cannot_be_hijacked() -> None:
    async def story(relay: RelayService, offences: OffenceLog, clock: list[float]) -> None:
        [(one, two)] = relay.allocate(1, ["rtp"])
        caller, callee, moved, thief = (Client(relay, ticket) for ticket in (one, two, one, one))
        for client in (caller, callee):
            client.bind()
            assert await client.receive() is not None
        moved.bind(2)
        assert await moved.receive() is not None
        thief.bind(2)
        assert await thief.receive() is None
        sent = callee.media(b"where are you")
        assert await moved.receive() == sent
        thief.media(b"injected")
        caller.media(b"from the old address")
        assert await callee.receive() is None
        assert offences.totals["relay: refused bind"] == 1
        for client in (caller, callee, moved, thief):
            client.socket.close()

    on_a_relay(story)


def test_multicast_from_one_to_all_others() -> None:
    async def story(relay: RelayService, offences: OffenceLog, clock: list[float]) -> None:
        relay.allocate_multicast(1)
        with pytest.raises(RelayFull):
            relay.allocate_multicast(2)
        nodes = [Client(relay, relay.add_node(1)) for _ in range(4)]
        identifiers = [node.ticket.identifier for node in nodes]
        assert len(set(identifiers)) == 4 and {node.ticket.peer for node in nodes} == {0}
        for node in nodes[:3]:
            node.bind()
            assert await node.receive() is not None
        for speaker in nodes[:3]:
            data = packet.opaque(speaker.ticket.identifier, b"hello")
            speaker.socket.send(data)
            for listener in nodes[:3]:
                assert await listener.receive() == (None if listener is speaker else data)
        moved = Client(relay, nodes[2].ticket)
        moved.bind(2)
        assert await moved.receive() is not None
        relay.remove_node(1, identifiers[1])
        relay.remove_node(1, 12345)
        nodes[1].socket.send(packet.opaque(identifiers[1], b"after leaving"))
        data = packet.opaque(identifiers[0], b"who is still there")
        nodes[0].socket.send(data)
        assert await moved.receive() == data
        for silent in nodes:
            assert await silent.receive() is None
        counters = relay.counters()["opaque-multicast"]
        assert (counters.rx, counters.tx) == (4, 3 * 2 + 1)
        [allocation] = relay.table
        assert allocation.bound == 2
        relay.release(1)
        assert relay.counters()["opaque-multicast"] == counters
        with pytest.raises(KeyError):
            relay.add_node(1)
        for client in (*nodes, moved):
            client.socket.close()

    on_a_relay(story)


def test_garbage_is_counted_and_harms_nobody() -> None:
    async def story(relay: RelayService, offences: OffenceLog, clock: list[float]) -> None:
        [(one, two)] = relay.allocate(1, ["rtp"])
        stranger = Client(relay, one)
        for data in (b"", b"\x01", b"\x01" * 31, b"\x01" * 32, b"\xff" * 100, b"\x80" * 12, b"x" * 1600):
            stranger.socket.send(data)
        assert await stranger.receive() is None
        caller, callee = Client(relay, one), Client(relay, two)
        for client in (caller, callee):
            client.bind()
            assert await client.receive() is not None
        sent = caller.media(b"hello")
        assert await callee.receive() == sent
        assert offences.totals["relay: garbage"] >= 2
        assert relay.port_counters().too_short >= 1
        assert relay.port_counters().too_long == 1
        for client in (stranger, caller, callee):
            client.socket.close()

    on_a_relay(story)


def test_idle_groups_are_reported() -> None:
    async def story(relay: RelayService, offences: OffenceLog, clock: list[float]) -> None:
        idle: list[int] = []
        relay.on_idle = idle.append
        relay.allocate(1, ["rtp"])
        [(one, _)] = relay.allocate(2, ["rtp"])
        clock[0] = IDLE - 1
        client = Client(relay, one)
        client.bind()
        assert await client.receive() is not None
        clock[0] = IDLE
        relay.sweep()
        assert idle == [1]
        client.socket.close()

    on_a_relay(story)


def test_opaque_data_goes_through_as_well() -> None:
    async def story(relay: RelayService, offences: OffenceLog, clock: list[float]) -> None:
        [(one, two)] = relay.allocate(1, ["opaque"])
        caller, callee = Client(relay, one), Client(relay, two)
        for client in (caller, callee):
            client.bind()
            assert await client.receive() is not None
        data = packet.opaque(one.identifier, b"anything")
        caller.socket.send(data)
        assert await callee.receive() == data
        caller.socket.close()
        callee.socket.close()

    on_a_relay(story)


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


def test_no_relays_while_the_server_is_drained() -> None:
    async def story(relay: RelayService, _offences: OffenceLog, _clock: list[float]) -> None:
        relay.refusal = "no new calls"
        with pytest.raises(RelayFull, match="no new calls"):
            relay.allocate(1, ["rtp"])
        assert len(list(relay.table)) == 0
        relay.refusal = ""
        assert len(relay.allocate(1, ["rtp"])) == 1

    on_a_relay(story)
