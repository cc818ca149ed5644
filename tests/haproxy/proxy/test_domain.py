"""Which domains are the proxy's own."""

import pytest

from haproxy.proxy.domain import Domains
from haproxy.sip.uri import parse

DOMAINS = Domains([("192.0.2.1", 5060), ("Sip.Example", 5070), ("2001:db8::1", 5060)])


@pytest.mark.parametrize(
    ("uri", "own"),
    [
        (b"sip:5000@192.0.2.1", True),
        (b"sip:192.0.2.1:5060", True),
        (b"sip:5000@192.0.2.1:5080", False),
        (b"sip:5000@SIP.example", True),
        (b"sip:5000@sip.example:5070", True),
        (b"sip:5000@[2001:db8::1]", True),
        (b"sip:5000@[2001:0DB8:0:0:0::1]:5060", True),
        (b"sip:5000@[2001:db8::1:5060]", False),
        (b"sip:5000@other.example", False),
        (b"tel:+4930", False),
    ],
)
def test_owns(uri: bytes, own: bool) -> None:
    assert DOMAINS.owns(parse(uri)) is own


def test_replacing() -> None:
    domains = Domains([("a.example", 5060)])
    domains.replace([("b.example", 5060)])
    assert list(domains.records_of(b"100")) == [b"100@b.example"]
