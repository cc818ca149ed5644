"""Outbound registrations at Debian's Kamailio as a SIP provider: it challenges, goes away, calls us."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from haproxy.testing.genproxy import Genproxy, own_host
from haproxy.testing.phone import Phone
from haproxy.testing.provider import PASSWORD, REALM, USER, Provider
from haproxy.testing.stage import SUBSCRIBERS, Stage, play
from rtlib import digest
from rtlib.testing.daemon import wait_until

pytestmark = pytest.mark.peer("kamailio")

HA1 = digest.ha1(USER, REALM, PASSWORD)


def entry(provider: Provider, **more: Any) -> dict[str, Any]:
    """A registration that this provider accepts."""
    return {
        "l_uuid": "line1",
        "l_username": "100",
        "l_domain": "home.test",
        "r_username": "alice",
        "r_domain": REALM,
        "realm": REALM,
        "auth_username": USER,
        "auth_password": PASSWORD,
        "auth_proxy": f"sip:{provider.host}",
    } | more


def row(proxy: Genproxy, uuid: str = "line1") -> dict[str, Any]:
    """What `show registrations` says of one."""
    (found,) = json.loads(proxy.cli("--json", "show", "registrations", uuid))
    return dict(found)


def until(proxy: Genproxy, state: str, uuid: str = "line1") -> dict[str, Any]:
    """Wait for a state; the row."""
    wait_until(lambda: row(proxy, uuid)["state"] == state, 15, f"{uuid} {state}")
    return row(proxy, uuid)


@pytest.fixture
def genproxy(tmp_path: Path) -> Callable[..., Genproxy]:
    """Makes a proxy with these registrations; settings by table."""

    def make(*entries: dict[str, Any], **settings: Any) -> Genproxy:
        tables: Any = {"outbound_registrations": entries}
        return Genproxy(tmp_path / "proxy", settings=settings, subscribers=SUBSCRIBERS, tables=tables)

    return make


@pytest.mark.parametrize(
    ("algorithm", "challenges_as_proxy", "secret"),
    [
        ("MD5", False, {}),
        ("MD5", True, {"auth_password": "", "auth_ha1": HA1}),
        ("SHA-256", False, {"auth_ha1": "0" * 32}),
    ],
)
def test_it_registers_and_ends_its_registration(
    tmp_path: Path,
    genproxy: Callable[..., Genproxy],
    algorithm: str,
    challenges_as_proxy: bool,
    secret: dict[str, str],
) -> None:
    with Provider(tmp_path / "provider", algorithm=algorithm, proxy=challenges_as_proxy) as provider:
        with genproxy(entry(provider, **secret)) as proxy:
            found = until(proxy, "registered")
            assert found["code"] == 200
            assert 3500 < found["expires"] <= 3600
            assert 2800 < found["next"] < 3300
            assert proxy.metric("outbound_registrations", 'state="registered"') == 1
            assert proxy.metric("outbound_registration_attempts_total", 'code="200"') == 1
            assert "registration line1 (sip:alice@provider.test)" in proxy.daemon.text
            assert "is registered for 3600 s" in proxy.daemon.text
            proxy.daemon.stop()
            assert "registration line1" in proxy.daemon.text.rpartition("is ended")[0]
            for word in (PASSWORD, HA1, "Traceback"):
                assert word not in proxy.daemon.text
        sent = [line.split() for line in provider.registers]
        assert [words[4] for words in sent] == ["3600", "3600", "0"]  # challenged, accepted, ended
        assert len({words[5] for words in sent}) == 1  # one Call-ID
        assert [words[6] for words in sent] == ["1", "2", "3"]


def test_calls_of_the_provider(tmp_path: Path, genproxy: Callable[..., Genproxy]) -> None:
    with Provider(tmp_path / "provider") as provider:
        host = own_host()

        async def story(stage: Stage) -> None:
            (genesis,) = await stage.registered("genesis_a")
            (phone,) = await stage.registered("5000")
            caller = Phone(stage.reactor, "caller", (provider.host, 5060), host=host, answering=True)
            stage.keep(caller)
            # l_username@l_domain is nobody here: Genesis gets the call under that name.
            call, answered = await stage.connect(caller, f"sip:alice@{provider.host}", genesis)
            assert answered.invite is not None
            assert answered.invite.uri == b"sip:100@home.test"
            await stage.hang_up(answered, call)
            # l_username@l_domain is a phone here.
            call, answered = await stage.connect(caller, f"sip:bob@{provider.host}", phone)
            await stage.hang_up(call, answered)

        second = {"l_uuid": "line2", "r_username": "bob", "l_username": "5000"}
        with genproxy(entry(provider)) as proxy:
            text = proxy.config.read_text()
            both = [entry(provider), entry(provider, **second, l_domain=proxy.host)]
            added = "".join(f"[[outbound_registrations]]\n{lines(each)}\n" for each in both[1:])
            proxy.config.write_text(text + added)
            assert "outbound_registrations" in proxy.cli("reload")
            for uuid in ("line1", "line2"):
                until(proxy, "registered", uuid)
            play(proxy, story)
            assert "Traceback" not in proxy.daemon.text


def lines(values: dict[str, Any]) -> str:
    """Keys and values of a table of genproxy.toml."""
    return "".join(f"{key} = {json.dumps(value)}\n" for key, value in values.items())


def test_the_provider_goes_away_and_comes_back(tmp_path: Path, genproxy: Callable[..., Genproxy]) -> None:
    with Provider(tmp_path / "provider") as provider, genproxy(entry(provider)) as proxy:
        until(proxy, "registered")
        provider.stop()
        assert "is being tried" in proxy.cli("refresh", "registration", "line1")
        found = until(proxy, "failed")
        assert (found["code"], found["reason"]) == (503, "cannot be reached: connection refused")
        assert 150 < found["next"] <= 180  # regRetryInterval
        assert proxy.metric("outbound_registration_attempts_total", 'code="unreachable"') == 1
        provider.start()
        proxy.cli("refresh", "registration", "line1")
        until(proxy, "registered")
        told = [line for line in proxy.daemon.text.splitlines() if "registration line1" in line]
        assert len(told) == 3


def test_the_table_of_kamailio(tmp_path: Path, genproxy: Callable[..., Genproxy]) -> None:
    with Provider(tmp_path / "provider") as provider, genproxy(entry(provider)) as proxy:
        query = "SELECT l_uuid, r_username, realm, auth_password, auth_ha1, auth_proxy, expires FROM uacreg"
        with sqlite3.connect(proxy.state / "genproxy.db") as database:
            found = list(database.execute(query))
        assert found == [("line1", "alice", REALM, "", HA1, f"sip:{provider.host}", 3600)]
