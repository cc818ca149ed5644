"""RFC 3263 section 4, by question and answer."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence

import pytest

from haproxy.dns.locate import MOST, LookupFailed, Place, Wish, locate, ordered
from haproxy.dns.record import Answer, Kind, Naptr, Question, Record, Srv
from haproxy.sip.flow import Transport

ALL: tuple[Transport, ...] = ("udp", "tcp", "tls")
ZONE: dict[tuple[str, str], tuple[Record, ...]] = {
    ("a.example", "A"): ("192.0.2.1",),
    ("a.example", "AAAA"): ("2001:db8::1",),
    ("b.example", "A"): ("192.0.2.2", "192.0.2.3"),
    ("_sip._udp.srv.example", "SRV"): (Srv(2, 0, 5070, "b.example"), Srv(1, 0, 5060, "a.example")),
    ("_sip._tcp.srv.example", "SRV"): (Srv(1, 0, 5080, "a.example"),),
    ("_sips._tcp.srv.example", "SRV"): (Srv(1, 0, 5061, "a.example"),),
    ("srv.example", "A"): ("192.0.2.9",),
    ("naptr.example", "NAPTR"): (
        Naptr(50, 50, "s", "SIP+D2T", "_sip._tcp.srv.example"),
        Naptr(90, 50, "S", "SIP+D2U", "_sip._udp.srv.example"),
        Naptr(10, 50, "s", "SIP+D2S", "_sip._sctp.srv.example"),
        Naptr(40, 50, "s", "SIPS+D2T", "_sips._tcp.srv.example"),
        Naptr(1, 1, "u", "E2U+sip", "!^.*$!sip:x@y!"),
    ),
    ("_sip._udp.none.example", "SRV"): (Srv(0, 0, 0, "."),),
    ("none.example", "A"): ("192.0.2.9",),
    ("_sip._udp.big.example", "SRV"): tuple(Srv(1, 1, 5000 + n, "b.example") for n in range(100)),
}


def find(
    wish: Wish, spoken: Sequence[Transport] = ALL, kinds: Sequence[Kind] = ("A",)
) -> tuple[list[str], list[tuple[str, str]]]:
    """Places as text, and what was asked."""
    asked: list[tuple[str, str]] = []
    asking = locate(wish, spoken, kinds, lambda: 0.0)
    answer: Answer | None = None
    while True:
        try:
            question = next(asking) if answer is None else asking.send(answer)
        except StopIteration as done:
            places: list[Place] = done.value
            return [f"{place.transport}:{place.host}:{place.port}" for place in places], asked
        asked.append((question.name, question.kind))
        answer = Answer(ZONE.get((question.name, question.kind), ()), 60.0)


@pytest.mark.parametrize(
    ("wish", "places"),
    [
        # A port: no SRV, and UDP unless the URI says otherwise.
        (Wish("A.example.", 5099), ["udp:192.0.2.1:5099"]),
        (Wish("b.example", 5099, "tcp"), ["tcp:192.0.2.2:5099", "tcp:192.0.2.3:5099"]),
        (Wish("a.example", 5099, None, secure=True), ["tls:192.0.2.1:5099"]),
        # Neither records nor a port: the default one.
        (Wish("a.example"), ["udp:192.0.2.1:5060"]),
        (Wish("a.example", None, "tls"), ["tls:192.0.2.1:5061"]),
        (Wish("a.example", None, None, secure=True), ["tls:192.0.2.1:5061"]),
        (Wish("nothing.example"), []),
        # A transport: its SRV records, lowest priority first.
        (
            Wish("srv.example", None, "udp"),
            ["udp:192.0.2.1:5060", "udp:192.0.2.2:5070", "udp:192.0.2.3:5070"],
        ),
        (Wish("srv.example", None, "tcp"), ["tcp:192.0.2.1:5080"]),
        (Wish("srv.example", None, None, secure=True), ["tls:192.0.2.1:5061"]),
        # NAPTR: by order, those transports that we have.
        (
            Wish("naptr.example"),
            [
                "tls:192.0.2.1:5061",
                "tcp:192.0.2.1:5080",
                "udp:192.0.2.1:5060",
                "udp:192.0.2.2:5070",
                "udp:192.0.2.3:5070",
            ],
        ),
        # The service is decidedly not there (RFC 2782): then the address records.
        (Wish("none.example", None, "udp"), ["udp:192.0.2.9:5060"]),
    ],
)
def test_places(wish: Wish, places: list[str]) -> None:
    assert find(wish)[0] == places


def test_a_sips_uri_takes_no_other_naptr() -> None:
    places, asked = find(Wish("naptr.example", None, None, secure=True))
    assert ("naptr.example", "NAPTR") not in asked  # there is but one transport
    assert places == []


def test_without_naptr_all_transports_that_we_have() -> None:
    places, asked = find(Wish("srv.example"), spoken=("udp", "tcp"))
    assert places == ["udp:192.0.2.1:5060", "udp:192.0.2.2:5070", "udp:192.0.2.3:5070", "tcp:192.0.2.1:5080"]
    assert ("_sips._tcp.srv.example", "SRV") not in asked


def test_transports_that_we_lack_are_passed_over() -> None:
    assert find(Wish("naptr.example"), spoken=("udp",))[0][0] == "udp:192.0.2.1:5060"


def test_both_kinds_of_addresses() -> None:
    places, _ = find(Wish("a.example", 5060), kinds=("AAAA", "A"))
    assert places == ["udp:2001:db8::1:5060", "udp:192.0.2.1:5060"]


def test_there_is_an_end() -> None:
    places, asked = find(Wish("big.example", None, "udp"))
    assert len(places) == MOST
    assert len(asked) <= MOST + 1


def test_no_server_answers() -> None:
    asking = locate(Wish("a.example"), ALL, ("A",), lambda: 0.0)
    assert next(asking) == Question("a.example", "NAPTR")
    with pytest.raises(LookupFailed):
        asking.send(Answer(failed=True))


def test_weights() -> None:
    chance = random.Random(1).random
    servers = [Srv(1, 10, 1, "ten"), Srv(1, 30, 1, "thirty"), Srv(1, 0, 1, "none"), Srv(2, 9, 1, "later")]
    first: Counter[str] = Counter()
    for _ in range(4000):
        found = ordered(servers, chance)
        assert found[3].target == "later"
        first[found[0].target] += 1
    assert 0.68 < first["thirty"] / 4000 < 0.80
    assert 0.19 < first["ten"] / 4000 < 0.31
    assert 0 < first["none"] < 200
