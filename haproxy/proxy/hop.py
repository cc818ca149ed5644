"""The next hop of a request: transport, host and port of a URI (RFC 3263 section 4, no NAPTR or SRV)."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import NamedTuple

from haproxy.proxy.side import Side, Sides, flow_to
from haproxy.proxy.validation import Refused
from haproxy.sip.flow import DEFAULT_PORT, Flow, Transport
from haproxy.sip.uri import Uri
from rtlib.address import Address, pack

TRANSPORTS: dict[bytes, Transport] = {b"": "udp", b"udp": "udp", b"tcp": "tcp", b"tls": "tls"}

KNOWN = 65_536
"""URIs whose flows are remembered."""

WAITING = 10_000
"""Requests that may wait for a name server; more are refused."""


NO_TRANSPORT = Refused(503, "Transport Not Supported")


class Hop(NamedTuple):
    """Where to send."""

    transport: Transport
    host: str
    port: int

    @property
    def address(self) -> Address | None:
        """The socket address; None where the host is a name."""
        return _packed(self.host, self.port)


def hop_of(uri: Uri) -> Hop:
    """The hop that a SIP URI names. Raises Refused for transports and schemes that we do not have."""
    if not uri.is_sip:
        raise Refused(416)
    transport = "tls" if uri.scheme == b"sips" else TRANSPORTS.get(uri.transport)
    if transport is None:
        raise NO_TRANSPORT
    host = (uri.param(b"maddr") or uri.host).strip(b"[]").decode("ascii", "replace")
    return Hop(transport, host, uri.port or DEFAULT_PORT[transport])


@lru_cache(65536)
def _packed(host: str, port: int) -> Address | None:
    try:
        return pack(host, port)
    except ValueError:
        return None


Continue = Callable[[Flow | None, float], None]
"""Takes the flow to the hop, or None where its name has no address."""


class Resolver:
    """Makes flows of hops; asks outside for names."""

    def __init__(self, sides: Sides, ask: Callable[[int, str], None]) -> None:
        self._sides = sides
        self._ask = ask
        self._token = 0
        self._waiting: dict[int, tuple[Hop, Side | None, Continue]] = {}
        self._flow = lru_cache(65536)(self._make_flow)
        self._plain: dict[tuple[bytes, int | None, Side | None], Flow] = {}

    def __len__(self) -> int:
        return len(self._waiting)

    def plain(self, uri: Uri, side: Side | None) -> Flow | None:
        """The flow to a URI without parameters whose host is numeric; None for others. Raises Refused."""
        if uri.params or uri.scheme != b"sip":
            return None
        key = uri.host, uri.port, side
        flow = self._plain.get(key)
        if flow is None:
            hop = hop_of(uri)
            address = hop.address
            flow = self._flow(hop, side, address) if address is not None else None
            if flow is not None:
                if len(self._plain) >= KNOWN:
                    self._plain.clear()
                self._plain[key] = flow
        return flow

    def find(self, hop: Hop, side: Side | None, then: Continue, now: float) -> None:
        """Call `then` with the flow to `hop`: at once where the host is numeric. `side` forces the way out.

        Raises Refused when too many wait already.
        """
        if not self._sides.speak(hop.transport):
            raise NO_TRANSPORT
        address = hop.address
        if address is not None:
            then(self._flow(hop, side, address), now)
            return
        if len(self._waiting) >= WAITING:
            raise Refused(503)
        self._token += 1
        self._waiting[self._token] = hop, side, then
        self._ask(self._token, hop.host)

    def resolved(self, token: int, hosts: list[str], now: float) -> None:
        """The addresses of a name, best first; an empty list if there are none."""
        waiting = self._waiting.pop(token, None)
        if waiting is None:
            return
        hop, side, then = waiting
        addresses = filter(None, (_packed(host, hop.port) for host in hosts))
        flows = (self._flow(hop, side, address) for address in addresses)
        then(next(filter(None, flows), None), now)

    def _make_flow(self, hop: Hop, side: Side | None, address: Address) -> Flow | None:
        fits = side is not None and side.speaks(address, hop.transport)
        chosen = side if side is not None and fits else self._sides.towards(address, hop.transport)
        if not chosen.speaks(address, hop.transport):
            return None
        return flow_to(chosen, hop.transport, address, "" if hop.address is not None else hop.host)
