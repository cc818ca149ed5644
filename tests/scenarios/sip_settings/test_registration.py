"""Who may register, how he proves himself, and for how long (guide 7.1.5, 11.2): sipsak asks."""

from __future__ import annotations

import re
import subprocess
import sys
from hashlib import md5
from pathlib import Path
from typing import Any

import pytest

from haproxy.testing.genproxy import Genproxy, own_host
from haproxy.testing.sipsak import last_response, register, sipsak
from rtlib.testing.daemon import ROOT

pytestmark = pytest.mark.peer("sipsak")

USER, WORD = "5000", "phone-secret"


def hashed(*parts: str) -> str:
    return md5(":".join(parts).encode(), usedforsecurity=False).hexdigest()


def proxy_of(folder: Path, host: str, *subscribers: dict[str, str], **keys: Any) -> Genproxy:
    """A proxy with these entries of [[subscribers]]; `domain` is its address where they have none."""
    entries = [{"username": USER, "domain": host, **each} for each in subscribers]
    return Genproxy(folder / "proxy", host=host, settings={"proxy": keys}, tables={"subscribers": entries})


def status(response: str) -> int:
    return int(response.split(maxsplit=2)[1])


@pytest.mark.parametrize("wanted", [True, False])
def test_with_enable_reg_auth_a_phone_must_know_the_password(tmp_path: Path, wanted: bool) -> None:
    host = own_host()
    with proxy_of(tmp_path, host, {"password": WORD}, enableRegAuth=wanted) as proxy:
        assert status(register(host, USER, password=WORD)) == 200
        assert ("401 Unauthorized" in sipsak("-U", "-i", "-s", f"sip:{USER}@{host}")) is wanted
        refused = register(host, USER, password="guess")
        assert status(refused) == (401 if wanted else 200)
        assert ("WWW-Authenticate: Digest " in refused) is wanted
        # It can be changed while the proxy runs.
        before, after = (f"enableRegAuth = {str(value).lower()}" for value in (wanted, not wanted))
        assert proxy.change(before, after) == {"proxy.enableRegAuth": "applied"}
        assert status(register(host, USER, password="guess")) == (200 if wanted else 401)


def test_only_defined_users_of_the_defined_domain_may_register(tmp_path: Path) -> None:
    """`username` and `domain`, also without any authentication (guide 11.1)."""
    host = own_host()
    with proxy_of(
        tmp_path, host, {"username": "5001"}, {"username": "5002", "domain": "sip.example"}
    ) as proxy:
        assert status(register(host, "5001")) == 200
        assert status(register(host, USER)) == 403
        assert status(register(host, "5002")) == 403  # its address-of-record has another host
        assert USER not in proxy.cli("show", "bindings")


@pytest.mark.parametrize(
    ("key", "long"),
    [("password", False), ("password", True), ("ha1", False), ("ha1b", True)],
)
def test_password_ha1_and_ha1b(tmp_path: Path, key: str, long: bool) -> None:
    """`long`: the phone gives user@domain as its user name."""
    host = own_host()
    names = USER, f"{USER}@{host}"
    entry = {key: WORD if key == "password" else hashed(names[long], host, WORD)}
    with proxy_of(tmp_path, host, entry, enableRegAuth=True):
        name, other = names[long], names[not long]
        assert status(register(host, USER, login=name, password=WORD)) == 200
        assert status(register(host, USER, login=name, password="guess")) == 401
        if key != "password":
            # The hash is of the one name, and of no other.
            assert status(register(host, USER, login=other, password=WORD)) == 401


def test_with_a_password_the_hashes_are_ignored(tmp_path: Path) -> None:
    host = own_host()
    other = {"ha1": hashed(USER, host, "other"), "ha1b": hashed(f"{USER}@{host}", host, "other")}
    with proxy_of(tmp_path, host, {"password": WORD, **other}, enableRegAuth=True):
        for login in (USER, f"{USER}@{host}"):
            assert status(register(host, USER, login=login, password=WORD)) == 200
            assert status(register(host, USER, login=login, password="other")) == 401


@pytest.mark.parametrize("algorithms", [["MD5"], ["SHA-256", "MD5"], ["SHA-512-256", "SHA-256"]])
def test_algorithms_are_offered_in_this_order(tmp_path: Path, algorithms: list[str]) -> None:
    """sipsak knows MD5 and takes the first challenge; PJSIP takes any that it knows."""
    pytest.importorskip("pjsua2", reason="pjsua2-python is not installed: it has no wheel for this Python")
    host = own_host()
    with proxy_of(tmp_path, host, {"password": WORD}, enableRegAuth=True, authAlgorithms=algorithms) as proxy:
        said = sipsak("-U", "-i", "-s", f"sip:{USER}@{host}", "-x", "100", "-u", USER, "-a", WORD)
        assert re.findall(r"WWW-Authenticate: Digest .*algorithm=(\S+)", said) == algorithms
        assert ("SIP/2.0 200 OK" in said) is (algorithms == ["MD5"])
        program = [sys.executable, "-m", "haproxy.testing.pjsua", str(tmp_path), proxy.server, USER, WORD]
        program += [f"sip:nobody@{host}", "udp", "440", "1"]
        done = subprocess.run(program, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
        # It has registered, or it would say so instead; there is no Genesis system to call.
        assert "the call was not answered" in done.stderr


def test_how_long_a_registration_lives(tmp_path: Path) -> None:
    host, phone = own_host(), f"sip:{USER}@{own_host()}"
    message = tmp_path / "register"
    message.write_text(
        f"REGISTER sip:{host} SIP/2.0\nFrom: <sip:{USER}@{host}>;tag=1\nTo: <sip:{USER}@{host}>\n"
        f"Call-ID: without-expires\nCSeq: 1 REGISTER\nContact: <{phone}>\n"
        "Max-Forwards: 70\nContent-Length: 0\n\n"
    )

    def granted() -> list[str]:
        """What is said of a short life, of no wish, and of a long life."""
        responses = [
            register(host, USER, contact=phone, expires=100),
            last_response(sipsak("-f", str(message), "-s", f"sip:{host}")),
            register(host, USER, contact=phone, expires=9_999_999),
        ]
        words = [re.findall(r"Min-Expires: \d+|(?<=;)expires=\d+", each) for each in responses]
        return [f"{status(each)} {word}" for each, (word,) in zip(responses, words, strict=True)]

    with proxy_of(tmp_path, host, {}) as proxy:
        assert granted() == ["200 expires=100", "200 expires=3600", "200 expires=86400"]
        keys = {"registerMinExpires": 120, "registerDefaultExpires": 600, "registerMaxExpires": 7200}
        lines = "".join(f"{key} = {value}\n" for key, value in keys.items())
        assert proxy.change("[proxy]\n", f"[proxy]\n{lines}") == {f"proxy.{key}": "applied" for key in keys}
        proxy.cli("flush", "bindings")
        assert granted() == ["423 Min-Expires: 120", "200 expires=600", "200 expires=7200"]
