"""Asking Genesis systems whether they are alive: OPTIONS or INFO outside of a call (guide 7.1.16-7.1.19)."""

from __future__ import annotations

from functools import partial

from haproxy.dispatcher.destination import Destination
from haproxy.dispatcher.probe import DEAD, Prober
from haproxy.proxy.alarm import Schedule, Timer
from haproxy.proxy.hop import Resolver, hop_of
from haproxy.proxy.side import Sides
from haproxy.proxy.validation import Refused
from haproxy.sip.flow import Flow
from haproxy.sip.message import Request, Response
from haproxy.sip.transaction import LayerFull, TransactionLayer
from haproxy.sip.uri import UriError
from haproxy.sip.uri import parse as parse_uri
from rtlib.address import Address

MOST = 1024
"""Probes that are remembered before those that are over are forgotten."""


class Probe:
    """One question on its way."""

    def __init__(self, prober: Prober, destination: Destination, kind: str, now: float) -> None:
        self._prober = prober
        self._destination = destination
        self._kind = kind
        self._asked = now
        self._done = False
        self.timer: Timer | None = None
        self.nonsense = ""
        """What was wrong with what came instead of an answer."""

    def responded(self, response: Response, now: float) -> None:
        """An answer came; a late one is a sign of life, too."""
        if response.status < 200:
            return
        if self._finish() or response.status not in DEAD:
            rtt = now - self._asked
            self._prober.answered(self._destination, response.status, now, rtt, self._kind)

    def failed(self, status: int, reason: str, now: float) -> None:
        """The network says that nobody is there (503), or the layer gave up waiting (408)."""
        if self._finish():
            certain = status == 503
            self._prober.failed(
                self._destination, reason, now, certain=certain, asked=self._asked, kind=self._kind
            )

    def expired(self, now: float) -> None:
        """The answer is overdue."""
        self.timer = None
        nonsense = f"answered a probe with what is no SIP: {self.nonsense}"
        self.failed(408, nonsense if self.nonsense else "did not answer a probe", now)

    def postponed(self, now: float) -> None:
        """It could not be sent, which says nothing about the destination."""
        if self._finish():
            self._prober.postponed(self._destination, now)

    @property
    def done(self) -> bool:
        """Whether its outcome is known."""
        return self._done

    def _finish(self) -> bool:
        if self.timer is not None:
            self.timer.cancel()
            self.timer = None
        first, self._done = not self._done, True
        return first


class Liveness:
    """Sends the probes that the prober's schedule asks for."""

    def __init__(
        self,
        *,
        layer: TransactionLayer,
        sides: Sides,
        resolver: Resolver,
        prober: Prober,
        schedule: Schedule,
        method: bytes,
        user_agent: bytes | None,
    ) -> None:
        self._layer = layer
        self._sides = sides
        self._resolver = resolver
        self._prober = prober
        self._schedule = schedule
        self._method = method
        self._user_agent = user_agent
        self._sequence = 0
        self._waiting: dict[tuple[str, Address], Probe] = {}
        """The last probe on its way to each place."""

    def get_timer(self) -> float | None:
        """When the next probe is due."""
        return self._prober.get_timer()

    def handle_timer(self, now: float) -> None:
        """Send what is due."""
        for destination in self._prober.due(now):
            self._ask(destination, now)

    def refresh(self, now: float) -> None:
        """Destinations joined or left."""
        self._prober.refresh(now)

    def suspect(self, destination: Destination, now: float) -> None:
        """It might be dead, or back: ask it soon."""
        self._prober.suspect(destination, now)

    def flow_failed(self, flow: Flow, now: float) -> None:
        """The network says that a flow does not work: ask who is there."""
        self._prober.suspect_flow(flow, now)

    def nonsense(self, flow: Flow, reason: str) -> None:
        """Something came that is no SIP. Should no better answer follow, a probe has failed by it."""
        probe = self._waiting.get((flow.transport, flow.remote))
        if probe is not None:
            probe.nonsense = reason

    def _ask(self, destination: Destination, now: float) -> None:
        probe = Probe(self._prober, destination, self._method.decode(), now)
        known = destination.flow if isinstance(destination.flow, Flow) else None
        if known is not None and known.transport != "udp":
            self._send(probe, destination, (known,), now)
            return
        try:
            hop = hop_of(parse_uri(destination.uri))
            side = self._sides.of(known.local) if known is not None else None
            self._resolver.find(hop, side, partial(self._send, probe, destination), now)
        except (Refused, UriError) as error:
            probe.failed(503, str(error), now)

    def _send(self, probe: Probe, destination: Destination, flows: tuple[Flow, ...], now: float) -> None:
        if not flows:
            probe.failed(503, "its name has no address", now)
            return
        flow = flows[0]
        if len(self._waiting) >= MOST:
            self._waiting = {place: each for place, each in self._waiting.items() if not each.done}
        self._waiting[flow.transport, flow.remote] = probe
        probe.timer = self._schedule(probe, now + self._prober.pace.patience)
        try:
            self._layer.request(self._request(destination, flow), flow, now).context = probe
        except LayerFull:
            probe.postponed(now)

    def _request(self, destination: Destination, flow: Flow) -> Request:
        self._sequence += 1
        own = b"<sip:" + self._sides.of(flow.local).sent_by_of(flow.transport) + b">"
        headers = [
            (b"From", own + b";tag=" + self._layer.new_tag()),
            (b"To", b"<" + destination.uri + b">"),
            (b"Call-ID", self._layer.new_tag()),
            (b"CSeq", b"%d %b" % (self._sequence, self._method)),
            (b"Contact", own),
        ]
        if self._user_agent is not None:
            headers.append((b"User-Agent", self._user_agent))
        return Request.create(self._method, destination.uri, headers)
