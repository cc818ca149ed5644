"""Whether a request may be proxied at all (RFC 3261 section 16.3)."""

from __future__ import annotations

from itertools import product

import pytest

from haproxy.proxy.validation import Refused, validate
from haproxy.sip.message import ParseError, Request, parse

OURS = b"192.0.2.1:5060"
VIA = b"SIP/2.0/UDP 192.0.2.9;branch=z9hG4bKa"

URIS = [b"sip:a@b", b"SIP:a@b", b"sips:a@b", b"tel:+1", b"siptel:a"]
HOPS = [
    b"",
    b"Max-Forwards: 0",
    b"Max-Forwards: 00",
    b"Max-Forwards: 1",
    b"max-forwards:  70",
    b"Max-Forwards: 255",
]
REQUIRED = [b"", b"Proxy-Require: foo", b"Proxy-Require: "]
BELOW = [b"", b"v: SIP/2.0/UDP 192.0.2.1:5060;branch=%b", b"Via: SIP/2.0/UDP 192.0.2.8;branch=%b"]


def made(uri: bytes, hops: bytes, required: bytes, via: bytes) -> Request:
    lines = [
        b"BYE " + uri + b" SIP/2.0", via, b"From: <sip:a@b>;tag=1", b"To: <sip:a@b>;tag=2", b"Call-ID: c",
        b"CSeq: 1 BYE", hops, required,
    ]  # fmt: skip
    message = parse(b"\r\n".join(filter(None, lines)) + b"\r\n\r\n")
    assert isinstance(message, Request)
    return message


def outcome(request: Request) -> tuple[int, str | None] | None:
    try:
        validate(request, (OURS,))
    except Refused as refused:
        return refused.status, refused.reason
    return None


def test_what_is_plain_is_valid() -> None:
    found = set()
    for uri, hops, required, below, loop, joined in product(
        URIS, HOPS, REQUIRED, BELOW, (True, False), (True, False)
    ):
        vias = b"Via: " + VIA
        if below:
            vias += b"," + below.partition(b":")[2] if joined else b"\r\n" + below
            ending = b"x" + made(uri, hops, required, b"Via: " + VIA).course if loop else b"x000000000"
            vias = vias.replace(b"%b", b"z9hG4bKb" + ending)
        request = made(uri, hops, required, vias)
        expected = outcome(request)
        assert not (request.is_plain and expected)
        found.add(None if expected is None else expected[0])
        if expected is None and request.uri[:4] == b"sip:" and not below:
            assert request.is_plain or hops.startswith(b"max") or required
    assert found == {None, 416, 420, 482, 483}


@pytest.mark.parametrize(
    ("change", "same"),
    [((b"BYE", b"BYE"), True), ((b"192.0.2.9", b"192.0.2.7"), True), ((b"a@b SIP", b"c@b SIP"), False),
     ((b"tag=1", b"tag=3"), False), ((b"tag=2", b"tag=3"), False), ((b"Call-ID: c", b"Call-ID: d"), False),
     ((b"CSeq: 1", b"CSeq: 2"), False), ((b"CSeq:", b"Route: <sip:x;lr>\r\nCSeq:"), False),
     ((b"CSeq:", b"Proxy-Require: x\r\nCSeq:"), False)],
)  # fmt: skip
def test_what_decides_a_route(change: tuple[bytes, bytes], same: bool) -> None:
    request = made(b"sip:a@b", b"", b"", b"Via: " + VIA)
    other = parse(bytes(request).replace(*change))
    assert isinstance(other, Request)
    assert (other.course == request.course) is same
    assert len(request.course) == 9


def test_a_uri_that_did_not_come_from_the_parser() -> None:
    for uri in (b"sip:", b"sip:a@[", b"nothing"):
        request = Request(b"BYE", uri)
        assert not request.is_plain
        assert outcome(request) == (400, "Malformed Request-URI")


def test_one_that_is_malformed_never_comes_here() -> None:
    with pytest.raises(ParseError):
        made(b"sip:", b"", b"", b"Via: " + VIA)
