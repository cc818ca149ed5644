"""Session descriptions, edited line by line: RFC 8866, rtcp attribute of RFC 3605.

Lines that are not edited stay as they came, bit for bit, line ends included.
"""

from __future__ import annotations

import re
from itertools import pairwise
from typing import Final

_LINE: Final = re.compile(rb"[A-Za-z]=[^\0]*")
_MEDIA: Final = re.compile(rb"([\w.-]+) ([0-9]{1,5})(?:/([0-9]{1,5}))? ([\w/.-]+)(?: (.*))?")
_CONNECTION: Final = re.compile(rb"IN (IP4|IP6) ([\w.:-]+)(/[0-9/]+)?")
_ORIGIN: Final = re.compile(rb"(\S+ \S+ \S+) IN IP[46] (\S+)")
MAX_LINES: Final = 2048
DIRECTIONS: Final = (b"sendrecv", b"sendonly", b"recvonly", b"inactive")


class SdpError(ValueError):
    """Not a session description; the text says what is wrong with it."""


class Section:
    """The lines of the session part or of one m= part."""

    def __init__(self, lines: list[bytes]) -> None:
        self.lines = lines
        """As they came, without their line feeds; the very last one is usually empty."""

    def first(self, kind: bytes) -> bytes | None:
        """The value of the first line of a type (b"c"); None where there is none."""
        prefix = kind + b"="
        return next((line[2:].rstrip(b"\r") for line in self.lines if line.startswith(prefix)), None)

    def attributes(self, name: bytes) -> list[bytes]:
        """The values of all `a=name:value` lines; b"" for `a=name`."""
        found = (line[2:].rstrip(b"\r").partition(b":") for line in self.lines if line.startswith(b"a="))
        return [value for found_name, _, value in found if found_name == name]

    def attribute(self, name: bytes) -> bytes | None:
        """The first such value; None where there is none."""
        return next(iter(self.attributes(name)), None)

    @property
    def direction(self) -> bytes | None:
        """sendrecv, sendonly, recvonly or inactive, if this part says so itself."""
        return next((name for name in DIRECTIONS if self.attributes(name)), None)

    def remove_attributes(self, *names: bytes) -> None:
        """Drop all attribute lines of these names."""
        self.lines[:] = [line for line in self.lines if _attribute_name(line) not in names]

    def add_attribute(self, value: bytes) -> None:
        """Add `a=value` after the other lines."""
        at = len(self.lines) - (self.lines[-1] == b"")
        self.lines.insert(at, b"a=" + value + self._line_end)

    def replace(self, kind: bytes, value: bytes, after: tuple[bytes, ...]) -> None:
        """Replace the value of the first line of a type, or add one behind those of the types `after`."""
        prefix = kind + b"="
        line = prefix + value + self._line_end
        for index, old in enumerate(self.lines):
            if old.startswith(prefix):
                self.lines[index] = line
                return
        positions = [index for index, old in enumerate(self.lines) if old[:1] in after and old]
        self.lines.insert(positions[-1] + 1 if positions else 0, line)

    @property
    def _line_end(self) -> bytes:
        return b"\r" if self.lines[0].endswith(b"\r") else b""

    @property
    def own_connection(self) -> bytes | None:
        """The address of this part's c= line; None where there is none."""
        value = self.first(b"c")
        match = _CONNECTION.fullmatch(value) if value is not None else None
        return match[2] if match else None

    def set_connection(self, host: bytes) -> None:
        """Set the address of the c= line, adding the line if there is none."""
        self.replace(b"c", _network(host), (b"v", b"o", b"s", b"i", b"u", b"e", b"p", b"m"))


class Media(Section):
    """One m= line and what belongs to it."""

    def __init__(self, lines: list[bytes], session: Section) -> None:
        super().__init__(lines)
        self._session = session
        match = _MEDIA.fullmatch(lines[0][2:].rstrip(b"\r"))
        if match is None or int(match[2]) > 65535:
            raise SdpError("malformed m= line")
        self.kind = match[1]
        """audio, video, image ..."""
        self.port = int(match[2])
        """0 for a stream that is refused or switched off."""
        self.port_count = int(match[3]) if match[3] else 1
        self.protocol = match[4]
        """RTP/AVP, RTP/SAVP, UDP/TLS/RTP/SAVPF, udptl ..."""
        self.formats = (match[5] or b"").split()

    @property
    def connection(self) -> bytes | None:
        """The address media is wanted at: of this part, else of the session."""
        return self.own_connection or self._session.own_connection

    @property
    def rtcp(self) -> tuple[bytes | None, int]:
        """Address and port RTCP is wanted at: as `a=rtcp` says, else the next port (RFC 3605)."""
        port, _, network = (self.attribute(b"rtcp") or b"").partition(b" ")
        if not port.isdigit() or len(port) > 5 or int(port) > 65535:
            return self.connection, min(self.port + 1, 65535)
        match = _CONNECTION.fullmatch(network.strip())
        return (match[2] if match else self.connection), int(port)

    @property
    def rtcp_mux(self) -> bool:
        """Whether RTCP may share the RTP port (RFC 5761)."""
        return self.attribute(b"rtcp-mux") is not None

    def set_port(self, port: int) -> None:
        """Change the port; the number of ports becomes one."""
        self.port, self.port_count = port, 1
        self._write()

    def set_protocol(self, protocol: bytes) -> None:
        """Change the transport protocol."""
        self.protocol = protocol
        self._write()

    def set_rtcp(self, port: int) -> None:
        """Say where RTCP is wanted: replaces a=rtcp, or adds it where the port is not the next one."""
        given = self.attribute(b"rtcp") is not None
        self.remove_attributes(b"rtcp")
        if given or port != self.port + 1:
            self.add_attribute(b"rtcp:%d" % port)

    def _write(self) -> None:
        words = (self.kind, b"%d" % self.port, self.protocol, *self.formats)
        self.lines[0] = b"m=" + b" ".join(words) + self._line_end


class Description:
    """A session description: the session part and its media, in order."""

    def __init__(self, session: Section, media: list[Media]) -> None:
        self.session = session
        self.media = media

    def set_origin(self, host: bytes) -> None:
        """Replace the address in the o= line, so that it does not tell the sender's."""
        origin = _ORIGIN.fullmatch(self.session.first(b"o") or b"")
        if origin is not None:
            self.session.replace(b"o", origin[1] + b" " + _network(host), (b"v",))

    def set_connection(self, host: bytes) -> None:
        """Send all media to one address: in all c= lines, and in one for the session where one is missing."""
        if self.session.own_connection is not None or not all(media.own_connection for media in self.media):
            self.session.set_connection(host)
        for media in self.media:
            if media.own_connection is not None:
                media.set_connection(host)

    def __bytes__(self) -> bytes:
        sections: list[Section] = [self.session, *self.media]
        return b"\n".join(line for section in sections for line in section.lines)


def parse(body: bytes) -> Description:
    """Parse a session description. Raises SdpError."""
    lines = body.split(b"\n")
    if len(lines) > MAX_LINES:
        raise SdpError(f"more than {MAX_LINES} lines")
    if not lines[0].startswith(b"v=0"):
        raise SdpError("does not begin with v=0")
    if not all(_LINE.fullmatch(line) for line in lines if line.strip()):
        raise SdpError("a line is not of the form type=value")
    starts = [index for index, line in enumerate(lines) if line.startswith(b"m=")]
    session = Section(lines[: starts[0]] if starts else lines)
    media = [Media(lines[a:b], session) for a, b in pairwise([*starts, len(lines)])]
    return Description(session, media)


def _attribute_name(line: bytes) -> bytes | None:
    return line[2:].rstrip(b"\r").partition(b":")[0] if line.startswith(b"a=") else None


def _network(host: bytes) -> bytes:
    return (b"IN IP6 " if b":" in host else b"IN IP4 ") + host
