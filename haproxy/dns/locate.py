"""From a SIP URI to the places to try, in order: RFC 3263 section 4. Sans-IO.

`locate` is a coroutine in the plain sense: it yields questions and is sent their answers.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Sequence
from typing import Final, NamedTuple

from haproxy.dns.record import Answer, Kind, Naptr, Question, Srv
from haproxy.sip.flow import DEFAULT_PORT, Transport

MOST: Final = 16
"""Places that are tried for one name at most."""

_SERVICES: Final[dict[str, Transport]] = {"SIP+D2U": "udp", "SIP+D2T": "tcp", "SIPS+D2T": "tls"}
_PREFIXES: Final[dict[Transport, str]] = {"udp": "_sip._udp.", "tcp": "_sip._tcp.", "tls": "_sips._tcp."}


class Place(NamedTuple):
    """One numeric address to try."""

    transport: Transport
    host: str
    port: int


class Wish(NamedTuple):
    """What the URI says."""

    host: str
    """A name; numeric addresses need no locating."""
    port: int | None = None
    transport: Transport | None = None
    secure: bool = False
    """It is a sips: URI: TLS only."""


class LookupFailed(Exception):
    """No name server answered."""


Asking = Generator[Question, Answer, list[Place]]
Chance = Callable[[], float]
"""A random number from 0 up to, but not including, 1."""


def locate(wish: Wish, spoken: Sequence[Transport], kinds: Sequence[Kind], chance: Chance) -> Asking:
    """Find the places; an empty list where there is none. Raises LookupFailed.

    `spoken` are the transports that we have, those we like better first; `kinds` the kinds of addresses.
    """
    name = wish.host.lower().rstrip(".")
    transport = wish.transport or ("tls" if wish.secure else None)
    if wish.port is not None:
        found = yield from _addresses(name, transport or "udp", wish.port, kinds)
        return found[:MOST]
    found = []
    if transport is None:
        found = yield from _by_naptr(name, spoken, kinds, chance)
        transports: Iterable[Transport] = spoken
    else:
        transports = (transport,)
    if not found:
        for each in transports:
            found += yield from _by_srv(_PREFIXES[each] + name, each, kinds, chance)
    if not found:
        final = transport or "udp"
        found = yield from _addresses(name, final, DEFAULT_PORT[final], kinds)
    return found[:MOST]


def _ask(name: str, kind: Kind) -> Generator[Question, Answer, Answer]:
    answer = yield Question(name, kind)
    if answer.failed:
        raise LookupFailed
    return answer


def _by_naptr(name: str, spoken: Sequence[Transport], kinds: Sequence[Kind], chance: Chance) -> Asking:
    """Section 4.1. Records for transports that we do not have, and of other applications, do not count."""
    answer = yield from _ask(name, "NAPTR")
    records = sorted(record for record in answer.records if isinstance(record, Naptr))
    found: list[Place] = []
    for record in records:
        transport = _SERVICES.get(record.service.upper())
        if transport is None or transport not in spoken or record.flags.lower() != "s":
            continue
        if len(found) < MOST:
            found += yield from _by_srv(record.replacement, transport, kinds, chance)
    return found


def _by_srv(name: str, transport: Transport, kinds: Sequence[Kind], chance: Chance) -> Asking:
    """Section 4.2, and the order of RFC 2782."""
    answer = yield from _ask(name, "SRV")
    servers = [record for record in answer.records if isinstance(record, Srv)]
    if len(servers) == 1 and servers[0].target in {"", "."}:
        return []  # the service is decidedly not there
    found: list[Place] = []
    for server in ordered(servers, chance):
        if len(found) >= MOST:
            break
        found += yield from _addresses(server.target, transport, server.port, kinds)
    return found


def _addresses(name: str, transport: Transport, port: int, kinds: Sequence[Kind]) -> Asking:
    found: list[Place] = []
    for kind in kinds:
        answer = yield from _ask(name, kind)
        found += [Place(transport, record, port) for record in answer.records if isinstance(record, str)]
    return found


def ordered(servers: Iterable[Srv], chance: Chance) -> list[Srv]:
    """Lowest priority first; within one priority at random, by weight (RFC 2782)."""
    left = sorted(servers, key=lambda server: (server.priority, server.weight))
    chosen = []
    while left:
        same = [server for server in left if server.priority == left[0].priority]
        total = sum(server.weight for server in same)
        point = chance() * (total + 1)
        running = 0
        for server in same:
            running += server.weight
            if running >= int(point):
                break
        chosen.append(server)
        left.remove(server)
    return chosen
