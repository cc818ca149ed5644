"""Digest authentication of subscribers."""

import random
from hashlib import md5

import pytest

from haproxy.registrar.authentication import PROXY, WWW, Authentication, Kind
from haproxy.registrar.subscriber import Subscriber, Subscribers
from haproxy.sip.message import Request
from rtlib.digest import answer, ha1, parse_challenge
from rtlib.nonce import Nonces

USER = b"5000@example.org"


def request(*headers: tuple[bytes, bytes], uri: bytes = b"sip:example.org") -> Request:
    lines = [
        (b"From", b"<sip:5000@example.org>;tag=f"),
        (b"To", b"<sip:5000@example.org>"),
        (b"CSeq", b"1 REGISTER"),
    ]
    return Request.create(b"REGISTER", uri, [*lines, (b"Call-ID", b"c"), *headers])


@pytest.fixture
def authentication() -> Authentication:
    entropy = random.Random(1).randbytes
    subscribers = Subscribers([Subscriber.with_password(b"5000", b"example.org", b"secret")])
    return Authentication(subscribers, Nonces(b"k" * 16, entropy))


def credentials(
    authentication: Authentication,
    name: str = "5000",
    password: str = "secret",
    *,
    kind: Kind = WWW,
    uri: str = "",
) -> tuple[bytes, bytes]:
    challenge = authentication.check(request(), kind, USER, 0.0)
    assert challenge is not None
    assert challenge[0][0] == kind.challenge
    asked = parse_challenge(challenge[0][1])
    assert asked is not None
    given = answer(
        asked, name, ha1(name, "example.org", password), "REGISTER", uri or "sip:example.org", cnonce="c"
    )
    return kind.credentials, bytes(given)


@pytest.mark.parametrize("kind", [WWW, PROXY])
def test_right_password(authentication: Authentication, kind: Kind) -> None:
    assert authentication.check(request(credentials(authentication, kind=kind)), kind, USER, 1.0) is None


def test_name_with_domain(authentication: Authentication) -> None:
    given = credentials(authentication, "5000@example.org")
    assert authentication.check(request(given), WWW, USER, 1.0) is None


@pytest.mark.parametrize(("name", "password"), [("5000", "wrong"), ("5001", "secret"), ("", "")])
def test_wrong(authentication: Authentication, name: str, password: str) -> None:
    given = credentials(authentication, name, password)
    assert authentication.check(request(given), WWW, USER, 1.0) is not None
    assert authentication.rejected == 1


def test_somebody_elses_credentials(authentication: Authentication) -> None:
    given = credentials(authentication)
    assert authentication.check(request(given), WWW, b"5001@example.org", 1.0) is not None


def test_replay_and_age_are_stale(authentication: Authentication) -> None:
    given = credentials(authentication)
    assert authentication.check(request(given), WWW, USER, 1.0) is None
    again = authentication.check(request(given), WWW, USER, 2.0)
    assert again is not None
    assert b"stale=true" in again[0][1]
    old = authentication.check(request(credentials(authentication)), WWW, USER, 10_000.0)
    assert old is not None


def test_for_another_destination(authentication: Authentication) -> None:
    given = credentials(authentication, uri="sip:900@example.org")
    assert authentication.check(request(given), WWW, USER, 1.0) is not None


def test_malformed_counts_as_none(authentication: Authentication) -> None:
    for value in (b"Digest", b"Digest realm=", b"Basic abc", b'Digest realm="example.org"'):
        assert authentication.check(request((b"authorization", value)), WWW, USER, 1.0) is not None


def test_a_subscriber_without_password_never_passes(authentication: Authentication) -> None:
    open_user = Authentication(
        Subscribers([Subscriber(b"5000", b"example.org")]), Nonces(b"k" * 16, random.Random(2).randbytes)
    )
    empty = md5(b"").hexdigest()
    given = credentials(open_user, password=empty)
    assert open_user.check(request(given), WWW, USER, 1.0) is not None


@pytest.mark.parametrize("algorithm", ["SHA-512-256", "SHA-256", "MD5"])
def test_algorithms_in_order(algorithm: str) -> None:
    entropy = random.Random(1).randbytes
    subscribers = Subscribers([Subscriber.with_password(b"5000", b"example.org", b"secret")])
    order = ("SHA-512-256", "SHA-256", "MD5")
    authentication = Authentication(subscribers, Nonces(b"k" * 16, entropy), order)
    challenges = authentication.check(request(), WWW, USER, 0.0)
    assert challenges is not None
    asked = [parse_challenge(value) for _, value in challenges]
    assert [each.algorithm for each in asked if each] == list(order)
    chosen = asked[order.index(algorithm)]
    assert chosen is not None
    secret = ha1("5000", "example.org", "secret", algorithm)
    given = bytes(answer(chosen, "5000", secret, "REGISTER", "sip:example.org", cnonce="c"))
    assert authentication.check(request((b"Authorization", given)), WWW, USER, 0.0) is None


def test_who_is_known_by_md5_hashes_is_offered_md5() -> None:
    entropy = random.Random(1).randbytes
    known = Subscriber(b"5000", b"example.org", md5(b"5000:example.org:secret").hexdigest().encode())
    authentication = Authentication(
        Subscribers([known]), Nonces(b"k" * 16, entropy), ("SHA-512-256", "SHA-256", "MD5")
    )
    challenges = authentication.check(request(), WWW, USER, 0.0)
    assert challenges is not None
    assert [b"algorithm=MD5" in value for _, value in challenges] == [True]
    stranger = b"nobody@example.org"
    assert len(authentication.check(request(), WWW, stranger, 0.0) or ()) == 3
