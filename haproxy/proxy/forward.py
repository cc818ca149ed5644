"""Sending a request on: RFC 3261 section 16.6, for one target. Sans-IO."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TypeAlias, TypeVar

from haproxy.proxy.conversation import Conversation
from haproxy.proxy.hop import Resolver, hop_of
from haproxy.proxy.route import Router, next_hop
from haproxy.proxy.side import Sides
from haproxy.proxy.target import Target
from haproxy.proxy.validation import MAX_FORWARDS, Refused
from haproxy.sip.client import ClientTransaction
from haproxy.sip.flow import Flow
from haproxy.sip.message import Request
from haproxy.sip.transaction import LayerFull, TransactionLayer

T = TypeVar("T")

Send: TypeAlias = Callable[[T, Request, tuple[Flow, ...], float], None]
"""Takes who sends, the request and the flows to its next hop, best first; none where a name leads nowhere."""

LARGE_BODY = 32 * 1024
"""Bytes; a request with a shorter one fits into a datagram, however long its header may be."""

LARGEST_DATAGRAM = 65_535 - 20 - 8
"""Bytes of one over IPv4; 20 more fit over IPv6."""

OUR_VIA = 200
"""Bytes that the transaction layer adds at most."""

DIALOG_METHODS = frozenset({b"INVITE", b"SUBSCRIBE", b"REFER"})


class Forwarding:
    """Makes the copy of a request that goes to a target, and sends it."""

    def __init__(
        self,
        layer: TransactionLayer,
        sides: Sides,
        router: Router,
        resolver: Resolver,
        conversation: Conversation,
    ) -> None:
        self._layer = layer
        self._sides = sides
        self._router = router
        self._resolver = resolver
        self._conversation = conversation

    def find(self, request: Request, target: Target, then: Send[T], sender: T, now: float) -> None:
        """Prepare `request`, the target's own copy, and find the flows to it, which go to `then`.

        That is called with `sender`, at once where no name has to be looked up. Raises Refused, ValueError.
        """
        if target.uri is not None:
            request.set_uri(target.uri)
        if target.path:
            request.prepend(b"Route", target.path)
        request.take_hop(MAX_FORWARDS)
        known = target.flow if isinstance(target.flow, Flow) else None
        if known is not None and known.transport != "udp" and not target.path:
            then(sender, request, (known,), now)
            return
        uri = target.hop or next_hop(request)
        side = self._sides.of(known.local) if known is not None else target.side
        flows = self._resolver.plain(uri, side)
        if flows:
            then(sender, request, flows, now)
        else:
            self._resolver.find(hop_of(uri), side, partial(then, sender, request), now)

    def send(self, request: Request, came: Flow, flow: Flow, ending: bytes, now: float) -> ClientTransaction:
        """Send a prepared request and expect responses. Raises Refused."""
        here, there = self._sides.of(came.local), self._sides.of(flow.local)
        if request.to_tag is None and request.method in DIALOG_METHODS:
            self._router.record(request, (here, came.transport), (there, flow.transport))
        self._conversation.request(request, came, there, now)
        if len(request.body) > LARGE_BODY and not fits(request, flow):
            raise Refused(513)
        try:
            branch = self._layer.new_branch() + b"x" + ending
            return self._layer.request(request, flow, now, branch)
        except LayerFull:
            raise Refused(503) from None

    def send_ack(self, request: Request, came: Flow, flow: Flow, now: float) -> None:
        """Send the ACK of a 2xx, which has no transaction."""
        self._conversation.request(request, came, self._sides.of(flow.local), now)
        self._layer.send(request, flow)


def fits(request: Request, flow: Flow) -> bool:
    """Whether the flow can carry a request; the system would refuse to send too long a datagram."""
    return flow.reliable or len(bytes(request)) + OUR_VIA <= LARGEST_DATAGRAM
