"""Lists of addresses."""

from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from haproxy.protection.accesslist import AccessList, Lists
from rtlib.address import Address, pack
from rtlib.settings.types import Entry, parse_entry, parse_network


def listed(*texts: str) -> AccessList:
    return AccessList([parse_entry(text) for text in texts])


def found(entries: AccessList, host: str, port: int = 5060) -> str:
    entry = entries.find(pack(host, port))
    return "" if entry is None else str(entry)


@pytest.mark.parametrize(
    ("entry", "inside", "outside"),
    [
        ("192.0.2.9", "192.0.2.9", "192.0.2.8"),
        ("192.0.2.0/24", "192.0.2.255", "192.0.3.0"),
        ("192.0.2.77/255.255.255.0", "192.0.2.1", "192.0.1.255"),
        ("0.0.0.0/0", "255.1.2.3", "2001:db8::1"),
        ("2001:db8::/32", "2001:db8:ffff::1", "2001:db9::1"),
        ("[2001:db8::1]", "2001:db8::1", "2001:db8::2"),
        ("::/0", "2001:db8::2", "192.0.2.1"),
        ("::ffff:192.0.2.0/120", "192.0.2.1", "192.0.3.1"),
    ],
)
def test_networks(entry: str, inside: str, outside: str) -> None:
    entries = listed(entry)
    assert pack(inside, 1) in entries
    assert pack(outside, 1) not in entries


def test_an_ipv4_address_that_came_by_ipv6() -> None:
    assert pack("::ffff:192.0.2.9", 5060) in listed("192.0.2.0/24")
    assert pack("::ffff:192.0.2.9", 5060) not in listed("::/0")


def test_a_port() -> None:
    entries = listed("192.0.2.0:5070/24")
    assert found(entries, "192.0.2.1", 5070) == "192.0.2.0:5070/24"
    assert found(entries, "192.0.2.1", 5060) == ""


def test_the_longest_prefix_is_the_reason() -> None:
    entries = listed("192.0.2.0/24", "192.0.0.0/16", "192.0.2.9:5060", "192.0.2.9")
    assert found(entries, "192.0.2.9", 5060) == "192.0.2.9:5060"
    assert found(entries, "192.0.2.9", 5061) == "192.0.2.9"
    assert found(entries, "192.0.2.8") == "192.0.2.0/24"
    assert found(entries, "192.0.3.8") == "192.0.0.0/16"


def test_a_wider_network_counts_where_a_narrower_one_has_another_port() -> None:
    assert found(listed("192.0.2.9:5070", "192.0.2.0/24"), "192.0.2.9", 5060) == "192.0.2.0/24"


def test_what_is_no_address_is_on_no_list() -> None:
    assert b"" not in listed("0.0.0.0/0", "::/0")
    assert b"x" * 20 not in listed("0.0.0.0/0", "::/0")


def test_replacing_and_origins() -> None:
    node = parse_entry("192.0.2.3")
    entries = AccessList([parse_entry("192.0.2.9")], {node: "node alpha"})
    assert [(str(entry), origin) for entry, origin in entries] == [
        ("192.0.2.3", "node alpha"),
        ("192.0.2.9", "settings"),
    ]
    assert entries.origin(node) == "node alpha"
    entries.replace([])
    assert pack("192.0.2.9", 1) not in entries
    assert len(entries) == 0


def test_what_is_written_is_not_said_to_be_automatic() -> None:
    node = parse_entry("192.0.2.3")
    assert list(AccessList([node], {node: "node alpha"})) == [(node, "settings")]


def test_rows_for_kamailio() -> None:
    lists = Lists(
        listed("192.0.2.9:5070"), AccessList([], {parse_entry("2001:db8::1"): "node a"}), listed("10.0.0.0/8")
    )
    assert lists.rows() == [
        {"grp": 2, "ip_addr": "192.0.2.9", "mask": 32, "port": 5070, "tag": "denyList settings"},
        {"grp": 1, "ip_addr": "2001:db8::1", "mask": 128, "port": 0, "tag": "allowList node a"},
        {"grp": 3, "ip_addr": "10.0.0.0", "mask": 8, "port": 0, "tag": "proxyList settings"},
    ]


def entry_of(address: object, prefix: int, port: int | None) -> Entry:
    return Entry(parse_network(f"{address}/{prefix}"), port)


def plain(address: object) -> bool:
    """Not an IPv4 address in the clothes of an IPv6 one."""
    return getattr(address, "ipv4_mapped", None) is None


ENTRIES = st.builds(
    entry_of,
    st.integers(0, 2**32 - 1).map(ip_address),
    st.integers(0, 32),
    st.none() | st.integers(1, 3),
) | st.builds(entry_of, st.ip_addresses(v=6).filter(plain), st.integers(0, 128), st.none())


@given(st.lists(ENTRIES, max_size=8), st.data())
def test_it_agrees_with_a_search_one_by_one(entries: list[Entry], data: st.DataObject) -> None:
    near = [st.just(entry.network.network_address) for entry in entries]
    host = data.draw(st.one_of(st.ip_addresses(), *near).filter(plain))
    port = data.draw(st.integers(1, 3))
    address: Address = pack(str(host), port)
    expected = any(host in entry.network and entry.port in {None, port} for entry in entries)
    assert (address in AccessList(entries)) is expected
