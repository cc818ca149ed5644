from __future__ import annotations

import contextlib
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtlib import digest
from rtlib.digest import Authenticator, Challenge, Credentials, DigestError, Verdict
from rtlib.nonce import Nonces

# RFC 7616 §3.9.1
MUFASA = Credentials(
    username="Mufasa",
    realm="http-auth@example.org",
    uri="/dir/index.html",
    algorithm="MD5",
    nonce="7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v",
    nc=1,
    cnonce="f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ",
    qop="auth",
    response="8ca523f5e9506fed4657c9700eebdbec",
    opaque="FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS",
)
SHA_256 = "753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1"
# RFC 7616 §3.9.2
JASON = Credentials(
    username="488869477bf257147b804c45308cd62ac4e25eb717b12b298c79e62dcea254ec",
    realm="api@example.org",
    uri="/doe.json",
    algorithm="SHA-512-256",
    nonce="5TsQWLVdgBdmrQ0XsxbDODV+57QdFR34I9HAbC/RVvkK",
    nc=1,
    cnonce="NTg6RKcb9boFIAS3KrFK9BGeh+niz/sm",
    qop="auth",
    response="",
)


def authenticator(**options: object) -> Authenticator:
    nonces = Nonces(b"k" * 16, random.Random(1).randbytes, lifetime=60.0)
    return Authenticator("example.org", nonces, **options)  # type: ignore[arg-type] # options of one test each


def asked(server: Authenticator, now: float = 0.0) -> Challenge:
    """The one challenge of a server."""
    (value,) = server.challenges(now)
    challenge = digest.parse_challenge(value)
    assert challenge is not None
    return challenge


def login(challenge: Challenge, password: str = "secret", nc: int = 1, body: bytes = b"") -> Credentials:
    secret = digest.ha1("bob", challenge.realm, password, challenge.algorithm)
    return digest.answer(
        challenge, "bob", secret, "REGISTER", "sip:example.org", cnonce="0a4f", nc=nc, body=body
    )


SECRET = digest.ha1("bob", "example.org", "secret")


def test_published_examples() -> None:
    secret = digest.ha1("Mufasa", "http-auth@example.org", "Circle of Life")
    assert digest.response(MUFASA, secret, "GET") == MUFASA.response
    sha = MUFASA._replace(algorithm="SHA-256")
    secret = digest.ha1("Mufasa", "http-auth@example.org", "Circle of Life", "SHA-256")
    assert digest.response(sha, secret, "GET") == SHA_256


def test_rfc_2069_without_qop() -> None:
    # RFC 2617 §3.5's user, computed by RFC 2069's formula.
    old = Credentials(
        "Mufasa", "testrealm@host.com", "dcd98b7102dd2f0e8b11d0f600bfb0c093", "/dir/index.html", ""
    )
    secret = digest.ha1("Mufasa", "testrealm@host.com", "Circle Of Life")
    assert secret == "939e7578ed9e3c518a452acee763bce9"
    assert digest.response(old, secret, "GET") == "670fd8c2df070c60b045671b8b24ff02"
    new = old._replace(qop="auth", nc=1, cnonce="0a4f113b")
    assert digest.response(new, secret, "GET") == "6629fae49393a05397450978507c4ef1"


def test_headers_come_back() -> None:
    assert digest.parse_credentials(bytes(MUFASA)) == MUFASA
    challenge = Challenge('a "realm"\\', "n", "SHA-256", ("auth", "auth-int"), "o", stale=True)
    assert digest.parse_challenge(bytes(challenge)) == challenge
    assert digest.parse_challenge(b'digest realm = "r" , nonce="n"') == Challenge("r", "n")


def test_another_scheme_is_no_credentials() -> None:
    assert digest.parse_credentials(b"NoOneKnowsThisScheme opaque-data=here") is None
    assert digest.parse_challenge(b'Basic realm="x"') is None


@pytest.mark.parametrize(
    "value",
    [
        b"Digest",
        b'Digest username="a"',
        b"Digest nonsense",
        b'Digest username="a", realm="r", nonce="n", uri="u", response="x", qop=auth, nc=1',
        b'Digest username="a", username="b", realm="r", nonce="n", uri="u", response="x"',
        b'Digest username="a", realm="r", nonce="n", uri="u", response="x',
        b"Digest " + b"a=b," * 5000,
    ],
)
def test_malformed_credentials(value: bytes) -> None:
    with pytest.raises(DigestError):
        digest.parse_credentials(value)


@pytest.mark.parametrize("algorithm", ["MD5", "SHA-256", "SHA-512-256", "MD5-sess", "SHA-256-sess"])
@pytest.mark.parametrize("qop", [(), ("auth",), ("auth-int",), ("auth-int", "auth")])
def test_both_sides_agree(algorithm: str, qop: tuple[str, ...]) -> None:
    server = authenticator(algorithms=(algorithm,), qop=qop)
    challenge = asked(server, 1000.0)
    assert (challenge.realm, challenge.algorithm, challenge.qop) == ("example.org", algorithm, qop)
    credentials = digest.parse_credentials(bytes(login(challenge, body=b"body")))
    assert credentials is not None
    secret = digest.ha1("bob", "example.org", "secret", algorithm)
    assert server.verify(credentials, "REGISTER", secret, 1001.0, b"body") is Verdict.valid
    assert server.verify(credentials, "INVITE", secret, 1001.0, b"body") is Verdict.invalid
    if qop == ("auth-int",):
        assert server.verify(credentials, "REGISTER", secret, 1001.0, b"other") is Verdict.invalid


def test_wrong_password_and_unknown_user_are_invalid() -> None:
    server = authenticator()
    challenge = asked(server)
    assert server.verify(login(challenge, "wrong"), "REGISTER", SECRET, 1.0) is Verdict.invalid
    assert server.verify(login(challenge), "REGISTER", None, 1.0) is Verdict.invalid
    # The failed attempts have not used the nonce up.
    assert server.verify(login(challenge), "REGISTER", SECRET, 1.0) is Verdict.valid


def test_an_empty_secret_opens_nothing() -> None:
    server = authenticator()
    challenge = asked(server)
    forged = digest.answer(challenge, "bob", "", "REGISTER", "sip:example.org", cnonce="1")
    assert server.verify(forged, "REGISTER", None, 1.0) is Verdict.invalid


def test_counts_must_rise() -> None:
    server = authenticator()
    challenge = asked(server)
    verdicts = [server.verify(login(challenge, nc=nc), "REGISTER", SECRET, 1.0) for nc in (1, 1, 3, 2, 4)]
    expected = [Verdict.valid, Verdict.stale, Verdict.valid, Verdict.stale, Verdict.valid]
    assert verdicts == expected


def test_without_qop_a_nonce_serves_once() -> None:
    server = authenticator(qop=())
    challenge = asked(server)
    assert server.verify(login(challenge), "REGISTER", SECRET, 1.0) is Verdict.valid
    assert server.verify(login(challenge), "REGISTER", SECRET, 1.0) is Verdict.stale


def test_old_and_foreign_nonces_are_stale() -> None:
    server = authenticator()
    challenge = asked(server)
    assert server.verify(login(challenge), "REGISTER", SECRET, 60.1) is Verdict.stale
    for nonce in ("", "x", "AAAA", challenge.nonce[:-4] + "AAAA", "ü", "A" * 5000):
        foreign = login(challenge._replace(nonce=nonce))
        assert server.verify(foreign, "REGISTER", SECRET, 1.0) is Verdict.stale


def test_what_was_not_offered_is_invalid() -> None:
    server = authenticator(algorithms=("SHA-256",))
    challenge = asked(server)
    for changed in (
        login(challenge)._replace(algorithm="MD5"),
        login(challenge)._replace(algorithm="ROT13"),
        login(challenge)._replace(realm="other"),
        login(challenge)._replace(qop="auth-int"),
        login(challenge)._replace(response="ü"),
    ):
        assert server.verify(changed, "REGISTER", SECRET, 1.0) is Verdict.invalid


def test_a_challenge_names_what_is_asked_for() -> None:
    server = authenticator(algorithms=("SHA-256", "MD5"), qop=("auth", "auth-int"))
    made = [digest.parse_challenge(value) for value in server.challenges(0.0, stale=True)]
    assert [each and each.algorithm for each in made] == ["SHA-256", "MD5"]
    assert all(each and each.stale and each.qop == ("auth", "auth-int") for each in made)
    (value,) = server.challenges(0.0, algorithms=["MD5"])
    again = digest.parse_challenge(value)
    assert again is not None
    assert bytes(again) == value
    assert (again.algorithm, again.stale) == ("MD5", False)


def test_strongest() -> None:
    offers = [Challenge("r", "1", "MD5"), Challenge("r", "2", "SHA-256"), Challenge("r", "3", "X")]
    assert digest.strongest(offers) == offers[1]
    assert digest.strongest(offers[2:]) is None


def test_unknown_quality_of_protection() -> None:
    with pytest.raises(DigestError):
        login(Challenge("r", "n", qop=("auth-conf",)))


def test_a_session_counts_the_uses_of_its_nonce() -> None:
    server = authenticator(algorithms=("SHA-256",))
    challenge = asked(server)
    secret = digest.ha1("bob", "example.org", "secret", "SHA-256")
    session = digest.Session(challenge, "bob", secret, random.Random(3).randbytes)
    answers = [session.answer("REGISTER", "sip:example.org", b"body") for _ in range(3)]
    assert [each.nc for each in answers] == [1, 2, 3]
    assert len({each.cnonce for each in answers}) == 3
    assert all(server.verify(each, "REGISTER", secret, 1.0) is Verdict.valid for each in answers)


def test_a_session_knows_its_own_challenge() -> None:
    first, second = asked(authenticator()), asked(authenticator(), 1.0)
    session = digest.Session(first, "bob", SECRET, random.Random(3).randbytes)
    assert session.is_refused_by(first._replace(qop=()))
    assert not session.is_refused_by(second)


def test_what_is_known_of_a_challenge() -> None:
    assert Challenge("r", "n").is_qop_known
    assert Challenge("r", "n", "sha-256-sess", ("auth-conf", "auth-int", "auth")).preferred_qop == "auth"
    assert Challenge("r", "n", "sha-256-sess").is_algorithm_known
    assert not Challenge("r", "n", "AKAv1-MD5", ("auth-conf",)).is_algorithm_known
    assert not Challenge("r", "n", qop=("auth-conf",)).is_qop_known


@given(st.binary(max_size=80).map(lambda data: b"Digest " + data))
def test_anything(value: bytes) -> None:
    for parse in (digest.parse_challenge, digest.parse_credentials):
        with contextlib.suppress(DigestError):
            parse(value)


@given(st.text(max_size=20), st.text(max_size=20), st.text(max_size=20))
def test_any_text_comes_back(username: str, realm: str, uri: str) -> None:
    with contextlib.suppress(UnicodeEncodeError):
        credentials = Credentials(username, realm, "n", uri, "r", qop="auth", nc=255, cnonce="c")
        assert digest.parse_credentials(bytes(credentials)) == credentials
