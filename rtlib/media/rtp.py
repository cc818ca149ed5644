"""The few bits of RTP and RTCP headers that a relay looks at (RFC 3550 sections 5.1 and 6.4, RFC 5761
section 4).
"""

from __future__ import annotations

RTP_HEADER = 12
"""Bytes of the fixed RTP header."""
RTCP_HEADER = 8
"""Bytes of an RTCP header up to and with the sender's SSRC."""


def is_rtp_or_rtcp(data: bytes) -> bool:
    """Whether the version bits are 2; STUN, DTLS and relay headers have others (RFC 7983)."""
    return len(data) > 0 and data[0] & 0xC0 == 0x80


def is_rtcp(data: bytes) -> bool:
    """Whether a version 2 packet on a port that carries both is RTCP: packet types 192 to 223 (RFC 5761)."""
    return len(data) > 1 and 192 <= data[1] <= 223


def ssrc(data: bytes) -> int:
    """Give the SSRC of an RTP packet (offset 8), or of the sender of an RTCP packet (offset 4).

    ValueError if the packet is shorter than its fixed header.
    """
    offset = 4 if is_rtcp(data) else 8
    if len(data) < offset + 4:
        raise ValueError(f"{len(data)} bytes are too short for an RTP or RTCP header")
    return int.from_bytes(data[offset : offset + 4], "big")
