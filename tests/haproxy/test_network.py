"""From the settings to sides and sockets."""

import socket
from typing import Any

import pytest

from haproxy.network import bind_all, bind_control, bind_media, names_of, sides_of
from haproxy.settings import Settings
from rtlib.listen import ListenError, bind_datagram


def settings_of(tls: Any = False, **keys: Any) -> Settings:
    system = {"privateIP": "127.0.0.1", "privateSubnet": 24} | keys
    return Settings.model_validate({"system": system, "proxy": {"enableTLS": tls}})


def shape(**keys: Any) -> list[tuple[str, str, int, str, int, str]]:
    sides = sides_of(settings_of(**keys))
    return [(s.name, s.host, s.port, s.shown_host, s.shown_port, s.media_host) for s in sides]


PRIVATE = ("private", "127.0.0.1", 5060, "127.0.0.1", 5060, "127.0.0.1")


@pytest.mark.parametrize(
    ("keys", "sides"),
    [
        ({}, [PRIVATE]),
        (
            {"publicIP": "203.0.113.1"},
            [PRIVATE, ("public", "203.0.113.1", 5060, "203.0.113.1", 5060, "203.0.113.1")],
        ),
        (
            {"publicIP": "203.0.113.1", "publicPort": 5080, "mappedIP": "10.0.1.1", "mappedPort": 5070},
            [PRIVATE, ("public", "10.0.1.1", 5070, "203.0.113.1", 5080, "203.0.113.1")],
        ),
        (
            {"publicIP": "sip.example", "mappedIP": "10.0.1.1", "alias": ["x.example", "203.0.113.1:5070"]},
            [PRIVATE, ("public", "10.0.1.1", 5060, "sip.example", 5060, "203.0.113.1")],
        ),
        (
            {"publicIP": "203.0.113.1", "mappedIP": "127.0.0.1"},
            [("private", "127.0.0.1", 5060, "203.0.113.1", 5060, "203.0.113.1")],
        ),
    ],
)
def test_sides(keys: Any, sides: Any) -> None:
    assert shape(**keys) == sides


def test_names() -> None:
    keys = {"publicIP": "203.0.113.1", "mappedIP": "10.0.1.1", "mappedPort": 5070}
    names = names_of(settings_of(alias=["a.example", "b.example:5090", "2001:db8::1"], **keys))
    assert names == [
        ("127.0.0.1", 5060),
        ("203.0.113.1", 5060),
        ("10.0.1.1", 5070),
        ("a.example", 5060),
        ("b.example", 5090),
        ("2001:db8::1", 5060),
    ]


def test_a_port_in_use_names_its_setting() -> None:
    taken = bind_datagram("127.0.0.1", 0)
    port = taken.getsockname()[1]
    settings = Settings.model_validate(
        {"system": {"privateIP": "127.0.0.1", "privateSubnet": 8, "privatePort": port}}
    )
    try:
        with pytest.raises(ListenError, match=f"privatePort 127.0.0.1:{port}: address already in use"):
            list(bind_all(settings, sides_of(settings)))
    finally:
        taken.close()


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_type_of_service(host: str) -> None:
    sock = bind_media(host, 0, 184)
    level, option = (
        (socket.IPPROTO_IPV6, socket.IPV6_TCLASS) if ":" in host else (socket.IPPROTO_IP, socket.IP_TOS)
    )
    assert sock.getsockopt(level, option) == 184
    sock.close()


@pytest.mark.parametrize(
    ("keys", "places"),
    [
        ({}, [(5061, b"127.0.0.1:5061")]),
        (
            {"publicIP": "203.0.113.1", "publicPortTLS": 443},
            [(5061, b"127.0.0.1:5061"), (443, b"203.0.113.1:443")],
        ),
        (
            {
                "publicIP": "sip.example",
                "alias": ["203.0.113.1"],
                "publicPortTLS": 443,
                "mappedIP": "10.0.1.1",
                "mappedPortTLS": 5071,
            },
            [(5061, b"127.0.0.1:5061"), (5071, b"sip.example:443")],
        ),
        # The hairpin case, for everything (guide 3.12), and for TLS alone.
        ({"publicIP": "203.0.113.1", "mappedIP": "127.0.0.1"}, [(5061, b"203.0.113.1:5061")]),
        (
            {"publicIP": "203.0.113.1", "mappedIP": "127.0.0.1", "mappedPort": 5070},
            [(None, b"127.0.0.1:5061"), (5061, b"203.0.113.1:5061")],
        ),
    ],
)
def test_tls_ports(keys: Any, places: Any) -> None:
    sides = sides_of(settings_of(tls=True, **keys))
    assert [(side.tls_port, side.sent_by_of("tls")) for side in sides] == places
    assert sides.speak("tls")
    assert not sides_of(settings_of(**keys)).speak("tls")


def test_names_have_the_tls_ports_too() -> None:
    names = names_of(settings_of(tls=True, publicIP="203.0.113.1", publicPortTLS=443))
    assert names[2:] == [("127.0.0.1", 5061), ("203.0.113.1", 443)]


@pytest.mark.parametrize(
    ("socket", "place"),
    [
        ("192.0.2.250", "192.0.2.250:80"),
        ("tcp:192.0.2.250", "192.0.2.250:80"),
        ("tls:192.0.2.250", "192.0.2.250:443"),
        ("tls:192.0.2.250:8443", "192.0.2.250:8443"),
        ("tcp:[2001:db8::250]", r"\[2001:db8::250\]:80"),
        ("[2001:db8::250]:8080", r"\[2001:db8::250\]:8080"),
    ],
)
def test_where_the_dispatcher_is_controlled(socket: str, place: str) -> None:
    """An address that is not ours, so that nothing is bound, whoever runs this."""
    system = {"privateIP": "192.0.2.1", "privateSubnet": 24}
    settings = Settings.model_validate({"system": system, "proxy": {"dispatchListenSock": [socket]}})
    with pytest.raises(ListenError, match=f"^dispatchListenSock {place}: "):
        list(bind_control(settings))
