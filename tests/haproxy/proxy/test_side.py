"""Which side an address is reached from."""

from ipaddress import ip_network

import pytest

from haproxy.proxy.side import Side, Sides, flow_to
from rtlib.address import pack

PRIVATE = Side("private", 0, "10.0.0.1", 5060, "10.0.0.1", 5060, "10.0.0.1", ip_network("10.0.0.0/24"))
PUBLIC = Side("public", 1, "10.0.1.1", 5070, "sip.example", 5060, "203.0.113.1")
SIX = Side("public", 1, "2001:db8::1", 5060, "2001:db8::1", 5060, "2001:db8::1")


@pytest.mark.parametrize(
    ("host", "side"), [("10.0.0.99", PRIVATE), ("198.51.100.1", PUBLIC), ("10.0.1.7", PUBLIC)]
)
def test_two_sides(host: str, side: Side) -> None:
    assert Sides([PRIVATE, PUBLIC]).towards(pack(host, 5060)) is side


def test_one_side_reaches_all() -> None:
    assert Sides([PRIVATE]).towards(pack("198.51.100.1", 5060)) is PRIVATE


def test_the_kind_of_address_decides_first() -> None:
    sides = Sides([PRIVATE, SIX])
    assert sides.towards(pack("2001:db8::9", 5060)) is SIX
    assert sides.towards(pack("198.51.100.1", 5060)) is PRIVATE
    assert not PRIVATE.speaks(pack("::1", 1))


def test_sockets_have_numbers() -> None:
    sides = Sides([PRIVATE, PUBLIC])
    for side in sides:
        for transport in ("udp", "tcp", "tls"):
            assert sides.of(side.local(transport)) is side
    assert flow_to(PUBLIC, "tcp", b"x").local == 4


def test_sent_by() -> None:
    assert PUBLIC.sent_by == b"sip.example:5060"
    assert SIX.sent_by == b"[2001:db8::1]:5060"
    assert Sides([PRIVATE, PUBLIC]).named(b"sip.example:5060") is PUBLIC
