"""For tests: a client's UDP socket with the ticket of its leg, and one socket with many legs."""

from __future__ import annotations

import socket
import time
from contextlib import suppress
from threading import Event, Thread
from types import TracebackType

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


class Crowd:
    """Many legs on one socket. A thread sends a numbered RTP packet on each in turn, and watches the numbers
    of those that come.
    """

    TICK = 0.5
    """Seconds from one packet of a leg to its next."""

    def __init__(self, port: int) -> None:
        """`port` is the relay's, on 127.0.0.1."""
        self.received: dict[int, int] = {}
        """Packets received, by the identifier of their sender: of all legs, from the beginning."""
        self.lost = 0
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind(("127.0.0.1", 0))
        self._socket.connect(("127.0.0.1", port))
        self._over = Event()
        self._thread = Thread(target=self._run)

    def take(self, identifier: int, key: bytes, counter: int) -> None:
        """Move a leg here; before the thread runs. Raises TimeoutError if the relay does not confirm it."""
        self._socket.settimeout(5.0)
        self._socket.send(packet.build(packet.Type.bind, identifier, counter, key))
        acknowledgement = packet.build(packet.Type.bind_ack, identifier, counter, key)
        while self._socket.recv(2000) != acknowledgement:
            pass
        self.received[identifier] = 0

    def __enter__(self) -> Crowd:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: object, trace: TracebackType | None) -> None:
        self._over.set()
        self._thread.join()
        self._socket.close()

    def _run(self) -> None:
        # One after the other over the whole tick: a burst of them all would not fit into a socket's buffer.
        legs = list(self.received)
        number, begun = 0, time.monotonic()
        while not self._over.is_set():
            for place, identifier in enumerate(legs):
                self._receive(begun + (number + place / len(legs)) * self.TICK)
                self._socket.send(b"\x80\x00" + bytes(6) + identifier.to_bytes(4) + number.to_bytes(4))
            number += 1

    def _receive(self, until: float) -> None:
        with suppress(TimeoutError, BlockingIOError):
            while True:
                self._socket.settimeout(max(until - time.monotonic(), 0.0))
                self._arrived(self._socket.recv(2000))

    def _arrived(self, data: bytes) -> None:
        identifier, number = int.from_bytes(data[8:12]), int.from_bytes(data[12:16])
        self.lost += number - self.received[identifier]
        self.received[identifier] = number + 1
