"""The registrar with peers that others have written (RFC 3261 section 10, RFC 3327, RFC 8760)."""

from __future__ import annotations

import re
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest

from haproxy.testing import script, sipsak
from haproxy.testing.genproxy import Genproxy, Value, own_host
from haproxy.testing.script import PROXY, heard, request
from haproxy.testing.sipp import Sipp, run
from rtlib.testing.daemon import ROOT
from tests.scenarios.sip_peers.conftest import Peers

DESK, MOBILE = "<sip:5000@192.0.2.50>", "<sip:5000@192.0.2.51:5070;transport=tcp>"
NONE: list[str] = []
PASSWORD = "phone-secret"


def register(number: int, *headers: str, call: str = "one") -> str:
    """A REGISTER of 5000; without a Contact in `headers` it asks what there is."""
    lines = [f"To: <sip:5000@{PROXY}>", f"Call-ID: {call}///[call_id]", *headers]
    if not any(line.startswith("Contact") for line in headers):
        lines.append("Contact: ")
    text = request("REGISTER", f"sip:{PROXY}", *lines, number=number)
    return text.replace("Contact: \n", "")


def contacts(sipp: Sipp) -> list[list[str]]:
    """Those that each 200 lists, without expires."""
    values = [each.message.values(b"contact") for each in sipp.heard(200)]
    return [[re.sub(r";expires=\d+", "", value.decode()) for value in each] for each in values]


@pytest.mark.peer("sipp")
def test_contacts_come_go_and_are_asked_for(peers: Peers) -> None:
    """Sections 10.2.4 and 10.3: several, by q; fetch; CSeq and Call-ID; too short; one goes, all go."""
    steps = [
        *(register(1), heard(200)),
        *(register(3, f"Contact: {DESK};q=0.2, {MOBILE}"), heard(200)),
        *(register(4), heard(200)),
        *(register(2, f"Contact: {DESK}", "Subject: overtaken"), heard(500)),
        *(register(1, f"Contact: {DESK};q=0.3", call="two"), heard(200)),
        *(register(5, f"Contact: {DESK};expires=10"), heard(423)),
        *(register(6, f"Contact: {DESK};expires=0"), heard(200)),
        *(register(7, "Contact: *"), heard(400)),
        *(register(8, "Contact: *", "Expires: 0"), heard(200)),
        *(register(9), heard(200)),
    ]
    sipp = peers.caller(*steps)
    sipp.finish()
    both = [MOBILE, DESK + ";q=0.2"]
    assert contacts(sipp) == [NONE, both, both, [MOBILE, DESK + ";q=0.3"], [MOBILE], NONE, NONE]
    (short,) = sipp.heard(423)
    assert short.message.first(b"min-expires") == b"60"


@pytest.mark.peer("sipp")
def test_path_is_stored_and_echoed(peers: Peers) -> None:
    """RFC 3327 section 5.3; without `Supported: path` it is refused (420), for the phone could not know."""
    path = "Path: <sip:edge.example.com;lr>"
    steps = register(1, f"Contact: {DESK}", path, "Supported: path"), heard(200)
    sipp = peers.caller(*steps)
    sipp.finish()
    assert sipp.heard(200)[0].message.values(b"path") == [b"<sip:edge.example.com;lr>"]
    peers.proxy.cli("flush", "bindings")


def guarded(folder: Path, *algorithms: str) -> Genproxy:
    rules: dict[str, Value] = {
        "enableRegAuth": True,
        "enableAstFailover": False,
        "authAlgorithms": list(algorithms),
    }
    return Genproxy(folder / "proxy", settings={"proxy": rules}, subscribers={"5000": PASSWORD})


@pytest.mark.peer("sipsak")
def test_sipsak_registers_asks_and_removes_all(tmp_path: Path) -> None:
    """With MD5, as sipsak, SIPp and baresip can (RFC 2617); a wrong password gets nowhere."""
    with guarded(tmp_path, "MD5") as proxy:

        def ask(contact: str, expires: int, password: str = PASSWORD) -> str:
            return sipsak.register(
                proxy.host, "5000", contact=contact, expires=expires, password=password, server=proxy.server
            )

        assert "<sip:5000@192.0.2.5:5999>" in ask("sip:5000@192.0.2.5:5999", 100)
        assert "\nContact: <sip:5000@192.0.2.5:5999>;expires=" in ask("empty", 0)
        assert "SIP/2.0 401" in ask("sip:5000@192.0.2.6:5998", 100, "guess")
        assert "SIP/2.0 200" in ask("*", 0)
        assert proxy.metric("bindings") == 0


@pytest.mark.peer("sipp")
def test_sipp_protects_its_body_as_well(tmp_path: Path) -> None:
    """RFC 7616 section 3.4.3: SIPp takes auth-int where it is offered; a wrong password gets nowhere."""
    with guarded(tmp_path, "MD5") as proxy:
        for password, status in ((PASSWORD, 200), ("guess", 401)):
            told = f"To: <sip:5000@{PROXY}>", script.SDP
            ask = partial(request, "REGISTER", f"sip:{PROXY}", *told, body=script.AUDIO)
            answer = partial(
                request, "REGISTER", f"sip:{PROXY}", *told, "[authentication]", body=script.AUDIO
            )
            steps = ask(number=1), heard(401, challenge=True), answer(number=2), heard(status)
            path = script.write(tmp_path, f"guarded-{status}", *steps)
            sipp = run(tmp_path, path, proxy.server, user="5000", password=password, host=own_host())
            (sent,) = [each for each in sipp.traffic() if each.sent and b"Authorization" in each.raw]
            assert b"qop=auth-int" in sent.raw
            assert sent.request.body.startswith(b"v=0")


@pytest.mark.parametrize("algorithms", [["SHA-256"], ["SHA-512-256", "SHA-256", "MD5"]], ids=",".join)
def test_pjsip_takes_sha_256(tmp_path: Path, algorithms: list[str]) -> None:
    """RFC 8760: alone, and as the best one that it knows among several."""
    pytest.importorskip("pjsua2", reason="pjsua2-python is not installed: it has no wheel for this Python")
    with guarded(tmp_path, *algorithms) as proxy:
        for password, status in ((PASSWORD, 200), ("guess", 401)):
            program = [sys.executable, "-m", "haproxy.testing.pjsua"]
            program += [str(tmp_path), proxy.server, "5000", password]
            done = subprocess.run(program, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
            assert done.stdout.splitlines()[-1:] == [str(status)], done
        log = (tmp_path / "pjsua.log").read_text()
        assert "algorithm=SHA-256" in log
