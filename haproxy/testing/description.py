"""The session description of a phone with one PCMU stream (RFC 4566, RFC 3264).

Deliberately apart from `haproxy.sip.sdp`: what that one has rewritten is read here by other code.
"""

from __future__ import annotations

import re
from typing import Final

_CONNECTION: Final = re.compile(rb"^c=IN IP[46] (\S+)\r?$", re.MULTILINE)
_AUDIO: Final = re.compile(rb"^m=audio (\d+) RTP/AVP .*\b0\b", re.MULTILINE)


class DescriptionError(ValueError):
    """No stream of PCMU audio is offered."""


def describe(host: str, port: int) -> bytes:
    """Offer or answer PCMU at this address."""
    family = 6 if ":" in host else 4
    lines = [
        "v=0",
        f"o=- 1 1 IN IP{family} {host}",
        "s=-",
        f"c=IN IP{family} {host}",
        "t=0 0",
        f"m=audio {port} RTP/AVP 0",
        "a=rtpmap:0 PCMU/8000",
        "a=ptime:20",
        "",
    ]
    return "\r\n".join(lines).encode()


def audio_address(body: bytes) -> tuple[str, int]:
    """Numeric host and port where the other end wants its audio. Raises DescriptionError."""
    audio, connections = _AUDIO.search(body), list(_CONNECTION.finditer(body))
    if audio is None or not connections or not 0 < int(audio[1]) < 65536:
        raise DescriptionError("the session description has no PCMU stream")
    # A c= line of the media section has precedence over the session's; there is one m= line.
    return connections[-1][1].decode("ascii", "replace"), int(audio[1])
