"""The Via header: RFC 3261 §20.42, rport of RFC 3581, and where responses go (§18.2.2)."""

from __future__ import annotations

import re
from typing import Final, NamedTuple

from haproxy.sip import header
from haproxy.sip.cache import kept
from haproxy.sip.uri import HOST, canonical_host

COOKIE: Final = b"z9hG4bK"
"""Branches that start with it are unique by themselves (§8.1.1.7)."""

_USUAL: Final = re.compile(
    rb"\s*SIP/2\.0/([A-Z]+) ([A-Za-z0-9][\w.-]*+|\[[0-9A-Fa-f:.]+\])(?::([0-9]{1,5}))?"
    rb"((?:;(?:branch=([\w.!%*+`'~-]++)|(?!branch=)[\w.!%*+`'~-]++(?:=(?:[\w.!%*+`'~:-]++|\[[0-9A-Fa-f:.]++\]))?))*)\s*"
)
_FRONT: Final = re.compile(
    rb"(?i:Via|v): ?(SIP/2\.0/([A-Z]+) ([A-Za-z0-9][\w.-]*+|\[[0-9A-Fa-f:.]+\])(?::([0-9]{1,5}))?)"
    rb"((?:;(?!(?i:branch)=)[\w.!%*+`'~-]++(?:=(?:[\w.!%*+`'~:-]++|\[[0-9A-Fa-f:.]++\]))?)*)"
)
_LONGEST_KEPT: Final = 96
"""Bytes of a line without its branch, of which a sender can make up as many as he likes."""
_ANY: Final = re.compile(
    rb"(?i:SIP)\s*/\s*2\.0\s*/\s*([\w.!%*+`'~-]+)\s+(" + HOST + rb")(?:\s*:\s*([0-9]{1,5}))?\s*(.*)",
    re.DOTALL,
)


class ViaError(ValueError):
    """Not a Via value; the text says what is wrong with it."""


class Place(NamedTuple):
    """Where a Via says that its sender is."""

    host: bytes
    """As written; IPv6 in brackets."""
    port: int | None


class Front(NamedTuple):
    """What a Via line says beside its branch: the same in all messages of a sender."""

    transport: bytes
    place: Place
    origin: bytes
    """The place as written, host[:port], between spaces."""
    bare: bool
    begin: int
    """Where the value begins in the line."""
    params: int
    """Where the parameters begin."""


class Via:
    """One value of a Via header."""

    __slots__ = ("_front", "_line", "bare", "branch", "origin")

    branch: bytes
    """b"" where there is none."""
    origin: bytes
    """host[:port] as written, between spaces: of what is told apart by it and the branch."""
    bare: bool
    """It has no parameter but a branch, as far as could be seen at a glance."""
    _front: Front
    _line: bytes

    def __init__(self, front: Front, line: bytes, branch: bytes) -> None:
        """`line` is the value as written, with whatever stands before it."""
        self._front, self._line, self.branch = front, line, branch
        self.origin, self.bare = front.origin, front.bare

    @property
    def raw(self) -> bytes:
        """The value as written, parameters included."""
        return self._line[self._front.begin :]

    @property
    def transport(self) -> bytes:
        """In upper case: UDP, TCP, TLS ..."""
        return self._front.transport

    @property
    def _params(self) -> bytes:
        return self._line[self._front.params :]

    @property
    def place(self) -> Place:
        """Where it says that its sender is."""
        return self._front.place

    @property
    def host(self) -> bytes:
        """As written; IPv6 in brackets."""
        return self.place.host

    @property
    def port(self) -> int | None:
        """As written."""
        return self.place.port

    @property
    def sent_by(self) -> bytes:
        """host[:port] in lower case, for comparison."""
        host = self.host.lower()
        return host if self.port is None else b"%b:%d" % (host, self.port)

    def param(self, name: bytes) -> bytes | None:
        """A parameter's value by its lower-case name; b"" for a flag such as `;rport`, None where absent."""
        if name not in self._params.lower():
            return None
        found = header.parameters(self._params) or {}
        return None if name not in found else found[name] or b""

    @property
    def rport(self) -> int | None:
        """The port in `rport=`: 0 where the flag stands alone or is malformed, None where it is absent."""
        value = self.param(b"rport")
        return None if value is None else _port(value) or 0

    @property
    def received(self) -> bytes | None:
        """The address in `received=`, where the request really came from."""
        return self.param(b"received")

    @property
    def has_cookie(self) -> bool:
        """Whether the branch is a unique one: the cookie and something after it (RFC 4475 §3.2.1)."""
        return self.branch.startswith(COOKIE) and len(self.branch) > len(COOKIE)

    @property
    def maddr(self) -> bytes | None:
        """The address in `maddr=`, without brackets, which responses to datagrams go to."""
        value = self.param(b"maddr")
        return canonical_host(value).strip(b"[]") if value else None

    def stamped(self, host: bytes, port: int) -> bytes | None:
        """This value with what the transport saw filled in; None where it is right as it is.

        RFC 3261 §18.2.1, RFC 3581 §4.

        `host` and `port` are where the request came from, IPv6 without brackets.
        """
        if b"rport" not in self._params and b"received" not in self._params and self.host == host:
            return None
        rport = self.rport is not None
        if not rport and self.host.strip(b"[]").lower() == host and self.received is None:
            return None
        value = _stamps.sub(b"", self.raw)
        return value + (b";rport=%d" % port if rport else b"") + b";received=" + host


_stamps = re.compile(rb"(?i:(?<!\s)\s*;\s*(?:received\s*=\s*[^;,\s]*|rport(?:\s*=\s*[^;,\s]*)?(?=[\s;,]|$)))")


def _port(text: bytes) -> int | None:
    return int(text) if text.isdigit() and len(text) <= 5 and int(text) <= 65535 else None


def of_line(line: bytes) -> Via:
    """The first value of a Via header line. Raises ViaError."""
    front, _, branch = line.rpartition(b";branch=")
    if not branch.isalnum():
        if header.SEMICOLON in branch:
            branch, mark, after = branch.partition(b";")
            front += mark + after
        if not branch or branch.strip(header.TOKEN_BYTES):
            return _of_unusual_line(line)
    found = _fronts[front]
    return _of_unusual_line(line) if found is None else Via(found, line, branch)


def _of_unusual_line(line: bytes) -> Via:
    name, _, value = line.partition(b":")
    if header.key_of(name) != b"via":
        raise ViaError("not a Via header")
    return parse(header.cut_first(header.unfold(value.strip()))[0])


def _front(line: bytes) -> Front | None:
    """What a Via line says without its branch; None where that is unusual.

    A sender's lines differ in their branch only: all else is looked at once.
    """
    match = _FRONT.fullmatch(line)
    if match is None:
        return None
    _, transport, host, port, params = match.groups()
    return Front(transport, _place(host, port), _origin(host, port), not params, match.start(1), match.end(1))


_fronts: Final = kept("Via", _front, longest=_LONGEST_KEPT)


def parse(value: bytes) -> Via:
    """Parse one Via value (see `header.cut_first` for lists). Raises ViaError."""
    value = value.strip()
    match = _USUAL.fullmatch(value)
    if match is None:
        return _parse_unusual(header.unfold(value))
    transport, host, port, _, branch = match.groups()
    via = Via(_front_of(transport, host, port, match.start(4)), value, branch or b"")
    if branch is None:
        via.branch = via.param(b"branch") or b""
    return via


def _parse_unusual(value: bytes) -> Via:
    match = _ANY.fullmatch(value)
    if match is None:
        raise ViaError("malformed Via")
    transport, host, port, params = match.groups()
    if header.parameters(params) is None:
        raise ViaError("malformed parameters in Via")
    via = Via(_front_of(transport.upper(), host, port, match.start(4)), value, b"")
    via.branch = via.param(b"branch") or b""
    return via


def _front_of(transport: bytes, host: bytes, port: bytes | None, params: int) -> Front:
    return Front(transport, _place(host, port), _origin(host, port), False, 0, params)


def _place(host: bytes, port: bytes | None) -> Place:
    return Place(host, None if port is None else _checked(port))


def _origin(host: bytes, port: bytes | None) -> bytes:
    return b" " + host + (b" " if port is None else b":" + port + b" ")


def _checked(port: bytes) -> int:
    number = int(port)
    if not 0 < number <= 65535:
        raise ViaError("port out of range in Via")
    return number
