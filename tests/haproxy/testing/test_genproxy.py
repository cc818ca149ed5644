"""The configuration that tests and the demonstration write is read back as it was meant."""

import tomllib
from ipaddress import ip_address

from haproxy.testing.genproxy import own_host, toml


def test_what_is_written_is_toml() -> None:
    text = toml(
        {
            "system": {"privateIP": "127.0.0.1", "privatePort": 5060},
            "proxy": {"enableNAT": True, "denyList": ["a", "b"]},
        },
        {"5000@127.0.0.1": 'with "quotes" and \\'},
    )
    assert tomllib.loads(text) == {
        "system": {"privateIP": "127.0.0.1", "privatePort": 5060},
        "proxy": {"enableNAT": True, "denyList": ["a", "b"]},
        "subscribers": [{"username": "5000", "domain": "127.0.0.1", "password": 'with "quotes" and \\'}],
    }


def test_addresses_are_loopback_and_differ() -> None:
    hosts = {own_host() for _ in range(50)}
    assert len(hosts) > 45
    assert all(ip_address(host).is_loopback for host in hosts)
