"""A phone's answers, judged by the server side of the same RFC."""

import os

from haproxy.sip.message import Request, Response
from haproxy.testing.credentials import Credentials
from rtlib import digest
from rtlib.nonce import Nonces


def challenged(status: int, *challenges: bytes) -> tuple[Request, Response]:
    request = Request.create(
        b"REGISTER",
        b"sip:a.test",
        [
            (b"Via", b"SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK1"),
            (b"From", b"<sip:bob@a.test>;tag=1"),
            (b"To", b"<sip:bob@a.test>"),
            (b"Call-ID", b"c"),
            (b"CSeq", b"4 REGISTER"),
        ],
    )
    response = request.response(status, to_tag=b"2")
    name = b"WWW-Authenticate" if status == 401 else b"Proxy-Authenticate"
    for challenge in challenges:
        response.append(name, challenge)
    return request, response


def verdict(
    request: Request, authenticator: digest.Authenticator, header: bytes, password: str
) -> digest.Verdict:
    given = digest.parse_credentials(request.first(header) or b"")
    assert given is not None
    assert (given.username, given.uri) == ("bob", "sip:a.test")
    secret = digest.ha1("bob", "a.test", password, given.algorithm)
    return authenticator.verify(given, "REGISTER", secret, 1.0)


def test_the_answer_is_right_for_the_strongest_algorithm() -> None:
    nonces = Nonces(os.urandom(16), os.urandom)
    server = digest.Authenticator("a.test", nonces, algorithms=("MD5", "SHA-256"))
    for status, header in ((401, b"authorization"), (407, b"proxy-authorization")):
        request, response = challenged(status, b"Basic realm=x", *server.challenges(0.0))
        assert Credentials("bob", "secret", os.urandom).answer(request, response)
        assert request.cseq_number == 5
        assert b"SHA-256" in (request.first(header) or b"")
        assert verdict(request, server, header, "secret") is digest.Verdict.valid
        assert verdict(request, server, header, "other") is digest.Verdict.invalid


def test_no_use_in_trying_again() -> None:
    request, response = challenged(
        401, b"Basic realm=x", b"Digest nothing", b"Digest realm=1, nonce=2, algorithm=Q"
    )
    assert not Credentials("bob", "secret", os.urandom).answer(request, response)
    request, response = challenged(401, b'Digest realm="a.test", nonce="n"')
    assert not Credentials("bob", "", os.urandom).answer(request, response)
    assert request.cseq_number == 4
