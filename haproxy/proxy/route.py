"""Route and Record-Route: RFC 3261 sections 16.4, 16.6 and 16.12, doubled between two networks (RFC 5658).

A Record-Route of ours carries a token made from the Call-ID with a secret key. Inside a dialog the
token proves that this proxy was in the set-up, so that nobody uses it as an open relay by writing a
Route header and a To tag.
"""

from __future__ import annotations

from functools import lru_cache
from hashlib import blake2s
from hmac import compare_digest
from typing import NamedTuple

from haproxy.proxy.domain import Domains
from haproxy.proxy.side import TRANSPORTS, Side, Sides
from haproxy.sip.address import AddressError
from haproxy.sip.address import parse as parse_address
from haproxy.sip.flow import Transport
from haproxy.sip.message import Request
from haproxy.sip.uri import Uri, UriError
from haproxy.sip.uri import parse as parse_uri

TOKEN = b"k"
TOKEN_MARK = b";" + TOKEN + b"="
DOUBLE = b"r2"

REMEMBERED = 4096
"""Calls whose tokens are remembered, each for some 250 bytes."""


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
        self._keyed = blake2s(key=key, digest_size=6)
        self._own = _own_values(sides)
        # Asked for the INVITE, its ACK, and what else there is soon.
        self.token = lru_cache(REMEMBERED)(self._token)

    def _token(self, call_id: bytes) -> bytes:
        """The proof that we took part in setting this call up."""
        keyed = self._keyed.copy()  # takes half as long as to begin with the key
        keyed.update(call_id)
        return keyed.hexdigest().encode()

    def take_own(self, request: Request) -> Passage:
        """Section 16.4: undo a strict router's work, then remove the Route values that name this proxy.

        Raises AddressError or UriError where a Route value is malformed.
        """
        if b"route" not in request:
            return NOTHING
        self._undo_strict(request)
        passage = self._take_genuine(request)
        if passage is not None:
            return passage
        taken = genuine = False
        side = None
        for _ in range(2):
            uri = first_route(request)
            if uri is None or not self._domains.owns(uri):
                break
            request.remove_first(b"route")
            taken, side = True, self._sides.named(uri.sent_by)
            genuine = genuine or self._is_genuine(uri, request.call_id)
            if uri.param(DOUBLE) is None:
                break
        return Passage(taken, genuine, side)

    def _take_genuine(self, request: Request) -> Passage | None:
        """Take off the one Route that is exactly as `record` wrote it; None where anything is unusual.

        Nearly every request in a dialog has such a one, and nearly nothing else: no URI need be parsed.
        """
        line = request.line(b"route") or b""
        begin, _, end = line.rpartition(TOKEN_MARK)
        own = self._own.get(begin)
        if own is None or not self._domains.owns(own[1]):
            return None
        if not compare_digest(end, self.token(request.call_id) + b">"):
            return None
        request.take_line(b"route")
        return own[0]

    def record(self, request: Request, came: tuple[Side, Transport], leaves: tuple[Side, Transport]) -> None:
        """Add one Record-Route, or two where the request changes the network or the transport."""
        end = TOKEN_MARK + self.token(request.call_id) + b">"
        secure = not self._ignore_sips and request.uri[:5].lower() == b"sips:"
        if came == leaves:
            request.prepend(b"Record-Route", _begin(*came, secure) + end)
            return
        request.prepend(b"Record-Route", _begin(*came, secure) + b";r2=on" + end)
        request.prepend(b"Record-Route", _begin(*leaves, secure) + b";r2=on" + end)

    def _is_genuine(self, uri: Uri, call_id: bytes) -> bool:
        return compare_digest(uri.param(TOKEN) or b"", self.token(call_id))

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


def _own_values(sides: Sides) -> dict[bytes, tuple[Passage, Uri]]:
    """How a Route line begins that is our Record-Route, on each side, where it is not one of two.

    And what it says where its token is genuine.
    """
    begins = (
        (side, _begin(side, transport, secure))
        for side in sides
        for transport in TRANSPORTS
        for secure in (False, True)
        if side.port_of(transport) is not None
    )
    return {b"Route: " + begin: (Passage(True, True, side), parse_uri(begin[1:])) for side, begin in begins}


RouteErrors = (AddressError, UriError)
