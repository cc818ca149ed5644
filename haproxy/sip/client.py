"""Client transactions, and the requests that follow from theirs: ACK and CANCEL (RFC 3261 §17.1, §9.1)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from haproxy.sip import header
from haproxy.sip.flow import Flow
from haproxy.sip.message import Request, Response
from haproxy.sip.step import Alarms, Beginning, Key, Transaction

_CANCEL: Final = b"CANCEL "


class ClientTransaction(Transaction):
    """One request of ours and its responses. Only the layer changes it; `context` is the user's."""

    __slots__ = ("cancelled", "quiet")

    def __init__(self, request: Request, sent: bytes, flow: Flow, key: Key, beginning: Beginning) -> None:
        self.request = request
        self.method = request.method
        self.call_id = request.call_id
        self.flow = flow
        self.key = key
        self.context: Any = None
        self.sent = sent
        self.cancelled: Request | None = None
        """The CANCEL asked for, sent or waiting for a provisional response."""
        self.quiet = False
        """A CANCEL of the layer's own, of which the user hears nothing."""
        self.row = beginning.row
        self.timers: Beginning | Alarms | None = beginning

    @property
    def branch(self) -> bytes:
        """The branch of our Via."""
        assert isinstance(self.key, bytes)
        return self.key.removeprefix(_CANCEL)


def cancel_key(branch: bytes) -> bytes:
    """What the CANCEL of a request is found by, whose branch it has (§9.1): others are by their branch."""
    return _CANCEL + branch


def ack_for(request: Request, response: Response, user_agent: bytes | None = None) -> Request:
    """The ACK for a final response other than 2xx (§17.1.1.3)."""
    return _follow(request, b"ACK", response.first(b"to") or b"", [(b"User-Agent", user_agent)])


def cancel_for(request: Request, reason: bytes | None, user_agent: bytes | None = None) -> Request:
    """The CANCEL of a request (§9.1); `reason` becomes a Reason header (RFC 3326)."""
    more = [(b"User-Agent", user_agent), (b"Reason", reason)]
    return _follow(request, b"CANCEL", request.first(b"to") or b"", more)


def _follow(
    request: Request, method: bytes, to: bytes, more: Sequence[tuple[bytes, bytes | None]]
) -> Request:
    headers = [(b"Via", request.top_via.raw)]
    headers += [(b"Route", route) for route in request.all(b"route")]
    headers += [(header.DISPLAY[key], request.first(key) or b"") for key in (b"from", b"call-id")]
    headers += [
        (b"To", to),
        (b"CSeq", b"%d %b" % (request.cseq_number, method)),
        (b"Max-Forwards", b"70"),
    ]
    headers += [(name, value) for name, value in more if value is not None]
    return Request(method, request.uri, [*headers, (b"Content-Length", b"0")])
