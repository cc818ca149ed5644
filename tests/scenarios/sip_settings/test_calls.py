"""Who may call Genesis (guide 7.1.6-7.1.8): SIPp and PJSIP call, with each key and without."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from haproxy.testing.baresip import Baresip
from haproxy.testing.call import Refused
from haproxy.testing.genesis import Genesis
from haproxy.testing.genproxy import Genproxy, own_host
from haproxy.testing.sipp import Sipp
from haproxy.testing.sipsak import register
from haproxy.testing.stage import SUBSCRIBERS, Stage, play
from rtlib.testing.daemon import ROOT, wait_until

CALLER = Path(__file__).parents[1] / "sip_sipp" / "caller.xml"
WORD = "phone-secret"
QUIET = {"enableAstFailover": False}

ANSWERED, IGNORED = "answered", "ignored"
UNKNOWN, ELSEWHERE, HERE = "not registered", "registered from elsewhere", "registered with this Contact"

OUTCOMES: dict[str, dict[str, str]] = {
    "none": {UNKNOWN: ANSWERED, ELSEWHERE: ANSWERED, HERE: ANSWERED},
    "enableRegCheck": {UNKNOWN: IGNORED, ELSEWHERE: ANSWERED, HERE: ANSWERED},
    "enableContactCheck": {UNKNOWN: IGNORED, ELSEWHERE: IGNORED, HERE: ANSWERED},
    "enableRegCheck enableContactCheck": {UNKNOWN: IGNORED, ELSEWHERE: IGNORED, HERE: ANSWERED},
    "enableRegCheck enableContactCheck allowList": {UNKNOWN: ANSWERED, ELSEWHERE: ANSWERED, HERE: ANSWERED},
}
"""What becomes of a call by the keys that are on, and by what the caller has registered."""


def attempt(folder: Path, proxy: Genproxy, host: str, registered: str) -> str:
    """A call of SIPp at `host`, as 5000 with Contact HOST:5060."""
    contact = {ELSEWHERE: f"<sip:5000@{own_host()}>", HERE: f"<sip:5000@{host}:5060;transport=UDP>"}
    if registered != UNKNOWN:
        assert " 200 " in register(proxy.host, "5000", contact=contact[registered])
    calling: dict[str, Any] = {"user": "5000", "host": host, "port": 5060, "arguments": ["-d", "100"]}

    def ignored() -> float:
        return proxy.metric("decisions_total", 'kind="ignored"')

    before = ignored()
    with Sipp(folder, CALLER, proxy.server, **calling) as caller:
        # Ignored, it comes again: by the third time an answer to the first would have been here.
        wait_until(lambda: "message received" in caller.messages or ignored() >= before + 3, 20)
        if "message received" not in caller.messages:
            return IGNORED
        caller.finish()
        return ANSWERED


@pytest.mark.peer("sipp", "sipsak")
@pytest.mark.parametrize("keys", OUTCOMES)
def test_whose_calls_are_ignored(tmp_path: Path, keys: str) -> None:
    host = own_host()
    given: dict[str, Any] = dict.fromkeys(keys.split(), True) if keys != "none" else {}
    if "allowList" in given:
        given["allowList"] = [host]
    users = {"5000": WORD, "genesis_a": WORD}
    settings = {"proxy": {**QUIET, **given}}
    with (
        Genproxy(tmp_path / "proxy", settings=settings, subscribers=users) as proxy,
        Genesis(tmp_path, (proxy.host, proxy.port), "genesis_a"),
    ):
        found = {}
        for registered in (UNKNOWN, ELSEWHERE, HERE):
            proxy.cli("flush", "bindings", "5000")
            folder = tmp_path / registered
            folder.mkdir()
            found[registered] = attempt(folder, proxy, host, registered)
        assert found == OUTCOMES[keys]
        assert "Traceback" not in proxy.daemon.text


@pytest.mark.peer("baresip")
@pytest.mark.parametrize(
    ("keys", "word", "challenged", "outcome"),
    [
        ({}, "guess", False, ANSWERED),
        ({"enableInviteAuth": True}, WORD, True, ANSWERED),
        ({"enableInviteAuth": True, "enableContactCheck": True}, WORD, True, ANSWERED),
        ({"enableInviteAuth": True}, "guess", True, "refused"),
        ({"enableInviteAuth": True, "allowList": ["127.0.0.1"]}, "guess", False, ANSWERED),
    ],
)
def test_with_enable_invite_auth_a_phone_proves_itself(
    tmp_path: Path, keys: dict[str, Any], word: str, challenged: bool, outcome: str
) -> None:
    """PJSIP, which has registered without a password, is asked for it by 407."""
    pytest.importorskip("pjsua2", reason="pjsua2-python is not installed: it has no wheel for this Python")
    users = {"5000": WORD, "genesis_a": WORD}
    settings = {"proxy": {**QUIET, **keys}}
    with (
        Genproxy(tmp_path / "proxy", settings=settings, subscribers=users) as proxy,
        Baresip(tmp_path / "genesis", "genesis_a", proxy.server, password=WORD, tone=880) as genesis,
    ):
        program = [sys.executable, "-m", "haproxy.testing.pjsua", str(tmp_path), proxy.server, "5000", word]
        program += [f"sip:genesis_a@{proxy.host}", "udp", "440", "0.5"]
        done = subprocess.run(program, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
        log = (tmp_path / "pjsua.log").read_text()
        assert ("SIP/2.0 407 Proxy Authentication Required" in log) is challenged
        assert ("Proxy-Authorization: Digest " in log) is challenged
        if outcome == ANSWERED:
            assert done.returncode == 0, done
            assert json.loads(done.stdout.splitlines()[-1])["packets"] > 0
            genesis.wait_for("CALL_CLOSED")
        else:
            assert "the call was not answered" in done.stderr
            assert "CALL_INCOMING" not in genesis.output
        assert "Traceback" not in proxy.daemon.text


def test_with_enable_invite_auth_only_registered_users_call(tmp_path: Path) -> None:
    """Guide 7.1.6: the password alone is not enough."""

    async def story(stage: Stage) -> None:
        genesis, phone = *await stage.registered("genesis_a"), stage.phone("5000")
        with pytest.raises(Refused, match="403"):
            await stage.within(phone.call(stage.uri("100")))
        await stage.within(phone.register())
        await stage.hang_up(*await stage.connect(phone, stage.uri("100"), genesis))

    settings = {"proxy": {"enableInviteAuth": True}}
    with Genproxy(tmp_path / "proxy", settings=settings, subscribers=SUBSCRIBERS) as proxy:
        play(proxy, story)
