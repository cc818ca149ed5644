"""From `[[outbound_registrations]]` to what is sent: the guide's fields 12.2.1 to 12.2.14."""

from typing import Any

import pytest
from pydantic import ValidationError

from haproxy.network import sides_of
from haproxy.settings import Settings
from haproxy.uac.account import Account
from haproxy.uacconfig import accounts_of, contacts_of, retry_of, rows_of
from rtlib import digest

ENTRY = {
    "l_uuid": "line1", "l_username": "100", "l_domain": "home.example", "r_username": "alice",
    "r_domain": "provider.example", "auth_proxy": "sip:proxy.example",
}  # fmt: skip
TWO_SIDES = {"publicIP": "192.0.2.1"}
NAMED = {"publicIP": "sip.example", "alias": ["192.0.2.1"]}
MAPPED = {**NAMED, "mappedIP": "10.1.0.1", "mappedPort": 5070, "mappedPortTLS": 5071}


def settings_of(change: dict[str, Any], system: dict[str, Any], **proxy: Any) -> Settings:
    base = {"privateIP": "10.0.0.1", "privateSubnet": 24}
    tables = {"system": base | system, "proxy": {"enableTLS": True} | proxy}
    return Settings.model_validate(tables | {"outbound_registrations": [ENTRY | change]})


def account(change: dict[str, Any], system: dict[str, Any]) -> Account:
    settings = settings_of(change, system)
    (made,) = accounts_of(settings, sides_of(settings))
    return made


@pytest.mark.parametrize(
    ("system", "change", "contact"),
    [
        ({}, {}, b"sip:line1@10.0.0.1"),
        ({"privatePort": 5080}, {}, b"sip:line1@10.0.0.1:5080"),
        (TWO_SIDES, {}, b"sip:line1@192.0.2.1"),
        (TWO_SIDES | {"publicPort": 5080}, {}, b"sip:line1@192.0.2.1:5080"),
        (MAPPED, {}, b"sip:line1@sip.example"),
        (MAPPED | {"publicPort": 5080}, {}, b"sip:line1@sip.example:5080"),
        (TWO_SIDES, {"auth_proxy": "sips:p.example"}, b"sips:line1@192.0.2.1"),
        (TWO_SIDES, {"auth_proxy": "sip:p.example;transport=tls"}, b"sip:line1@192.0.2.1"),
        (TWO_SIDES | {"publicPortTLS": 5081}, {"auth_proxy": "sips:p"}, b"sips:line1@192.0.2.1:5081"),
        ({"publicIP": "2001:db8::1", "publicPort": 5080}, {}, b"sip:line1@[2001:db8::1]:5080"),
        ({}, {"reg_contact_addr": "nat.example:5090;lr"}, b"sip:line1@nat.example:5090;lr"),
        ({}, {"l_uuid": "line#1"}, b"sip:line%231@10.0.0.1"),
    ],
)  # fmt: skip
def test_contact(system: dict[str, Any], change: dict[str, Any], contact: bytes) -> None:
    assert account(change, system).contact == contact


@pytest.mark.parametrize(
    ("text", "hop"),
    [
        ("proxy.example", ("proxy.example", None, "udp", False)),
        ("sip:proxy.example:5070", ("proxy.example", 5070, "udp", False)),
        ("proxy.example:5070;transport=tcp", ("proxy.example", 5070, "tcp", False)),
        ("sip:192.0.2.9;transport=TLS", ("192.0.2.9", None, "tls", False)),
        ("sips:proxy.example", ("proxy.example", None, "tls", True)),
        ("[2001:db8::9]:5070", ("2001:db8::9", 5070, "udp", False)),
    ],
)
def test_auth_proxy(text: str, hop: tuple[Any, ...]) -> None:
    assert account({"auth_proxy": text}, TWO_SIDES).hop == hop


@pytest.mark.parametrize(
    ("socket", "proxy", "side", "transport"),
    [
        (None, "p", "public", "udp"),
        ("192.0.2.1", "p", "public", "udp"),
        ("10.0.0.1", "p", "private", "udp"),
        ("10.0.0.1:5060", "p", "private", "udp"),
        ("10.0.0.1:5061", "p", "private", "tls"),
        ("tls:10.0.0.1", "p", "private", "tls"),
        ("tls:10.0.0.1:5061", "sips:p", "private", "tls"),
        ("tcp:192.0.2.1", "p", "public", "tcp"),
        ("udp:192.0.2.1:5060", "p;transport=tcp", "public", "tcp"),  # one socket listens for both
        ("10.0.0.1", "p;transport=tls", "private", "tls"),
    ],
)
def test_socket(socket: str | None, proxy: str, side: str, transport: str) -> None:
    change = {"auth_proxy": proxy} | ({"socket": socket} if socket else {})
    found = account(change, TWO_SIDES)
    assert (found.side.name, found.hop.transport) == (side, transport)


def test_a_mapped_socket() -> None:
    for host in ("10.1.0.1", "10.1.0.1:5070", "tls:10.1.0.1:5071"):
        assert account({"socket": host}, MAPPED).side.name == "public"


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"socket": "10.9.9.9"}, "10.9.9.9 is no address of this system"),
        ({"socket": "10.0.0.1:5099"}, "no such socket at 10.0.0.1"),
        ({"socket": "tls:10.0.0.1:5060"}, "no such socket"),
        ({"socket": "udp:10.0.0.1:5061"}, "no such socket"),
        ({"socket": "tls:10.0.0.1", "auth_proxy": "p;transport=tcp"}, "is not for tcp"),
        ({"socket": "10.0.0.1:5060", "auth_proxy": "sips:p"}, "is not for tls"),
        ({"auth_proxy": "sip:p;transport=sctp"}, "transport other than udp, tcp and tls"),
        ({"auth_proxy": "sips:p;transport=udp"}, "sips is always TLS"),
        ({"auth_proxy": "http://p"}, "no SIP URI"),
        ({"auth_proxy": ""}, "no SIP URI"),
        ({"reg_contact_addr": "sip:nat.example"}, "must not begin with sip:"),
        ({"reg_contact_addr": "me@nat.example"}, "neither user nor headers"),
        ({"reg_contact_addr": "nat example"}, "not host"),
        ({"expires": 0}, "greater than or equal to 1"),
        ({"reg_delay": -1}, "greater than or equal to 0"),
        ({"auth_ha1": "xyz"}, "auth_ha1"),
        ({"l_uuid": "a b"}, "l_uuid"),
        ({"l_username": ""}, "l_username"),
    ],
)
def test_refused_by_name(change: dict[str, Any], reason: str) -> None:
    with pytest.raises(ValidationError, match=reason):
        settings_of(change, TWO_SIDES)


def test_tls_has_to_be_enabled() -> None:
    with pytest.raises(ValidationError, match=r"outbound_registrations line1: .* needs proxy.enableTLS"):
        settings_of({"auth_proxy": "sips:p"}, TWO_SIDES, enableTLS=False)


def test_two_of_one_name() -> None:
    base = {"privateIP": "10.0.0.1", "privateSubnet": 24}
    with pytest.raises(ValidationError, match="two entries of outbound_registrations have l_uuid line1"):
        Settings.model_validate({"system": base, "outbound_registrations": [ENTRY, ENTRY]})


def test_sips_is_sips_everywhere() -> None:
    found = account({"auth_proxy": "sips:p"}, TWO_SIDES)
    assert (found.registrar, found.aor) == (b"sips:provider.example", b"sips:alice@provider.example")


@pytest.mark.parametrize(
    ("interval", "expected"), [(0, None), (90, 90), (100, 90), (135, 180), (180, 180), (1000, 990)]
)
def test_retry(interval: int, expected: float | None) -> None:
    assert retry_of(settings_of({}, {}, regRetryInterval=interval)) == expected


def test_whom_calls_are_for() -> None:
    settings = settings_of({"l_domain": "Home.Example"}, TWO_SIDES)
    (contact,) = contacts_of(settings, sides_of(settings))
    assert contact.uri == b"sip:100@home.example"


def test_the_table_has_hashes() -> None:
    secret = {"realm": "provider.example", "auth_username": "auth", "auth_password": "open sesame"}
    (row,) = rows_of(settings_of(secret, TWO_SIDES))
    assert row["auth_ha1"] == digest.ha1("auth", "provider.example", "open sesame")
    assert "sesame" not in str(row)
    assert row["auth_proxy"] == "sip:proxy.example"
    (row,) = rows_of(settings_of({"auth_ha1": "A" * 32}, TWO_SIDES))
    assert (row["auth_ha1"], row["auth_username"]) == ("a" * 32, "alice")
    (row,) = rows_of(settings_of({"auth_password": "open sesame"}, TWO_SIDES))
    assert row["auth_ha1"] == ""  # its realm is not known
