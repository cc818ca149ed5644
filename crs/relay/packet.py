"""The relay's control packets and the header of opaque data (docs/crs-protocol.md, relay packets).

All numbers are big-endian. The first byte tells a relay packet (version bits 00) from RTP and
RTCP (version bits 10):

    bind, bind-ack   type u8 (1, 2) | 0 u24 | identifier u32 | counter u64 | tag (16 bytes)
    opaque data      0x10 u8        | 0 u24 | identifier u32 | payload

The tag is HMAC-SHA256 under the leg's bind key over the 16 bytes before it, cut to 16 bytes.
"""

from __future__ import annotations

import hashlib
import hmac
import struct
from enum import IntEnum
from typing import Final, NamedTuple

from rtlib.media.rtp import is_rtp_or_rtcp, ssrc

KEY_SIZE: Final = 32
SIZE: Final = 32
OPAQUE: Final = 0x10
OPAQUE_HEADER: Final = 8

_HEADER: Final = struct.Struct("!BxxxIQ")
_OPAQUE: Final = struct.Struct("!BxxxI")
_TAG: Final = SIZE - _HEADER.size


class Type(IntEnum):
    """The control packets: a client binds its leg, the relay confirms."""

    bind = 1
    bind_ack = 2


class Control(NamedTuple):
    """A control packet whose tag has not been checked yet."""

    type: Type
    identifier: int
    counter: int
    data: bytes

    def is_authentic(self, key: bytes) -> bool:
        """Whether this packet was built with `key`; takes the same time whatever the answer."""
        return hmac.compare_digest(self.data[_HEADER.size :], _tag(key, self.data[: _HEADER.size]))


def _tag(key: bytes, header: bytes) -> bytes:
    return hmac.digest(key, header, hashlib.sha256)[:_TAG]


def build(kind: Type, identifier: int, counter: int, key: bytes) -> bytes:
    """A control packet; `counter` must rise with every bind of a leg."""
    header = _HEADER.pack(kind, identifier, counter)
    return header + _tag(key, header)


def parse(data: bytes) -> Control | None:
    """A datagram as a control packet; None where it is none: another size, type or non-zero filler."""
    if len(data) != SIZE or data[1:4] != b"\0\0\0":
        return None
    kind, identifier, counter = _HEADER.unpack_from(data)
    if kind not in (Type.bind, Type.bind_ack):
        return None
    return Control(Type(kind), identifier, counter, bytes(data))


def media_identifier(data: bytes) -> int | None:
    """The identifier in a packet of media: opaque data, RTP or RTCP; None where it is none."""
    if data[:1] and data[0] == OPAQUE and len(data) >= OPAQUE_HEADER:
        return int.from_bytes(data[4:8])
    try:
        return ssrc(data) if is_rtp_or_rtcp(data) else None
    except ValueError:
        return None


def opaque(identifier: int, payload: bytes) -> bytes:
    """A packet of opaque data from the leg `identifier`."""
    return _OPAQUE.pack(OPAQUE, identifier) + payload


def parse_opaque(data: bytes) -> tuple[int, bytes] | None:
    """Identifier and payload of a packet of opaque data; None where it is none."""
    if len(data) < OPAQUE_HEADER or data[0] != OPAQUE:
        return None
    return _OPAQUE.unpack_from(data)[1], bytes(data[OPAQUE_HEADER:])
