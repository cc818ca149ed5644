"""The proxy that bad messages are sent to, and the end of its log."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from haproxy.testing.authority import Authority
from haproxy.testing.genproxy import Genproxy, Settings, own_host
from haproxy.testing.place import Place
from haproxy.testing.sender import Sink

USERS = ("watson", "user", "j.user", "null-\0-null")
SUBSCRIBERS = {"5000": "phone-secret", "genesis_a": "trunk-secret"} | {
    f"{user}@example.com": "unused" for user in USERS
}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    folder, listed, host = tmp_path_factory.mktemp("bad"), own_host(), own_host()
    authority = Authority(folder / "pki")
    key, certificate = authority.issue("proxy", [host])
    section = {
        "tlsDomain": "default",
        "tlsRole": "server",
        "tlsPrivateKey": key,
        "tlsCertificate": certificate,
    }
    rules: dict[str, bool | list[str]] = {
        "enableTLS": True,
        "enableAntiFlood": False,
        "enableAstFailover": False,
        "proxyList": [listed],
    }
    system: dict[str, str | list[str]] = {"tlsKeyPath": str(authority.folder), "alias": ["example.com"]}
    settings: Settings = {"system": system, "proxy": rules}
    with (
        Genproxy(
            folder / "proxy", host=host, settings=settings, subscribers=SUBSCRIBERS, tables={"tls": [section]}
        ) as proxy,
        Sink() as sink,
    ):
        yield Place(proxy, listed, sink)
        assert not re.search(r"Traceback|\| (CRIT|ERROR) \|", proxy.daemon.text), proxy.daemon.output[-3000:]
        assert len([line for line in proxy.daemon.output.splitlines() if listed in line]) < 12
        assert proxy.daemon.stop() < 2.0
