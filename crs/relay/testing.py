"""For tests: a client's UDP socket with the ticket of its leg."""

from __future__ import annotations

import socket

from twisted.internet.task import deferLater

from crs.relay import packet
from crs.relay.interface import LegTicket
from rtlib.testing.loop import installed_reactor


async def turn(seconds: float = 0.0) -> None:
    """Let the reactor do something else."""
    await deferLater(installed_reactor(), seconds, lambda: None)


class Party:
    """Sends and receives on a leg, without any check of its own."""

    def __init__(self, port: int, ticket: LegTicket, host: str = "127.0.0.1") -> None:
        """`port` is the relay's."""
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self.socket = socket.socket(family, socket.SOCK_DGRAM)
        self.socket.bind((host, 0))
        self.socket.connect((host, port))
        self.socket.setblocking(False)
        self.ticket = ticket

    def close(self) -> None:
        """Close the socket."""
        self.socket.close()

    def bind(self, counter: int = 1) -> bytes:
        """Send a bind packet, and give it."""
        data = packet.build(packet.Type.bind, self.ticket.identifier, counter, self.ticket.key)
        self.socket.send(data)
        return data

    async def bound(self, counter: int = 1) -> None:
        """Bind the leg. Raises AssertionError if the relay does not confirm it."""
        self.bind(counter)
        ticket = self.ticket
        expected = packet.build(packet.Type.bind_ack, ticket.identifier, counter, ticket.key)
        received = await self.receive()
        assert received == expected, received

    def rtp(self, payload: bytes = b"") -> bytes:
        """Send an RTP packet, and give it."""
        return self.send(b"\x80\x00\x00\x01\x00\x00\x00\x00" + self.ticket.identifier.to_bytes(4) + payload)

    def rtcp(self, payload: bytes = b"") -> bytes:
        """Send an RTCP packet, and give it."""
        return self.send(b"\x80\xc8\x00\x01" + self.ticket.identifier.to_bytes(4) + payload)

    def opaque(self, payload: bytes = b"") -> bytes:
        """Send opaque data, and give the packet."""
        return self.send(packet.opaque(self.ticket.identifier, payload))

    def send(self, data: bytes) -> bytes:
        """Send any packet."""
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
