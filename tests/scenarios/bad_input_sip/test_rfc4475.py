"""The torture messages of RFC 4475, sent to a real genproxy: each gets what its section says is due."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from haproxy.sip.message import Request, Response, parse
from haproxy.testing.place import Place

VECTORS = Path(__file__).parents[2] / "vectors" / "rfc4475"
PORT = 5060
"""The sender's: where the Via of most of the messages has responses go (RFC 3261 section 18.2.2)."""

FORWARDED = [
    *("wsinv", "intmeth", "esc01", "esc02", "lwsdisp", "longreq", "semiuri", "transports", "mpart01"),
    *("badaspec", "baddate", "badbranch", "invut", "sdp01", "inv2543"),
]
"""They are right, or wrong in what is no business of a proxy."""

REGISTERED = {
    "escnull": [b"<sip:%00@host5.example.com>", b"<sip:%00%00@host5.example.com>"],
    "cparam01": [b"<sip:+19725552222@gw1.example.net>"],
    "cparam02": [b"<sip:+19725552222@gw1.example.net;unknownparam>"],
    "regescrt": [b"<sip:user@example.com?Route=%3Csip:sip.example.com%3E>"],
    "dblreq": [b"<sip:j.user@host.example.com>"],
}
"""The contacts that the registrar's answer lists; of dblreq the first request."""

MALFORMED = [
    *("badinv01", "baddn", "clerr", "escruri", "insuf", "ltgtruri", "lwsruri", "lwsstart", "mcl01"),
    *("mismatch01", "mismatch02", "multi01", "ncl", "quotbal", "regbadct", "scalar02", "trws"),
]
REFUSED = {
    **dict.fromkeys(MALFORMED, 400),
    "unksm2": 404,
    "unkscm": 416,
    "novelsc": 416,
    "bext01": 420,
    "zeromf": 483,
    "badvers": 505,
}
DROPPED = ["bigcode", "scalarlg", "test", "bcast", "unreason", "noreason"]
"""No SIP, or responses to nothing."""

UNFINISHED = {"baddn", "clerr"}
"""In a stream the rest may still come."""


def vector(name: str) -> bytes:
    """The message, with a branch of its own, for many have the same: no request repeats another.

    And with the sender's port where the Via names another one.
    """
    data = (VECTORS / f"{name}.dat").read_bytes().replace(b":5050;", b":5060;", 1)
    return data.replace(b"branch=z9hG4bKkdjuw", b"branch=z9hG4bKkdjuw" + os.urandom(4).hex().encode(), 1)


def test_every_message_is_here() -> None:
    listed = {*FORWARDED, *REGISTERED, *REFUSED, *DROPPED, "regaut01"}
    assert listed == {path.stem for path in VECTORS.glob("*.dat")}


def lines(data: bytes) -> list[bytes]:
    """Start line and header lines, folded ones in one piece."""
    head = data.partition(b"\r\n\r\n")[0]
    return re.split(rb"\r\n(?![ \t])", head)


def without(data: bytes, keys: tuple[bytes, ...]) -> list[bytes]:
    """The lines whose names are none of these."""
    return [line for line in lines(data) if line.partition(b":")[0].strip().lower() not in keys]


@pytest.mark.parametrize("name", FORWARDED)
def test_valid_messages_are_forwarded_unharmed(place: Place, name: str) -> None:
    start, _, rest = vector(name).partition(b"\r\n")
    data = b"%b\r\nRoute: <sip:%b;lr>\r\n%b" % (start, place.sink.address, rest)
    before = parse(data)
    assert isinstance(before, Request)
    with place.sender("udp", PORT) as sender:
        assert sender.ask(data).statuses == []
    got = place.sink.take(before.call_id)
    after = parse(got)
    assert isinstance(after, Request)
    own = (b"via", b"v", b"record-route", b"max-forwards")
    assert without(got, own) == without(data, own)
    assert after.body == before.body
    assert after.max_forwards == (70 if before.max_forwards is None else before.max_forwards - 1)
    vias, ours = before.values(b"via"), after.values(b"via")
    assert len(ours) == len(vias) + 1
    stamp = b";received=" + place.listed.encode()
    assert ours[1] == (vias[0] + stamp).replace(b";rport;", b";rport=5060;")
    assert ours[2:] == vias[1:]
    recorded = after.values(b"record-route")
    assert recorded[-len(before.values(b"record-route")) or len(recorded) :] == before.values(b"record-route")


@pytest.mark.parametrize("name", REGISTERED)
def test_valid_registrations_are_accepted(place: Place, name: str) -> None:
    data = vector(name)
    with place.sender("udp", PORT) as sender:
        answers = [parse(answer) for answer in sender.ask(data).answers]
    # A 100 to a request of the test before may come as well.
    (response,) = (answer for answer in answers if answer.call_id == parse(data).call_id)
    assert isinstance(response, Response)
    assert response.status == 200
    found = [value.partition(b";expires=")[0] for value in response.values(b"contact")]
    assert set(REGISTERED[name]) <= set(found)


@pytest.mark.parametrize("transport", ["udp", "tcp"])
def test_the_others_are_refused_or_dropped(place: Place, transport: str) -> None:
    for name, due in [*REFUSED.items(), *((name, None) for name in DROPPED)]:
        if transport == "tcp" and name in UNFINISHED:
            continue
        before = place.counted()
        with place.sender(transport, PORT if transport == "udp" else 0) as sender:
            outcome = sender.ask(vector(name))
        assert outcome.statuses == ([] if due is None else [due]), name
        if due is None and name != "test":
            continue  # foreign and stray responses have counters of their own
        assert place.counted() > before, name
        if name == "bext01":
            assert (
                b"\r\nUnsupported: noProxiesSupportThis, norDoAnyProxiesSupportThis\r\n" in outcome.answers[0]
            )
    assert place.sink.others() == []
