from __future__ import annotations

import ipaddress
import socket
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtlib.address import join, pack, subnet, text, unpack

ports = st.integers(0, 65535)


@given(st.ip_addresses(v=4) | st.ip_addresses(v=6), ports)
def test_unpack_gives_what_was_packed(ip: ipaddress.IPv4Address | ipaddress.IPv6Address, port: int) -> None:
    mapped = getattr(ip, "ipv4_mapped", None)
    assert unpack(pack(str(ip), port)) == (str(mapped or ip), port)


@given(st.binary(max_size=40))
def test_any_bytes_are_an_address_or_a_value_error(data: bytes) -> None:
    try:
        host, port = unpack(data)
    except ValueError:
        return
    ipaddress.ip_address(host)
    assert 0 <= port <= 65535


@pytest.mark.parametrize(
    "family, host", [(socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")], ids=["ipv4", "ipv6"]
)
def test_the_bytes_are_the_kernels(family: socket.AddressFamily, host: str) -> None:
    address = pack(host, 5060)
    assert len(address) == {socket.AF_INET: 16, socket.AF_INET6: 28}[family]
    assert int.from_bytes(address[:2], sys.byteorder) == family
    assert address[2:4] == b"\x13\xc4"
    assert socket.inet_pton(family, host) in address


@pytest.mark.parametrize(
    "host, port",
    [("localhost", 1), ("", 1), ("1.2.3", 1), ("1.2.3.4", -1), ("1.2.3.4", 65536), ("fe80::1%eth0", 1)],
)
def test_what_is_not_an_address_is_refused(host: str, port: int) -> None:
    with pytest.raises(ValueError):
        pack(host, port)


def test_scope_mapped_and_text() -> None:
    assert unpack(pack("fe80::1%3", 9)) == ("fe80::1%3", 9)
    assert pack("fe80::1%3", 9) != pack("fe80::1", 9)
    assert unpack(pack("::ffff:1.2.3.4", 9)) == ("1.2.3.4", 9)
    assert text(pack("1.2.3.4", 5060)) == "1.2.3.4:5060"
    assert text(pack("2001:db8::1", 5060)) == "[2001:db8::1]:5060"
    assert join("example.org", 1) == "example.org:1"


@pytest.mark.parametrize(
    ("host", "place"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("2001:db8:1:2:3::4", "2001:db8:1:2::/64"),
        ("fe80::1%2", "fe80::/64"),
    ],
)
def test_what_one_subscriber_has(host: str, place: str) -> None:
    assert subnet(host) == place
