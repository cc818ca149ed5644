"""Types of settings."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from rtlib.settings.types import (
    Entry,
    ListenPort,
    Port,
    parse_duration,
    parse_entry,
    parse_host,
    parse_host_port,
    parse_ip,
    parse_network,
)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("30", 30), (30, 30), ("1.5s", 1.5), ("250ms", 0.25), ("5 m", 300), ("2h", 7200), ("1d", 86400)],
)
def test_durations(text: object, seconds: float) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize("text", ["", "-1", "5 weeks", "nan", True, "1e9", "m"])
def test_what_is_no_duration(text: object) -> None:
    with pytest.raises(ValueError, match="is not a duration"):
        parse_duration(text)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("192.0.2.1:5060", "192.0.2.1:5060"),
        ("192.0.2.1/24", "192.0.2.0/24"),
        ("192.0.2.1:5060/24", "192.0.2.0:5060/24"),
        ("192.0.2.1/255.255.255.0", "192.0.2.0/24"),
        ("2001:db8::1", "[2001:db8::1]"),
        ("2001:db8::/32", "[2001:db8::]/32"),
        ("[2001:DB8::1]:5060/64", "[2001:db8::]:5060/64"),
    ],
)
def test_list_entries(text: str, shown: str) -> None:
    assert str(parse_entry(text)) == shown


@pytest.mark.parametrize(
    "text",
    [
        "",
        "x",
        "24",
        "192.0.2.1:0",
        "192.0.2.1:70000",
        "192.0.2.1/33",
        "[::1",
        "::1]:5",
        "[::1]/255.255.255.0",
    ],
)
def test_what_is_no_list_entry(text: str) -> None:
    with pytest.raises(ValueError, match=r"is not an|port that is not"):
        parse_entry(text)


@pytest.mark.parametrize("mask", ["0.0.0.255", "255.0.255.0", "255.255.255"])
def test_what_is_no_subnet_mask(mask: str) -> None:
    with pytest.raises(ValueError, match=f"10.0.0.0/{mask}"):
        parse_entry(f"10.0.0.0/{mask}")


@given(st.ip_addresses(), st.none() | st.integers(1, 65535), st.integers(0, 32))
def test_the_text_of_a_list_entry_reads_back(address: object, port: int | None, prefix: int) -> None:
    entry = Entry(parse_network(f"{address}/{prefix}"), port)
    assert parse_entry(str(entry)) == entry


def test_hosts_and_addresses() -> None:
    assert parse_ip("[::0001]") == "::1"
    assert parse_host("sip.example.com") == "sip.example.com"
    assert str(parse_host_port("[::1]:0")) == "[::1]:0"
    assert str(parse_host_port("localhost:80")) == "localhost:80"
    for bad in ("1.2.3", "-x.de", "a b", "", "1.2.3.4.5", "a..b"):
        with pytest.raises(ValueError, match="neither an IP address nor a host name"):
            parse_host(bad)
    for bad in ("host", "host:", "host:x", "host:65536"):
        with pytest.raises(ValueError, match="is not HOST:PORT"):
            parse_host_port(bad)


def test_port_zero_is_for_listening_only() -> None:
    assert TypeAdapter(ListenPort).validate_python(0) == 0
    with pytest.raises(ValidationError):
        TypeAdapter(Port).validate_python(0)
