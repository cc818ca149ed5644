"""Challenges and 423 within one attempt."""

from typing import Any

import pytest

from haproxy.uac.registration import State
from rtlib import digest


def challenge(
    nonce: str = "n1", *, realm: str = "provider.example", algorithm: str = "MD5", qop: str = "auth",
    stale: bool = False, header: str = "WWW-Authenticate",
) -> str:  # fmt: skip
    made = digest.Challenge(realm, nonce, algorithm, (qop,) if qop else (), stale=stale)
    return f"{header}: {bytes(made).decode()}"


def credentials(line: Any, header: bytes = b"authorization") -> digest.Credentials:
    found = digest.parse_credentials(line.request.first(header))
    assert found is not None
    return found


def is_right(given: digest.Credentials, secret: str = "open sesame") -> bool:
    ha1 = digest.ha1("alice-auth", given.realm, secret, given.algorithm)
    return digest.response(given, ha1, "REGISTER") == given.response


@pytest.mark.parametrize("algorithm", ["MD5", "SHA-256", "SHA-512-256", "MD5-sess", "SHA-256-sess"])
@pytest.mark.parametrize("qop", ["auth", "auth-int", ""])
@pytest.mark.parametrize(
    ("status", "asked", "given"),
    [
        (401, "WWW-Authenticate", b"authorization"),
        (407, "Proxy-Authenticate", b"proxy-authorization"),
    ],
)
def test_a_challenge_is_answered(
    line: Any, algorithm: str, qop: str, status: int, asked: str, given: bytes
) -> None:
    first = line.request
    line.answer(status, challenge(algorithm=algorithm, qop=qop, header=asked))
    found = credentials(line, given)
    assert (found.username, found.uri, found.algorithm) == ("alice-auth", "sip:provider.example", algorithm)
    assert found.qop == (qop or None)
    assert is_right(found)
    assert line.request.call_id == first.call_id
    assert line.request.cseq_number == first.cseq_number + 1
    assert line.accept().state is State.REGISTERED


def test_the_strongest_algorithm(line: Any) -> None:
    line.answer(401, challenge(algorithm="MD5"), challenge(algorithm="SHA-256"))
    assert credentials(line).algorithm == "SHA-256"


def test_a_nonce_is_used_again(line: Any) -> None:
    line.answer(401, challenge()).accept(1000).refresh()
    again = credentials(line)
    assert (again.nonce, again.nc) == ("n1", 2)
    assert is_right(again)
    line.answer(401, challenge("n2", stale=True))
    assert (credentials(line).nonce, credentials(line).nc) == ("n2", 1)
    assert line.accept().state is State.REGISTERED


def test_an_old_nonce_may_be_refused_without_stale(line: Any) -> None:
    line.answer(401, challenge()).accept(1000).refresh().answer(401, challenge("n2"))
    assert credentials(line).nonce == "n2"
    assert line.accept().state is State.REGISTERED


@pytest.mark.parametrize("second", ["n1", "n2"])
def test_wrong_credentials_end_in_no_loop(line: Any, second: str) -> None:
    line.answer(401, challenge("n1")).answer(401, challenge(second))
    assert len(line.requests) == 2
    assert (line.state, line.find().status) == (State.FAILED, 401)
    assert "the credentials are refused" in line.find().reason


def test_stale_within_an_attempt(line: Any) -> None:
    line.answer(401, challenge("n1")).answer(401, challenge("n2", stale=True))
    assert credentials(line).nonce == "n2"


def test_challenges_without_end(line: Any) -> None:
    number = 0
    while line.state is State.REGISTERING:
        number += 1
        line.answer(401, challenge(f"n{number}", stale=True))
    assert number == 8
    assert line.find().reason == "challenges without end"


def test_a_proxy_and_the_registrar(line: Any) -> None:
    line.answer(407, challenge("p1", header="Proxy-Authenticate")).answer(401, challenge("r1"))
    assert is_right(credentials(line))
    assert is_right(credentials(line, b"proxy-authorization"))
    assert line.accept().state is State.REGISTERED


@pytest.mark.parametrize(
    ("change", "header", "reason"),
    [
        ({}, challenge(realm="elsewhere"), "the registrar's realm is 'elsewhere', not 'provider.example'"),
        ({}, challenge(algorithm="AKAv1-MD5"), "an unknown algorithm: AKAv1-MD5"),
        ({}, challenge(qop="auth-new"), "an unknown qop: auth-new"),
        ({}, "WWW-Authenticate: Basic realm=x", "no digest challenge"),
        ({}, 'WWW-Authenticate: Digest realm="provider.example', "no digest challenge"),
        ({}, "X: y", "no digest challenge"),
        ({"auth_password": ""}, challenge(), "none are configured"),
        (
            {"auth_password": "", "auth_ha1": "0" * 32},
            challenge(algorithm="SHA-256"),
            "asks for SHA-256, which auth_ha1 cannot answer",
        ),
    ],
)
def test_unanswerable(new: Any, change: dict[str, Any], header: str, reason: str) -> None:
    line = new(change).answer(401, header)
    assert len(line.requests) == 1
    assert reason in line.find().reason
    assert line.find().status == 401


def test_ha1_answers_md5(new: Any) -> None:
    ha1 = digest.ha1("alice-auth", "provider.example", "open sesame")
    line = new({"auth_password": "", "auth_ha1": ha1.upper()})
    line.answer(401, challenge(algorithm="SHA-256"), challenge())
    assert credentials(line).algorithm == "MD5"
    assert is_right(credentials(line))


def test_the_password_beats_the_hash(new: Any) -> None:
    assert is_right(credentials(new({"auth_ha1": "0" * 32}).answer(401, challenge())))


def test_any_realm_where_none_is_configured(new: Any) -> None:
    line = new({"realm": "", "auth_username": ""}).answer(401, challenge(realm="whatever"))
    assert (credentials(line).realm, credentials(line).username) == ("whatever", "alice")


class TestTooBrief:
    def test_it_asks_for_as_much_as_is_wanted_from_then_on(self, line: Any) -> None:
        line.answer(423, "Min-Expires: 7200")
        assert line.request.first(b"expires") == b"7200"
        line.answer(401, challenge())
        assert line.request.first(b"expires") == b"7200"
        line.accept(7200)
        assert line.find().expires == line.now + 7200
        assert line.refresh().request.first(b"expires") == b"7200"

    @pytest.mark.parametrize("value", ["3600", "0", "-1", "99999999999999999999", "soon", ""])
    def test_nonsense_is_a_failure(self, line: Any, value: str) -> None:
        line.answer(423, f"Min-Expires: {value}" if value else "X: y")
        assert len(line.requests) == 1
        assert (line.state, line.find().status) == (State.FAILED, 423)
        assert "Min-Expires" in line.find().reason

    def test_ever_more(self, line: Any) -> None:
        number = 4000
        while line.state is State.REGISTERING:
            number += 1
            line.answer(423, f"Min-Expires: {number}")
        assert len(line.requests) == 8
        assert line.state is State.FAILED

    def test_the_end_is_not_too_brief(self, line: Any) -> None:
        assert line.accept().deactivate().answer(423, "Min-Expires: 60").registrations.settled


def test_words_of_a_peer_are_harmless(line: Any) -> None:
    response = line.request.response(403, b"No\x1b[2J" + b"x" * 500)
    line.core.receive(bytes(response), line.flow, line.now)
    line.collect()
    assert line.find().reason.startswith("No?[2Jx")
    assert len(line.find().reason) == 160


def test_words_of_a_challenge_are_harmless(line: Any) -> None:
    line.answer(401, challenge(algorithm="\x1b[2J\xff" + "x" * 500))
    assert line.find().reason.isprintable()
    assert "an unknown algorithm: ?[2J" in line.find().reason


def test_no_secret_in_what_is_shown(line: Any) -> None:
    line.answer(401, challenge()).answer(401, challenge("n2"))
    assert "sesame" not in repr(line.told()) + repr(line.find().account) + line.find().reason
