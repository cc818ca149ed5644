"""Basic and Digest, as a server sees them."""

from __future__ import annotations

from base64 import b64decode
from itertools import count

from haproxy.notification.authorization import Authorization
from rtlib import digest
from rtlib.digest import Authenticator, Verdict
from rtlib.nonce import Nonces

BODY = b'{"id": "1"}'


def client(user: str = "user") -> Authorization:
    numbers = count()
    return Authorization(user, "pass:wörd", lambda size: next(numbers).to_bytes(size, "big"))


def server(*algorithms: str) -> Authenticator:
    nonces = Nonces(b"k" * 16, lambda size: bytes(size))
    return Authenticator("realm", nonces, algorithms=algorithms, qop=("auth",))


def test_nothing_is_said_before_it_is_asked_for() -> None:
    assert client().header("POST", "/", BODY) is None
    assert not client().learn([])
    assert not client().learn([b"Negotiate", b"Bearer x"])
    assert not client("").learn([b'Basic realm="r"'])


def test_basic() -> None:
    authorization = client()
    assert authorization.learn([b'bAsic realm="r"'])
    for _ in range(2):
        header = authorization.header("POST", "/", BODY)
        assert header is not None
        scheme, _, word = header.partition(b" ")
        assert (scheme, b64decode(word).decode()) == (b"Basic", "user:pass:wörd")


def test_digest_is_better_than_basic_and_the_best_algorithm_is_taken() -> None:
    authorization, authenticator = client(), server("MD5", "SHA-256")
    challenges = [b"Digest " + each[7:] for each in authenticator.challenges(0.0)]
    assert authorization.learn([b'Basic realm="realm"', *challenges])
    for number in (1, 2, 3):
        header = authorization.header("POST", "/path?query", BODY)
        assert header is not None
        credentials = digest.parse_credentials(header)
        assert credentials is not None
        assert (credentials.algorithm, credentials.nc, credentials.uri) == ("SHA-256", number, "/path?query")
        secret = digest.ha1("user", "realm", "pass:wörd", "SHA-256")
        assert authenticator.verify(credentials, "POST", secret, 1.0, BODY) is Verdict.valid


def test_a_new_challenge_replaces_the_old_one() -> None:
    authorization = client()
    first, second = server("MD5").challenges(0.0), server("MD5").challenges(9.0)
    for challenges in (first, second):
        assert authorization.learn(challenges)
        header = authorization.header("POST", "/", BODY)
        assert header is not None
        credentials = digest.parse_credentials(header)
        assert credentials is not None
        asked = digest.parse_challenge(challenges[0])
        assert asked is not None
        assert (credentials.nonce, credentials.nc) == (asked.nonce, 1)


def test_the_same_challenge_once_more_says_that_the_password_is_wrong() -> None:
    authorization, challenges = client(), server("MD5").challenges(0.0)
    assert authorization.learn(challenges)
    assert authorization.header("POST", "/", BODY) is not None
    assert not authorization.learn(challenges)


def test_challenges_that_nobody_can_answer() -> None:
    for value in (b"Digest nonsense", b'Digest realm="r"', b'Digest realm="r", nonce="n", qop="fancy"',
                  b'Digest realm="r", nonce="n", algorithm=ROT13'):  # fmt: skip
        assert not client().learn([value])
