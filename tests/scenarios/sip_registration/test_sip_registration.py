"""Outbound registrations at Debian's Kamailio as a SIP provider: it challenges, goes away, calls us."""

from __future__ import annotations

import sqlite3
import subprocess
from pathlib import Path
from typing import Any

import pytest

from haproxy.testing.genproxy import own_host
from haproxy.testing.phone import Phone
from haproxy.testing.provider import PASSWORD, REALM, USER, Provider
from haproxy.testing.stage import Stage, play
from rtlib import digest
from rtlib.testing.daemon import wait_until

pytestmark = pytest.mark.peer("kamailio")

HA1 = digest.ha1(USER, REALM, PASSWORD)


@pytest.mark.parametrize(
    ("algorithm", "challenges_as_proxy", "secret"),
    [
        ("MD5", True, {"auth_password": "", "auth_ha1": HA1}),
        ("SHA-256", False, {"auth_ha1": "0" * 32}),
    ],
)
def test_it_registers_and_ends_its_registration(
    tmp_path: Path, entry: Any, lines: Any, algorithm: str, challenges_as_proxy: bool, secret: dict[str, str]
) -> None:
    with Provider(tmp_path / "provider", algorithm=algorithm, proxy=challenges_as_proxy) as provider:
        with lines(entry(provider, **secret)) as world:
            found = world.until("registered")["line1"]
            assert found["code"] == 200
            assert 3500 < found["expires"] <= 3600
            assert 2800 < found["next"] < 3300
            assert world.proxy.metric("outbound_registrations", 'state="registered"') == 1
            assert world.proxy.metric("outbound_registration_attempts_total", 'code="200"') == 1
            with sqlite3.connect(world.proxy.state / "genproxy.db") as database:
                query = "SELECT l_uuid, auth_password, auth_ha1, auth_proxy, expires FROM uacreg"
                rows = list(database.execute(query))
            assert rows == [("line1", "", HA1, f"sip:{provider.host}", 3600)]
            assert world.proxy.daemon.stop() < 2
            told = [text for text in world.text.splitlines() if "registration line1" in text]
            assert ["is registered for 3600 s" in told[0], "is ended" in told[1], len(told)] == [
                True,
                True,
                2,
            ]
            for word in (PASSWORD, HA1, "Traceback"):
                assert word not in world.text
        sent = provider.registers
        assert [each.expires for each in sent] == ["3600", "3600", "0"]  # challenged, accepted, ended
        assert len({each.call_id for each in sent}) == 1
        assert [each.cseq for each in sent] == ["1", "2", "3"]


def test_calls_of_the_provider_and_drain(tmp_path: Path, entry: Any, lines: Any) -> None:
    with Provider(tmp_path / "provider") as provider, lines(entry(provider)) as world:

        async def story(stage: Stage) -> None:
            genesis, phone = await stage.registered("genesis_a", "5000")
            caller = Phone(stage.reactor, "caller", (provider.host, 5060), host=own_host(), answering=True)
            stage.keep(caller)
            # l_username@l_domain is nobody here: Genesis gets the call under that name.
            call, answered = await stage.connect(caller, f"sip:alice@{provider.host}", genesis)
            assert answered.invite is not None
            assert answered.invite.uri == b"sip:100@home.test"
            # While this call goes on, the proxy is drained: nobody is to call it any more.
            world.proxy.cli("drain")
            world.until("unregistered")
            world.proxy.cli("drain", "--cancel")
            world.until("registered")
            await stage.hang_up(answered, call)
            # l_username@l_domain is a phone here; reg_contact_addr wants TCP.
            call, answered = await stage.connect(caller, f"sip:bob@{provider.host}", phone)
            assert answered.invite is not None
            assert answered.invite.values(b"via")[1].startswith(b"SIP/2.0/TCP " + provider.host.encode())
            await stage.hang_up(call, answered)

        bob = {"l_uuid": "line2", "r_username": "bob", "l_username": "5000", "l_domain": world.proxy.host}
        bob["reg_contact_addr"] = f"{world.proxy.host};transport=tcp"
        assert "outbound_registrations  applied" in world.configure(entry(provider), entry(provider, **bob))
        world.until("registered")
        play(world.proxy, story)
        assert [each.expires for each in provider.registers].count("0") == 2
        world.configure(entry(provider))
        assert world.rows().keys() == {"line1"}
        wait_until(
            lambda: (provider.registers[-1].to, provider.registers[-1].expires) == (f"sip:bob@{REALM}", "0")
        )
        assert "Traceback" not in world.text


def test_the_provider_goes_away_and_comes_back(tmp_path: Path, entry: Any, lines: Any) -> None:
    # The provider grants 6 s, and hears of us again before they are over.
    with Provider(tmp_path / "provider", longest=6) as provider, lines(entry(provider)) as world:
        script = world.proxy.state / "scripts" / "notify.sh"
        heard = tmp_path / "heard"
        script.write_text(f'#!/bin/sh\necho "$1: $2" >> {heard}\n')
        assert 0 < world.until("registered")["line1"]["expires"] <= 6
        for words in (("show", "registrations"), ("refresh", "registration")):
            with pytest.raises(subprocess.CalledProcessError) as refused:
                world.proxy.cli(*words, "nobody")
            assert refused.value.stderr == "genproxy-cli: there is no outbound registration nobody\n"
        wait_until(lambda: len(provider.registers) > 2, 20, "a refresh")
        again = provider.registers[-1]
        assert (again.call_id, int(again.cseq)) == (provider.registers[0].call_id, len(provider.registers))
        provider.stop()
        world.refresh("line1")
        found = world.until("failed")["line1"]
        assert (found["code"], found["reason"]) == (503, "cannot be reached: connection refused")
        assert 100 < found["next"] <= 180  # regRetryInterval
        assert world.proxy.metric("outbound_registration_attempts_total", 'code="unreachable"') == 1
        provider.start()
        world.refresh("line1")
        world.until("registered")
        assert len([text for text in world.text.splitlines() if "registration line1" in text]) == 3
        world.proxy.daemon.wait_until(lambda: heard.exists() and "is registered" in heard.read_text())
        told = [text for text in heard.read_text().splitlines() if text.startswith("genproxy/registration: ")]
        assert ["failed: 503" in told[-2], "is registered for" in told[-1]] == [True, True]
