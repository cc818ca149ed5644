"""What the proxy calls itself: to peers (guide 7.1.1, 7.1.2), and to its operator (3.1)."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from haproxy.testing.call import Refused
from haproxy.testing.genesis import Genesis
from haproxy.testing.genproxy import Genproxy, Value
from haproxy.testing.provider import PASSWORD, REALM, USER, Provider
from haproxy.testing.sipp import Sipp
from haproxy.testing.sipsak import last_response, register, sipsak
from haproxy.testing.stage import SUBSCRIBERS, Stage, play
from rtlib.testing.daemon import wait_until

CALLER = Path(__file__).parents[1] / "sip_sipp" / "caller.xml"
KAMAILIOS = re.compile(r"genproxy \(\d+\.\d+\.\d+ \(\w+/linux\)\)")
"""Kamailio's form: `kamailio (5.6.3 (x86_64/linux))`."""

NAMES = {"": "Genesis Proxy", "None": None, "kamDefault": KAMAILIOS, "Night Watch/7": "Night Watch/7"}
"""Values of both keys, and what peers see."""


def header(name: str, message: str) -> str | None:
    found = re.search(rf"^{name}: (.*)$", message, re.MULTILINE)
    return found[1] if found else None


def is_as_wanted(seen: str | None, wanted: str | re.Pattern[str] | None) -> bool:
    return bool(seen and wanted.fullmatch(seen)) if isinstance(wanted, re.Pattern) else seen == wanted


def requests(messages: str, method: str) -> list[str]:
    """Those of this method in what SIPp has traced."""
    return re.findall(rf"^{method} \S+ SIP/2\.0\n.*?\n\n", messages, re.MULTILINE | re.DOTALL)


@pytest.mark.peer("sipsak", "sipp")
@pytest.mark.parametrize("value", NAMES)
def test_server_header(tmp_path: Path, value: str) -> None:
    """Of replies of its own, accepting ones and others; what Genesis replies is left as it is."""
    keys: dict[str, Value] = {"serverHeader": value, "allowList": ["127.0.0.0/8"], "enableAstFailover": False}
    with (
        Genproxy(tmp_path / "proxy", settings={"proxy": keys}, subscribers=SUBSCRIBERS) as proxy,
        Genesis(tmp_path, (proxy.host, proxy.port), "genesis_a") as genesis,
    ):
        own = [
            last_response(sipsak("-s", f"sip:{proxy.server}")),
            register(proxy.host, "5000"),
            register(proxy.host, "nobody"),
            register(proxy.host, "5000", expires=1),
        ]
        assert [each.split()[1] for each in own] == ["200", "200", "403", "423"]
        genesis.hang()
        with Sipp(tmp_path, CALLER, proxy.server, user="5000", arguments=["-d", "100"]) as caller:
            wait_until(lambda: "SIP/2.0 100 Trying" in caller.messages)
            genesis.go_on()
            caller.finish()
            replies = re.findall(r"^SIP/2\.0 .*?\n\n", caller.messages, re.MULTILINE | re.DOTALL)
        trying = [each for each in replies if each.startswith("SIP/2.0 100 ")]
        assert len(replies) > len(trying) > 0
        for each in own + trying:
            assert is_as_wanted(header("Server", each), NAMES[value]), each
        assert all(header("Server", each) is None for each in replies if each not in trying)


@pytest.mark.peer("sipp", "kamailio")
@pytest.mark.parametrize("value", NAMES)
def test_user_agent(tmp_path: Path, value: str) -> None:
    """Of its own requests: queries, registrations, the ACK of a refusal; a caller's is left as it is."""

    async def story(stage: Stage) -> None:
        with pytest.raises(Refused, match="500"):
            await stage.within(stage.phone("5000").call(stage.uri("100")))

    with Provider(tmp_path / "provider") as provider:
        line = {"l_uuid": "line", "l_username": "100", "l_domain": "home.test", "r_username": "alice"}
        line |= {"r_domain": REALM, "auth_username": USER, "auth_password": PASSWORD}
        line |= {"auth_proxy": f"sip:{provider.host}"}
        proxy = Genproxy(
            tmp_path / "proxy",
            settings={"proxy": {"userAgent": value, "astPingInterval": 1}},
            subscribers=SUBSCRIBERS,
            tables={"outbound_registrations": [line]},
        )
        with (
            proxy,
            Genesis(tmp_path, (proxy.host, proxy.port), "genesis_a", "unavailable", trace=True) as genesis,
        ):
            play(proxy, story)
            wait_until(lambda: requests(genesis.messages, "OPTIONS") and provider.agents)
            made = [requests(genesis.messages, method)[0] for method in ("OPTIONS", "ACK")]
            for agent in (*(header("User-Agent", each) for each in made), *provider.agents):
                assert is_as_wanted(agent, NAMES[value]), agent
            (called,) = requests(genesis.messages, "INVITE")[:1]
            assert header("User-Agent", called) == "test-phone/0.1"


@pytest.mark.parametrize("keys", [{}, {"systemName": "east-1"}])
def test_system_name(tmp_path: Path, keys: dict[str, str]) -> None:
    proxy = Genproxy(tmp_path / "proxy", settings={"system": keys})
    heard = tmp_path / "heard"
    script = proxy.state / "scripts" / "notify.sh"
    script.parent.mkdir()
    script.write_text(f'#!/bin/sh\necho "$1: $2" >> {heard}\n')
    script.chmod(0o700)
    with proxy:
        name = keys.get("systemName", "genproxysa")
        wait_until(lambda: heard.exists() and f"genproxy: {name} started" in heard.read_text())
