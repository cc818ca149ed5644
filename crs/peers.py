"""Inter-working servers that are trusted: the file `iw-crs.conf`, with a line for each (manual 4.5)

    iw-crs <IP> <shared secret> [comment]

It is read whenever a command asks for it: an edited file counts at once.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import IPv6Address, ip_address
from pathlib import Path
from typing import Final

from crs import linefile
from crs.linefile import Line, LineFileError

DIRECTIVES: Final = ("iw-crs",)
MAX_COMMENT: Final = 200

_SECRET: Final = re.compile(r"[A-Za-z0-9+/]{8,1024}={0,2}")


@dataclass(frozen=True)
class Peer:
    """A server of another pool."""

    ip: str
    """Its public address, from which its connections come."""
    secret: str = field(repr=False)
    """As both hosts agreed on it: letters and digits, or base64."""
    comment: str = ""


def check_ip(text: str) -> str:
    """An address as it is kept. Raises ValueError."""
    try:
        address = ip_address(text)
    except ValueError:
        raise ValueError(f"{text[:64]!r} is no IP address") from None
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    if address.is_unspecified or address.is_multicast:
        raise ValueError(f"{text[:64]!r} is no host's address")
    return str(address)


def check_secret(text: str) -> str:
    """A shared secret. Raises ValueError, without the secret in its text."""
    if _SECRET.fullmatch(text) is None:
        raise ValueError("the shared secret must be 8 to 1024 letters and digits, or base64")
    return text


def check_comment(text: str) -> str:
    """A comment. Raises ValueError."""
    text = text.strip()
    if len(text) > MAX_COMMENT or not text.isprintable():
        raise ValueError(f"the comment must be at most {MAX_COMMENT} printable characters")
    return text


class Peers:
    """The file. Everything blocks, and raises LineFileError."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def read(self) -> dict[str, Peer]:
        """All servers, by address; none if there is no file."""
        if not self._path.exists():
            return {}
        peers: dict[str, Peer] = {}
        for line in linefile.read(self._path, DIRECTIVES):
            peer = _peer(self._path, line)
            if peer.ip in peers:
                raise LineFileError(f"{self._path}:{line.number}: {peer.ip} is there twice")
            peers[peer.ip] = peer
        return peers

    def write(self, peers: Mapping[str, Peer]) -> None:
        """Put all servers on disk."""
        lines = (f"iw-crs {peer.ip} {peer.secret} {peer.comment}".rstrip() for peer in peers.values())
        linefile.write(self._path, lines)


def _peer(path: Path, line: Line) -> Peer:
    ip, secret, comment = [*line.value.split(maxsplit=2), "", "", ""][:3]
    try:
        return Peer(check_ip(ip), check_secret(secret), check_comment(comment))
    except ValueError as error:
        raise LineFileError(f"{path}:{line.number}: {error}") from None
