"""Whether a request may be proxied at all: RFC 3261 section 16.3. Sans-IO."""

from __future__ import annotations

from typing import Final

from haproxy.sip.message import Request
from haproxy.sip.uri import UriError

MAX_FORWARDS: Final = 70
SUPPORTED: frozenset[bytes] = frozenset()
"""Extensions that may be in Proxy-Require."""


class Refused(Exception):
    """The request is answered with `status` and goes no further."""

    def __init__(self, status: int, reason: str | None = None, *headers: tuple[bytes, bytes]) -> None:
        super().__init__(status, reason)
        self.status = status
        self.reason = reason
        self.headers = headers


def validate(request: Request, sent_bys: tuple[bytes, ...]) -> None:
    """Steps 2 to 5 of section 16.3, which a request that `is_plain` passes. Raises Refused."""
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


def _refuse_extensions(request: Request) -> None:
    unknown = [tag for tag in request.values(b"proxy-require") if tag.lower() not in SUPPORTED]
    if unknown:
        raise Refused(420, None, (b"Unsupported", b", ".join(unknown)))


def _refuse_loop(request: Request, sent_bys: tuple[bytes, ...]) -> None:
    """A request that has been here and would be routed the same way again goes round in a circle."""
    ending = b"x" + request.course
    for via in request.values(b"via"):
        if any(sent_by in via for sent_by in sent_bys) and ending in via:
            raise Refused(482)
