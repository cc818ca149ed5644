"""Route and Record-Route: RFC 3261 sections 16.4, 16.6 and 16.12, doubled between two networks (RFC 5658).

A Record-Route of ours carries a token made from the Call-ID with a secret key. Inside a dialog the
token proves that this proxy was in the set-up, so that nobody uses it as an open relay by writing a
Route header and a To tag.
"""

from __future__ import annotations

from hashlib import blake2s
from hmac import compare_digest
from typing import Final, NamedTuple

from haproxy.proxy.domain import Domains
from haproxy.proxy.side import TRANSPORTS, Side, Sides
from haproxy.sip.address import AddressError
from haproxy.sip.address import parse as parse_address
from haproxy.sip.flow import Transport
from haproxy.sip.header import SEMICOLON
from haproxy.sip.message import Request
from haproxy.sip.uri import Uri, UriError
from haproxy.sip.uri import parse as parse_uri

TOKEN: Final = b"k"
TOKEN_MARK: Final = b";k="
TOKEN_BYTES: Final = 6
END: Final = 16
"""Bytes of a Record-Route's end: the mark, the token in hexadecimal digits, and the angle bracket."""
DOUBLE: Final = b"r2"
DOUBLED: Final = b";r2=on"

REMEMBERED: Final = 4096
"""Calls whose tokens are remembered, each for some 250 bytes."""

LONGEST: Final = 256
"""Bytes of a Call-ID that is remembered."""


class Passage(NamedTuple):
    """What our own Route values said."""

    taken: bool = False
    """At least one was there, and was taken off."""
    genuine: bool = False
    """One carried the token of this Call-ID: the dialog was set up through this proxy."""
    side: Side | None = None
    """The side to leave by; None where they do not say."""


NOTHING = Passage()


class Router:
    """Takes our own Route values off, and writes our Record-Route."""

    def __init__(self, sides: Sides, domains: Domains, key: bytes, *, ignore_sips: bool = False) -> None:
        """`ignore_sips`: Record-Route is a sip: URI even where the Request-URI is not (guide 7.1.4)."""
        self._ignore_sips = ignore_sips
        self._sides = sides
        self._domains = domains
        self._keyed = blake2s(key=key, digest_size=TOKEN_BYTES)
        self._starts = {
            side.local(transport): _begin(side, transport) for side in sides for transport in TRANSPORTS
        }
        """How our Record-Route begins, by socket."""
        self._secure_starts = {
            side.local(transport): _begin(side, transport, True) for side in sides for transport in TRANSPORTS
        }
        """The same for a request to a sips: URI."""
        self._own: dict[bytes, tuple[Passage, bool]] = {}
        """What a Route line says that begins as one of ours and ends with a genuine token.

        And whether it is one of two.
        """
        self._version = 0
        """The version of `domains` that these were chosen by."""
        self._ends: dict[bytes, bytes] = {}
        """By Call-ID: they are asked for the INVITE, its ACK, and what else there is soon."""

    def _end(self, call_id: bytes) -> bytes:
        """The end of our Record-Route: the proof that we took part in setting this call up."""
        keyed = self._keyed.copy()  # takes half as long as to begin with the key
        keyed.update(call_id)
        end = TOKEN_MARK + keyed.hexdigest().encode() + b">"
        if len(call_id) <= LONGEST:
            if len(self._ends) >= REMEMBERED:
                self._ends.clear()
            self._ends[call_id] = end
        return end

    def take_own(self, request: Request) -> Passage:
        """Section 16.4: undo a strict router's work, then remove the Route values that name this proxy.

        Raises AddressError or UriError where a Route value is malformed.
        """
        line = request.route
        if line is None:
            return NOTHING
        if SEMICOLON in request.uri:
            self._undo_strict(request)
            line = request.route or b""
        if self._version != self._domains.version:
            self._choose_own()
        # In nearly every request of a dialog they are exactly as `record` wrote them: no URI need be parsed.
        passage = NOTHING
        for left in (2, 1):
            own = self._own.get(line[:-END])
            if own is None:
                return self._take_parsed(request, passage, left)
            end = self._ends.get(request.call_id) or self._end(request.call_id)
            if not compare_digest(line[-END:], end):
                return self._take_parsed(request, passage, left)
            request.take_line(b"route")
            passage, doubled = own
            if not doubled:
                return passage
            line = request.route
            if line is None:
                return passage
        return passage

    def record(self, request: Request, came: int, leaves: int) -> None:
        """Add one Record-Route, or two where the request changes the network or the transport.

        `came` and `leaves` are sockets, as `Flow.local` has them.
        """
        starts, end = self._starts, self._ends.get(request.call_id) or self._end(request.call_id)
        if request.uri[:4] != b"sip:" and not self._ignore_sips and request.uri[:5].lower() == b"sips:":
            starts = self._secure_starts
        if came == leaves:
            request.prepend(b"Record-Route", starts[came] + end)
            return
        request.prepend(b"Record-Route", starts[came] + DOUBLED + end)
        request.prepend(b"Record-Route", starts[leaves] + DOUBLED + end)

    def _take_parsed(self, request: Request, before: Passage, left: int) -> Passage:
        """Take so many values more, after what was taken before."""
        taken, genuine, side = before
        for _ in range(left):
            uri = first_route(request)
            if uri is None or not self._domains.owns(uri):
                break
            request.remove_first(b"route")
            taken, side = True, self._sides.named(uri.sent_by)
            genuine = genuine or self._is_genuine(uri, request.call_id)
            if uri.param(DOUBLE) is None:
                break
        return Passage(taken, genuine, side)

    def _choose_own(self) -> None:
        self._version = self._domains.version
        self._own = {
            b"Route: " + begin + more: (Passage(True, True, side), more == DOUBLED)
            for side in self._sides
            for transport in TRANSPORTS
            for begin in (_begin(side, transport), _begin(side, transport, True))
            for more in (b"", DOUBLED)
            if side.port_of(transport) is not None and self._domains.owns(parse_uri(begin[1:]))
        }

    def _is_genuine(self, uri: Uri, call_id: bytes) -> bool:
        return compare_digest(_proof(uri), self._end(call_id))

    def _undo_strict(self, request: Request) -> None:
        """A strict router put our Record-Route into the Request-URI and the real one at the end of Route."""
        target = request.target
        if target.param(TOKEN) is None or not self._domains.owns(target):
            return
        values = request.values(b"route")
        request.set_uri(parse_address(values[-1]).uri)
        request.set(b"Route", b", ".join([b"<%b>" % bytes(target), *values[:-1]]))


def first_route(request: Request) -> Uri | None:
    """The URI of the topmost Route value; None without one. Raises AddressError or UriError."""
    value = request.first(b"route")
    if value is None:
        return None
    values = request.values(b"route")
    return parse_address(values[0]).target if values else None


def next_hop(request: Request) -> Uri:
    """Where the request goes: the topmost Route, or else the Request-URI. Raises AddressError or UriError.

    If that Route is a strict router's, the request is rewritten for it (section 16.6 step 6).
    """
    route = first_route(request)
    if route is None:
        return request.target
    if route.param(b"lr") is not None:
        return route
    values = request.values(b"route")
    request.set(b"Route", b", ".join([*values[1:], b"<%b>" % request.uri]))
    request.set_uri(parse_address(values[0]).uri)
    return route


def _begin(side: Side, transport: Transport, secure: bool = False) -> bytes:
    """Our Record-Route up to the parameters that are not the same for all calls.

    `secure`: the request is for a sips: URI. Then so is the value of each leg over TLS (section 16.6 step 4);
    one over UDP or TCP, which a Genesis system may have, would be false as sips:.
    """
    if secure and transport == "tls":
        return b"<sips:" + side.sent_by_of(transport) + b";lr"
    parameter = b"" if transport == "udp" else b";transport=" + transport.encode()
    return b"<sip:" + side.sent_by_of(transport) + parameter + b";lr"


def _proof(uri: Uri) -> bytes:
    """The end of a Record-Route with the token that a Route value has."""
    return TOKEN_MARK + (uri.param(TOKEN) or b"") + b">"


RouteErrors = (AddressError, UriError)
