"""Client transactions, and the requests that follow from theirs: ACK and CANCEL (RFC 3261 §17.1, §9.1)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from haproxy.sip import header
from haproxy.sip.flow import Flow
from haproxy.sip.message import Request, Response
from haproxy.sip.state import State

if TYPE_CHECKING:
    from haproxy.sip.step import Row, TimerEntry


class ClientTransaction:
    """One request of ours and its responses. Only the layer changes it; `context` is the user's."""

    __slots__ = (
        "cancelled",
        "context",
        "deadline",
        "flow",
        "interval",
        "key",
        "quiet",
        "reliable",
        "request",
        "retransmission",
        "row",
        "sent",
        "state",
    )

    def __init__(
        self, request: Request, flow: Flow, key: tuple[bytes, bytes], interval: float, *, quiet: bool = False
    ) -> None:
        self.request = request
        """As sent, our Via on top."""
        self.flow = flow
        """Where it was sent to."""
        self.key = key
        """Branch and method, which responses are matched by (§17.1.3)."""
        self.state = State.terminated
        self.context: Any = None
        """For the user's own use; the layer never looks at it."""
        self.reliable = flow.transport != "udp"
        self.cancelled: Request | None = None
        """The CANCEL asked for, sent or waiting for a provisional response."""
        self.quiet = quiet
        """A CANCEL of the layer's own, of which the user hears nothing."""
        self.sent = bytes(request)
        self.interval = interval
        self.row: Row = {}
        self.retransmission: TimerEntry | None = None
        self.deadline: TimerEntry | None = None

    @property
    def branch(self) -> bytes:
        """The branch of our Via."""
        return self.key[0]

    @property
    def method(self) -> bytes:
        """The request's method."""
        return self.request.method

    def __repr__(self) -> str:
        return f"<ClientTransaction {self.state} {self.request!r}>"


def ack_for(request: Request, response: Response) -> Request:
    """The ACK for a final response other than 2xx (§17.1.1.3)."""
    return _follow(request, b"ACK", response.first(b"to") or b"", None)


def cancel_for(request: Request, reason: bytes | None) -> Request:
    """The CANCEL of a request (§9.1); `reason` becomes a Reason header (RFC 3326)."""
    return _follow(request, b"CANCEL", request.first(b"to") or b"", reason)


def _follow(request: Request, method: bytes, to: bytes, reason: bytes | None) -> Request:
    headers = [(b"Via", request.top_via.raw)]
    headers += [(b"Route", route) for route in request.all(b"route")]
    headers += [(header.DISPLAY[key], request.first(key) or b"") for key in (b"from", b"call-id")]
    headers += [
        (b"To", to),
        (b"CSeq", b"%d %b" % (request.cseq_number, method)),
        (b"Max-Forwards", b"70"),
    ]
    if reason is not None:
        headers.append((b"Reason", reason))
    return Request(method, request.uri, [*headers, (b"Content-Length", b"0")])
