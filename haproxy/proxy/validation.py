"""Whether a request may be proxied at all: RFC 3261 section 16.3. Sans-IO."""

from __future__ import annotations

from typing import Final

from haproxy.sip.message import Request
from haproxy.sip.uri import UriError

MAX_FORWARDS: Final = 70
SUPPORTED: frozenset[bytes] = frozenset()
"""Extensions that may be in Proxy-Require."""

_MARK: Final = b"x"
_DIGITS: Final = [b"%03x" % number for number in range(4096)]
"""Three hexadecimal digits by their number: to look them up is cheaper than to write them."""


class Refused(Exception):
    """The request is answered with `status` and goes no further."""

    def __init__(self, status: int, reason: str | None = None, *headers: tuple[bytes, bytes]) -> None:
        super().__init__(status, reason)
        self.status = status
        self.reason = reason
        self.headers = headers


def validate(request: Request, sent_bys: tuple[bytes, ...]) -> None:
    """Steps 2 to 5 of section 16.3. Raises Refused."""
    if not request.is_plain:
        examine(request, sent_bys)


def examine(request: Request, sent_bys: tuple[bytes, ...]) -> None:
    """The same, where it was not seen at a glance that there is nothing to object to."""
    try:
        known_scheme = request.target.is_sip
    except UriError:
        raise Refused(400, "Malformed Request-URI") from None
    if not known_scheme:
        raise Refused(416)
    if request.max_forwards == 0:
        raise Refused(483)
    if b"proxy-require" in request:
        _refuse_extensions(request)
    if not request.is_alone(b"via") and request.says(b"via", sent_bys):
        _refuse_loop(request, sent_bys)  # whatever has been here has our Via above another one


def loop_hash(request: Request) -> bytes:
    """What decides a request's route, in ten characters: our branches end with it (RFC 5393 4.2.2)."""
    course = request.course & 0xFFFFFFFFF
    return _MARK + _DIGITS[course >> 24] + _DIGITS[course >> 12 & 0xFFF] + _DIGITS[course & 0xFFF]


def _refuse_extensions(request: Request) -> None:
    unknown = [tag for tag in request.values(b"proxy-require") if tag.lower() not in SUPPORTED]
    if unknown:
        raise Refused(420, None, (b"Unsupported", b", ".join(unknown)))


def _refuse_loop(request: Request, sent_bys: tuple[bytes, ...]) -> None:
    """A request that has been here and would be routed the same way again goes round in a circle."""
    ending = loop_hash(request)
    for via in request.values(b"via"):
        if any(sent_by in via for sent_by in sent_bys) and ending in via:
            raise Refused(482)
