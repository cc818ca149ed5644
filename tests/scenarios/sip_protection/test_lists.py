"""denyList, allowList and proxyList: changed while the proxy runs, shown, mirrored (guide 7.1.11-7.1.13)."""

from __future__ import annotations

import sqlite3
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from haproxy.testing.genproxy import Genproxy, own_host
from haproxy.testing.stranger import Stranger

OK = "SIP/2.0 200 OK"
FRIEND, PEER, FOE = own_host(), own_host(), own_host()


@pytest.fixture
def proxy(tmp_path: Path) -> Iterator[Genproxy]:
    lists: dict[str, str | int | bool | list[str]] = {
        "denyList": [f"{FOE}, {FRIEND}:5999"],
        "allowList": [FOE, f"{FRIEND}/255.255.255.255"],
        "proxyList": [f"{PEER}/32"],
    }
    system: dict[str, str | int | bool | list[str]] = {"privatePing": "127.0.0.1"}
    node: dict[str, str | int | bool | list[str]] = {
        "nodeID": 1,
        "nodeName": "alpha",
        "privateIP": "127.9.9.9",
    }
    settings = {"system": system, "proxy": lists}
    with Genproxy(tmp_path / "proxy", settings=settings, tables={"nodes": [node]}) as running:
        yield running


def rows(proxy: Genproxy) -> set[tuple[int, str, int, int]]:
    """Kamailio's table."""
    with sqlite3.connect(proxy.state / "genproxy.db") as connection:
        return set(connection.execute("SELECT grp, ip_addr, mask, port FROM address"))


def test_what_the_lists_do_and_show(proxy: Genproxy) -> None:
    """Also that a denied source is heard neither for its allowList nor at one port only."""
    with (
        Stranger(FRIEND) as friend,
        Stranger(FRIEND, 5999) as again,
        Stranger(PEER) as peer,
        Stranger(FOE) as foe,
        Stranger("127.9.9.9") as node,
    ):
        for denied in (foe, again):
            denied.send(proxy.host)
        assert [each.ask(proxy.host) for each in (friend, peer, node)] == [OK] * 3
        assert foe.heard() == again.heard() == []

    shown = proxy.reply("show lists")
    assert {(row["list"], row["entry"], row["origin"]) for row in shown} == {
        ("denyList", FOE, "settings"),
        ("denyList", f"{FRIEND}:5999", "settings"),
        ("allowList", FOE, "settings"),
        ("allowList", FRIEND, "settings"),
        ("allowList", "127.9.9.9", "node alpha"),
        ("proxyList", PEER, "settings"),
    }
    checked = proxy.reply("check address", address=f"{FRIEND}:5999")
    hit = {row["check"]: row["reason"] for row in checked if row["result"] == "yes"}
    assert hit == {"denyList": f"{FRIEND}:5999 (settings)", "allowList": f"{FRIEND} (settings)"}
    for words in (["check", "address", "127.0.0.0/8"], ["show", "lists", "x"]):
        with pytest.raises(subprocess.CalledProcessError) as refused:
            proxy.cli(*words)
        assert "Traceback" not in refused.value.stderr
    assert rows(proxy) == {
        (2, FOE, 32, 0),
        (2, FRIEND, 32, 5999),
        (1, FOE, 32, 0),
        (1, FRIEND, 32, 0),
        (1, "127.9.9.9", 32, 0),
        (3, PEER, 32, 0),
    }


def test_changes_while_it_runs(proxy: Genproxy) -> None:
    with Stranger(FRIEND) as friend, Stranger(FOE) as foe:
        assert "proxy.denyList" in proxy.change(f'"{FOE}, {FRIEND}:5999"', f'"{FRIEND}"')
        friend.send(proxy.host)
        assert foe.ask(proxy.host) == OK
        assert friend.heard() == []
        proxy.daemon.wait_until(lambda: (2, FRIEND, 32, 0) in rows(proxy))
        assert (2, FOE, 32, 0) not in rows(proxy)

        with pytest.raises(subprocess.CalledProcessError) as refused:
            proxy.change(f'["{FRIEND}"]', f'["{FRIEND}/33", "nonsense"]')
        assert f"'{FRIEND}/33' is not an IP network" in refused.value.stderr
        assert "nonsense" in refused.value.stderr
        friend.send(proxy.host)
        assert foe.ask(proxy.host) == OK
        assert friend.heard() == []
