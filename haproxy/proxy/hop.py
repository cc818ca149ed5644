"""The next hop of a request: from a URI to the flows to try (RFC 3263 section 4)."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache, partial
from typing import Final, NamedTuple

from haproxy.dns.cache import Cache
from haproxy.dns.locate import Asking, LookupFailed, Place, Wish, locate
from haproxy.dns.record import Answer, Kind, Question
from haproxy.proxy.side import Side, Sides, flow_to
from haproxy.proxy.validation import Refused
from haproxy.sip.cache import kept
from haproxy.sip.flow import DEFAULT_PORT, Flow, Transport
from haproxy.sip.uri import Uri, canonical_host
from haproxy.sip.uri import parse as parse_uri
from rtlib.address import Address, pack

TRANSPORTS: dict[bytes, Transport] = {b"udp": "udp", b"tcp": "tcp", b"tls": "tls"}

WAITING = 10_000
"""Requests that may wait for name servers; more are refused."""


class Hop(NamedTuple):
    """Where to send, as the URI says it."""

    host: str
    port: int | None = None
    transport: Transport | None = None
    secure: bool = False
    """The URI is a sips: one."""

    @property
    def place(self) -> Place | None:
        """Where that is; None where the host is a name (RFC 3263 section 4.1, 4.2: numeric hosts)."""
        transport = self.transport or ("tls" if self.secure else "udp")
        port = self.port or DEFAULT_PORT[transport]
        return None if _packed[self.host, port] is None else Place(transport, self.host, port)


def hop_of(uri: Uri) -> Hop:
    """The hop that a SIP URI names. Raises Refused for a transport, scheme or address that there is not."""
    if not uri.is_sip:
        raise Refused(416)
    secure, transport = uri.scheme == b"sips", uri.transport
    if transport and transport not in TRANSPORTS:
        raise Refused(500, "Transport Not Supported")
    named = canonical_host(uri.param(b"maddr") or uri.host)
    host = named.strip(b"[]").decode("ascii", "replace")
    if named[:1] == b"[" and _packed[host, 0] is None:
        raise Refused(400, "Malformed IPv6 Reference")
    return Hop(host, uri.port, "tls" if secure else TRANSPORTS.get(transport), secure)


def _pack(place: tuple[str, int]) -> Address | None:
    try:
        return pack(*place)
    except ValueError:
        return None


_packed: Final = kept("places", _pack, 65536)


Continue = Callable[[tuple[Flow, ...], float], None]
"""Takes the flows to the hop, best first; none where its name leads nowhere."""


class _Waiting(NamedTuple):
    """One hop whose name is being looked up."""

    asking: Asking
    hop: Hop
    side: Side | None
    then: Continue


class Resolver:
    """Makes flows of hops; what the cache does not know it has asked outside."""

    def __init__(
        self, sides: Sides, ask: Callable[[Question], None], entropy: Callable[[int], bytes], cache: Cache
    ) -> None:
        """`ask` has a question put to name servers, whose answer comes by `answered`."""
        self._sides = sides
        self._ask = ask
        self._entropy = entropy
        self._cache = cache
        self._spoken = tuple(each for each in TRANSPORTS.values() if sides.speak(each))
        self._kinds: tuple[Kind, ...] = _kinds_of(sides)
        self._waiting: dict[Question, list[_Waiting]] = {}
        self._count = 0
        self._flow = lru_cache(65536)(self._make_flow)
        self.plain = {
            side: kept(f"plain hops, {side.name if side else 'any'} side", partial(self._find_plain, side))
            for side in (None, *sides)
        }
        """By the side to leave by: the flow to a URI, as written, that has a numeric host and no parameters.

        No flow to other URIs. Raises Refused, UriError.
        """

    def __len__(self) -> int:
        """Requests that wait."""
        return self._count

    def _find_plain(self, side: Side | None, data: bytes) -> tuple[Flow, ...]:
        uri = parse_uri(data)
        if uri.params or uri.scheme != b"sip":
            return ()
        place = hop_of(uri).place
        flow = self._flow(place, side, "") if place is not None else None
        return () if flow is None else (flow,)

    def find(self, hop: Hop, side: Side | None, then: Continue, now: float) -> None:
        """Call `then` with the flows to `hop`: at once where all is known. `side` forces the way out.

        Raises Refused for a transport that we do not have, and when too many wait already.
        """
        if hop.transport is not None and hop.transport not in self._spoken:
            raise Refused(500, "Transport Not Supported")
        place = hop.place
        if place is not None:
            self._conclude([place], hop, side, then, now)
            return
        if self._count >= WAITING:
            raise Refused(503)
        wish = Wish(hop.host, hop.port, hop.transport, hop.secure)
        asking = locate(wish, self._spoken, self._kinds, self._chance)
        self._go_on(_Waiting(asking, hop, side, then), None, now)

    def answered(self, question: Question, answer: Answer, now: float) -> None:
        """Name servers have answered, or have not: go on with all that wait for it."""
        answer = self._cache.put(question, answer, now)
        waiting = self._waiting.pop(question, [])
        self._count -= len(waiting)
        for each in waiting:
            self._go_on(each, answer, now)

    def _go_on(self, waiting: _Waiting, answer: Answer | None, now: float) -> None:
        places: list[Place] = []
        try:
            question = next(waiting.asking) if answer is None else waiting.asking.send(answer)
            while (known := self._cache.get(question, now)) is not None:
                question = waiting.asking.send(known)
        except StopIteration as done:
            places = done.value
        except LookupFailed:
            pass
        else:
            self._wait(question, waiting)
            return
        self._conclude(places, waiting.hop, waiting.side, waiting.then, now)

    def _wait(self, question: Question, waiting: _Waiting) -> None:
        self._count += 1
        others = self._waiting.setdefault(question, [])
        others.append(waiting)
        if len(others) == 1:
            self._ask(question)

    def _conclude(self, places: list[Place], hop: Hop, side: Side | None, then: Continue, now: float) -> None:
        domain = "" if hop.place is not None else hop.host.lower()
        flows = (self._flow(place, side, domain) for place in places)
        then(tuple(dict.fromkeys(flow for flow in flows if flow is not None)), now)

    def _chance(self) -> float:
        return int.from_bytes(self._entropy(4), "big") / 2**32

    def _make_flow(self, place: Place, side: Side | None, domain: str) -> Flow | None:
        address = _packed[place.host, place.port]
        if address is None:
            return None
        transport = place.transport
        fits = side is not None and side.speaks(address, transport)
        chosen = side if side is not None and fits else self._sides.towards(address, transport)
        return flow_to(chosen, transport, address, domain) if chosen.speaks(address, transport) else None


def _kinds_of(sides: Sides) -> tuple[Kind, ...]:
    """The kinds of addresses that we can send to, IPv6 first (RFC 6724)."""
    six, four = (any(side.speaks(pack(host, 0)) for side in sides) for host in ("::1", "127.0.0.1"))
    return (*(("AAAA",) if six else ()), *(("A",) if four else ()))
