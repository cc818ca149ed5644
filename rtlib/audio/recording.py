"""What arrived on an audio stream, laid out by RTP timestamps: loss and reordering keep their place."""

from __future__ import annotations

from array import array

from rtlib.audio import mulaw
from rtlib.audio.rtp import Packet


class Recording:
    """Up to `seconds` of PCMU. What was lost stays silent."""

    def __init__(self, seconds: float = 60.0) -> None:
        self._limit = int(seconds * mulaw.SAMPLE_RATE)
        self._audio = bytearray()
        self._start: int | None = None
        self.outside = 0
        """Packets that lie before the first one or beyond the limit."""

    def add(self, packet: Packet) -> None:
        """Put the packet's audio in its place."""
        if self._start is None:
            self._start = packet.timestamp
        begin = packet.timestamp - self._start & 0xFFFFFFFF
        end = begin + len(packet.payload)
        if end > self._limit:
            self.outside += 1
            return
        if end > len(self._audio):
            self._audio.extend(bytes([mulaw.SILENCE]) * (end - len(self._audio)))
        self._audio[begin:end] = packet.payload

    @property
    def samples(self) -> array[int]:
        """The audio so far: signed samples of 16 bits, 8,000 per second."""
        return mulaw.decode(bytes(self._audio))
