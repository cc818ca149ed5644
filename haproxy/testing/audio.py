"""One party's audio of one call: sends a tone over UDP and listens (RTP of PCMU, RFC 3551)."""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.interfaces import IReactorFDSet, IReactorTime
from twisted.internet.task import LoopingCall

from rtlib.address import Address, unpack
from rtlib.audio import rtp, tone
from rtlib.audio.mulaw import SAMPLE_RATE
from rtlib.audio.playback import frames
from rtlib.audio.recording import Recording
from rtlib.datagram import DatagramEndpoint
from rtlib.listen import bind_datagram

MAX_SOURCES = 16
"""Different senders that are remembered."""


class Audio:
    """A bound RTP socket: `start` sends to the far end, `stop` ends both directions."""

    def __init__(
        self,
        reactor: IReactorFDSet,
        clock: IReactorTime,
        host: str,
        frequency: int,
        entropy: Callable[[int], bytes],
    ) -> None:
        """Bind a port of `host` and listen. `frequency` is the tone to send, in hertz."""
        random = entropy(10)
        self.ssrc = int.from_bytes(random[:4], "big")
        self.sent = 0
        self.reception = rtp.Reception()
        self.recording = Recording()
        self.malformed = 0
        """Datagrams that are not RTP of PCMU."""
        self.sources: set[Address] = set()
        """Where packets came from."""
        self.heard_ssrcs: set[int] = set()
        self._packetizer = rtp.Packetizer(
            self.ssrc, int.from_bytes(random[4:6], "big"), int.from_bytes(random[6:], "big")
        )
        self._frames = frames(tone.sine(frequency))
        self._target: Address | None = None
        self._endpoint = DatagramEndpoint(
            bind_datagram(host, 0), self._receive, reactor, batch=8, max_size=2048
        )
        self._endpoint.start()
        self._sending = LoopingCall.withCount(self._send)
        self._sending.clock = clock

    @property
    def address(self) -> tuple[str, int]:
        """The host and port to put into SDP."""
        return self._endpoint.address

    def start(self, target: Address) -> None:
        """Send the tone to `target` from now on; again with another one to change it."""
        self._target = target
        if not self._sending.running:
            self._sending.start(rtp.FRAME_SECONDS)

    def mute(self) -> None:
        """Stop sending; go on listening."""
        if self._sending.running:
            self._sending.stop()

    def stop(self) -> None:
        """Stop sending and close the socket. Harmless when repeated."""
        self.mute()
        self._endpoint.stop()

    def share(self, frequency: float) -> float:
        """How much of the latest second heard is a tone of `frequency` hertz, 0 to 1."""
        return tone.share(self.recording.samples[-SAMPLE_RATE:], frequency)

    def seconds(self) -> float:
        """How much was heard."""
        return self.reception.received * rtp.FRAME_SECONDS

    def came_from(self) -> set[tuple[str, int]]:
        """Hosts and ports that sent to us."""
        return {unpack(source) for source in self.sources}

    def _send(self, due: int) -> None:
        if self._target is None:
            return
        # After a pause of the process the packets that were due go out together, as from a sound card.
        batch = [(self._packetizer.packet(next(self._frames)), self._target) for _ in range(min(due, 10))]
        self.sent += len(batch)
        self._endpoint.send(batch)

    def _receive(self, batch: list[tuple[bytes, Address]]) -> None:
        for data, source in batch:
            self._take(data)
            if len(self.sources) < MAX_SOURCES:
                self.sources.add(source)

    def _take(self, data: bytes) -> None:
        try:
            packet = rtp.parse(data)
        except rtp.RtpError:
            self.malformed += 1
            return
        if packet.payload_type != rtp.PCMU:
            self.malformed += 1
            return
        self.reception.count(packet.sequence)
        self.recording.add(packet)
        if len(self.heard_ssrcs) < MAX_SOURCES:
            self.heard_ssrcs.add(packet.ssrc)
