"""One leg of a relay as its owner uses it: a UDP socket, kept bound, over which audio is played."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final

from twisted.internet.defer import Deferred, TimeoutError, maybeDeferred
from twisted.internet.interfaces import IDelayedCall, IListeningPort, IUDPTransport
from twisted.internet.protocol import DatagramProtocol
from twisted.internet.task import LoopingCall

from crs.client.binding import Binding
from crs.client.error import Closed, NoAnswer
from crs.signaling.message import Relay
from rtlib.audio.rtp import FRAME_SECONDS, Packetizer
from rtlib.outcome import Outcome

BIND_TIMEOUT: Final = 5.0
"""Seconds that the relay may take to confirm the first bind."""

MAX_BURST: Final = 5
"""Frames that are sent at once, at most, to catch up after a delay."""


@dataclass(slots=True)
class Counters:
    """Packets of one stream."""

    sent: int = 0
    refused: int = 0
    """Packets that arrived and were not authentic, replayed, or no RTP."""
    early: int = 0
    """Packets that arrived before the keys were agreed."""


class Leg(DatagramProtocol):
    """Sends and receives through the relay, from `open` to `close`; a subclass protects the packets."""

    noisy = False
    transport: IUDPTransport

    def __init__(self, reactor: Any, relay: Relay, host: str, wall: Callable[[], float] = time.time) -> None:
        """`host` is the numeric address of the relay, where the leg itself names none; `wall` gives UTC."""
        self._reactor = reactor
        self.relay = relay
        self._address = (relay.host or host, relay.port)
        self._binding = Binding(relay.identifier, relay.key, int(wall() * 1000), reactor.seconds())
        self._bound: Outcome[None] = Outcome()
        self._port: IListeningPort | None = None
        self._timer: IDelayedCall | None = None
        self._sender: LoopingCall | None = None
        self._packetizer = Packetizer(relay.identifier, secrets.randbits(16), secrets.randbits(32))
        self._stopped: float | None = None
        """When playing was last stopped."""
        self.counters = Counters()

    async def open(self) -> None:
        """Bind the leg. Raises NoAnswer when the relay does not confirm."""
        self._port = self._reactor.listenUDP(0, self, interface="::" if ":" in self._address[0] else "")
        self._bind()
        try:
            await self._bound.wait().addTimeout(BIND_TIMEOUT, self._reactor)
        except TimeoutError:
            where = f"{self._address[0]}:{self._address[1]}/udp"
            raise NoAnswer(f"the relay at {where} has not answered within {BIND_TIMEOUT:.0f} s") from None

    def play(self, frames: Iterator[bytes]) -> Deferred[LoopingCall]:
        """Send a frame every 20 ms; fires when they have ended, or when playing is stopped.

        Raises Closed if the stream is closed, as it is when the call has ended meanwhile.
        """
        if self._port is None:
            raise Closed("the stream is closed")
        self.stop_playing()
        if self._stopped is not None:
            self._packetizer.pause(self._reactor.seconds() - self._stopped)
        sender = self._sender = LoopingCall.withCount(lambda due: self._send_frames(due, frames))
        sender.clock = self._reactor
        return sender.start(FRAME_SECONDS)

    def stop_playing(self) -> None:
        """Send no more frames."""
        if self._sender is not None and self._sender.running:
            self._sender.stop()
            self._stopped = self._reactor.seconds()

    async def close(self) -> None:
        """Stop everything and close the socket."""
        self.stop_playing()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._bound.fail(Closed("the stream is closed"))
        if self._port is not None:
            port, self._port = self._port, None
            await maybeDeferred(port.stopListening)

    def datagramReceived(self, datagram: bytes, addr: Any) -> None:
        """A bind confirmation, or media."""
        if addr[:2] != self._address:
            self.counters.refused += 1
        elif self._is_control(datagram):
            self._confirm(datagram)
        else:
            self._receive(datagram)

    def connectionRefused(self) -> None:
        """The relay is away for the moment; the next bind tells more."""

    def _is_control(self, datagram: bytes) -> bool:
        """Whether this is a packet of the relay itself."""
        raise NotImplementedError

    def _receive(self, datagram: bytes) -> None:
        """Take a packet of another party."""
        raise NotImplementedError

    def _protect(self, packet: bytes) -> bytes:
        """RTP to what is sent."""
        raise NotImplementedError

    def _bind(self) -> None:
        """Send the bind that is due and wait for the next one."""
        self._timer = None
        now = self._reactor.seconds()
        for data in self._binding.to_send(now):
            self._write(data)
        pause = max(0.0, self._binding.get_timer() - now)
        self._timer = self._reactor.callLater(pause, self._bind)

    def _confirm(self, datagram: bytes) -> None:
        if self._binding.receive(datagram, self._reactor.seconds()):
            self._bound.set(None)

    def _send_frames(self, due: int, frames: Iterator[bytes]) -> None:
        """Send the frame of this moment, and those whose moment was missed."""
        for _ in range(min(due, MAX_BURST)):
            frame = next(frames, None)
            if frame is None:
                self.stop_playing()
                return
            self._write(self._protect(self._packetizer.packet(frame)))
            self.counters.sent += 1

    def _write(self, data: bytes) -> None:
        """Send one packet; where the network says no, the packet is lost like any other."""
        with suppress(OSError):
            self.transport.write(data, self._address)
