"""Sending a request on: RFC 3261 section 16.6, for one target. Sans-IO."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Final, TypeAlias, TypeVar

from haproxy.proxy.conversation import Conversation
from haproxy.proxy.hop import Resolver, hop_of
from haproxy.proxy.route import Router, next_hop
from haproxy.proxy.target import Target
from haproxy.proxy.validation import MAX_FORWARDS, Refused
from haproxy.sip.client import ClientTransaction
from haproxy.sip.flow import Flow
from haproxy.sip.message import Request
from haproxy.sip.transaction import LayerFull, TransactionLayer
from haproxy.sip.uri import parse as parse_uri

T = TypeVar("T")

Send: TypeAlias = Callable[[T, Request, tuple[Flow, ...], float], None]
"""Takes who sends, the request and the flows to its next hop, best first; none where a name leads nowhere."""

LARGE_BODY: Final = 32 * 1024
"""Bytes; a request with a shorter one fits into a datagram, however long its header may be."""

LARGEST_DATAGRAM: Final = 65_535 - 20 - 8
"""Bytes of one over IPv4; 20 more fit over IPv6."""

OUR_VIA: Final = 200
"""Bytes that the transaction layer adds at most."""

DIALOG_METHODS: Final = frozenset({b"INVITE", b"SUBSCRIBE", b"REFER"})


class Forwarding:
    """Makes the copy of a request that goes to a target, and sends it."""

    def __init__(
        self,
        layer: TransactionLayer,
        router: Router,
        resolver: Resolver,
        conversation: Conversation,
    ) -> None:
        self._layer = layer
        self._router = router
        self._resolver = resolver
        self._conversation = conversation

    def find(
        self, request: Request, target: Target, then: Send[T], sender: T, now: float
    ) -> tuple[Flow, ...]:
        """Prepare `request`, the target's own copy, and give the flows to it where they are known.

        Where a name has to be looked up there are none: they go to `then`, with `sender`, at once or later.
        Raises Refused, ValueError.
        """
        if target.uri is not None:
            request.set_uri(target.uri)
        if target.path:
            request.prepend(b"Route", target.path)
        request.take_hop(MAX_FORWARDS)
        if target.flow is not None:
            return (target.flow,)
        plain = self._resolver.plain[target.side]
        if target.hop is not None:
            flows, uri = plain[target.hop], None
        elif request.route is None:
            flows, uri = plain[request.uri], None
        else:
            flows, uri = (), next_hop(request)
        if not flows:
            hop = hop_of(uri or parse_uri(target.hop or request.uri))
            self._resolver.find(hop, target.side, partial(then, sender, request), now)
        return flows

    def send(self, request: Request, came: Flow, flow: Flow, ending: bytes, now: float) -> ClientTransaction:
        """Send a prepared request and expect responses. Raises Refused."""
        if request.to_tag is None and request.method in DIALOG_METHODS:
            self._router.record(request, came.local, flow.local)
        if self._conversation.active:
            self._conversation.request(request, came, flow, now)
        if len(request.body) > LARGE_BODY and not fits(request, flow):
            raise Refused(513)
        try:
            return self._layer.request(request, flow, now, self._layer.new_branch() + ending)
        except LayerFull:
            raise Refused(503) from None

    def send_ack(self, request: Request, came: Flow, flow: Flow, now: float) -> None:
        """Send the ACK of a 2xx, which has no transaction."""
        if self._conversation.active:
            self._conversation.request(request, came, flow, now)
        self._layer.send(request, flow)


def fits(request: Request, flow: Flow) -> bool:
    """Whether the flow can carry a request; the system would refuse to send too long a datagram."""
    return flow.reliable or len(bytes(request)) + OUR_VIA <= LARGEST_DATAGRAM
