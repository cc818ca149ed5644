"""SDP on its way from one party to the other: addresses and ports become ours (RFC 8866, RFC 3264)."""

from __future__ import annotations

from haproxy.rtpproxy.call import Media as Line
from haproxy.sip.sdp import Description, Media
from rtlib.address import Address, pack

ICE = (
    b"candidate",
    b"remote-candidates",
    b"end-of-candidates",
    b"ice-ufrag",
    b"ice-pwd",
    b"ice-options",
    b"ice-lite",
)
"""Candidates would lead media past this proxy; without these the parties do without ICE (RFC 8839 4.2)."""

HELD = (b"0.0.0.0", b"::")
"""Connection addresses that mean "on hold" (RFC 2543)."""


def is_relayed(media: Media) -> bool:
    """Whether the media runs over UDP, in a way that a pair of ports can carry."""
    return media.port != 0 and (b"RTP/" in media.protocol or media.protocol.lower() == b"udptl")


def learn(line: Line, media: Media, description: Description) -> None:
    """Take from a party's SDP where it wants its media, and whether it talks at all."""
    held = media.connection in HELD
    rtp = None if held else _address(media.connection, media.port)
    rtcp_host, rtcp_port = media.rtcp
    line.advertise(rtp, None if held else _address(rtcp_host, rtcp_port))
    line.direction = media.direction or description.session.direction or b"sendrecv"
    if held:
        line.direction = b"inactive"


def rewrite(media: Media, line: Line) -> None:
    """Make one m= part ask for media at the ports of `line`."""
    media.set_port(line.pair.number)
    media.set_rtcp(line.pair.number + 1)
    media.remove_attributes(*ICE)


def redirect(description: Description, host: str) -> None:
    """Make the whole description ask for media at our address, except where a party is on hold."""
    holding = [(media, media.connection) for media in description.media if media.connection in HELD]
    description.set_origin(host.encode())
    description.set_connection(host.encode())
    description.session.remove_attributes(*ICE)
    for media, held in holding:
        media.set_connection(held or HELD[0])


def _address(host: bytes | None, port: int) -> Address | None:
    """None for names, which no party puts into SDP, and for what is no address at all."""
    try:
        return pack((host or b"").decode("ascii", "replace"), port)
    except ValueError:
        return None
