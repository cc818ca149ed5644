"""RTP packets of one audio stream (RFC 3550): made from frames, taken apart, and counted. Sans-IO."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Final, NamedTuple

from rtlib.audio.mulaw import SAMPLE_RATE

PCMU: Final = 0
"""The static payload type of G.711 µ-law (RFC 3551 table 4)."""

FRAME_SECONDS: Final = 0.02
"""Duration of one packet's audio."""

FRAME_SAMPLES: Final = 160
"""The same in samples of PCMU."""

_HEADER: Final = struct.Struct("!BBHII")
_VERSION: Final = 0x80
_MARKER: Final = 0x80


class RtpError(ValueError):
    """These bytes are not an RTP packet."""


class Packet(NamedTuple):
    """What a receiver needs of one packet."""

    payload_type: int
    marker: bool
    sequence: int
    timestamp: int
    ssrc: int
    payload: bytes


def parse(data: bytes) -> Packet:
    """Take a packet apart (section 5.1). Raises RtpError."""
    if len(data) < _HEADER.size or data[0] >> 6 != 2:
        raise RtpError("not RTP version 2")
    first, second, sequence, timestamp, ssrc = _HEADER.unpack_from(data)
    start = _payload_start(data, first)
    end = len(data) - (data[-1] if first & 0x20 else 0)
    if start > end:
        raise RtpError("the header is longer than the packet")
    return Packet(second & 0x7F, bool(second & _MARKER), sequence, timestamp, ssrc, data[start:end])


def _payload_start(data: bytes, first: int) -> int:
    """Where the payload begins, behind contributing sources and a header extension."""
    start = _HEADER.size + 4 * (first & 0x0F)
    if not first & 0x10:
        return start
    if len(data) < start + 4:
        raise RtpError("the header extension is cut off")
    return start + 4 + 4 * int.from_bytes(data[start + 2 : start + 4], "big")


class Packetizer:
    """Puts the header before each frame of an outgoing stream."""

    def __init__(self, ssrc: int, sequence: int, timestamp: int, payload_type: int = PCMU) -> None:
        """Begin at `sequence` and `timestamp`, which should be random (section 5.1)."""
        self._ssrc = ssrc
        self._sequence = sequence & 0x7FFF  # RFC 3711 3.3.1: start low, so the first loss meets no rollover
        self._timestamp = timestamp & 0xFFFFFFFF
        self._payload_type = payload_type
        self._marker = _MARKER

    def pause(self, seconds: float) -> None:
        """Nothing was sent for this long: the next packet's timestamp says so, and its marker."""
        self._timestamp = self._timestamp + round(seconds * SAMPLE_RATE) & 0xFFFFFFFF
        self._marker = _MARKER

    def packet(self, frame: bytes) -> bytes:
        """The packet of the next frame of PCMU: one byte per sample."""
        second = self._marker | self._payload_type
        header = _HEADER.pack(_VERSION, second, self._sequence, self._timestamp, self._ssrc)
        self._marker = 0
        self._sequence = self._sequence + 1 & 0xFFFF
        self._timestamp = self._timestamp + len(frame) & 0xFFFFFFFF
        return header + frame


@dataclass(slots=True)
class Reception:
    """Statistics of an incoming stream, after RFC 3550 appendix A.3: extended sequence numbers."""

    received: int = 0
    duplicates_or_late: int = 0
    _first: int | None = None
    _highest: int = 0

    def count(self, sequence: int) -> None:
        """Take note of one packet's sequence number."""
        self.received += 1
        if self._first is None:
            self._first = self._highest = sequence
            return
        step = sequence - self._highest & 0xFFFF
        if 0 < step < 0x8000:
            self._highest += step
        else:
            self.duplicates_or_late += 1

    @property
    def expected(self) -> int:
        """Packets between the first and the latest one, both included."""
        return 0 if self._first is None else self._highest - self._first + 1

    @property
    def lost(self) -> int:
        """Expected packets that have not arrived; never below zero, duplicates count as arrived."""
        return max(0, self.expected - self.received)
