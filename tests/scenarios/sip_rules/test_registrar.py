"""Rules of the registrar and of authentication (guide 7.1.5-7.1.8, RFC 3261 section 10) on the wire."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from haproxy.sip.message import Request, Response, parse
from haproxy.testing.genproxy import Genproxy
from haproxy.testing.sender import Sender
from rtlib.digest import Challenge, answer, ha1, parse_challenges, response, strongest

PASSWORD = "phone-secret"


class Phone:
    """A user agent of one subscriber: one socket, one Call-ID."""

    def __init__(self, proxy: Genproxy, user: str = "5000") -> None:
        self.sender = Sender(proxy.host, proxy.port, "udp")
        self.domain = proxy.host
        self.user = user
        self.sequence = 0

    def request(self, *headers: tuple[bytes, bytes], contact: bytes = b"", sequence: int = 0) -> Request:
        """A REGISTER with these contacts; none of its own to ask what there is."""
        self.sequence = sequence or self.sequence + 1
        request = self.sender.request(b"REGISTER", f"sip:{self.domain}".encode(), *headers)
        request.set(b"To", f"<sip:{self.user}@{self.domain}>".encode())
        request.set(b"Call-ID", f"{self.sender.address}".encode())
        request.set(b"CSeq", b"%d REGISTER" % self.sequence)
        request.remove(b"contact")
        if contact:
            request.append(b"Contact", contact)
        return request

    def send(self, request: Request) -> Response:
        """Its response, found by the branch: all have one Call-ID."""
        self.sender.sock.send(bytes(request))
        while True:
            for data in self.sender.receive():
                found = parse(data)
                if isinstance(found, Response) and found.branch == request.branch:
                    return found


@pytest.fixture
def guarded(tmp_path: Path) -> Iterator[Phone]:
    rules: dict[str, bool | list[str]] = {
        "enableRegAuth": True,
        "authAlgorithms": ["SHA-512-256", "SHA-256", "MD5"],
    }
    with Genproxy(tmp_path / "proxy", settings={"proxy": rules}, subscribers={"5000": PASSWORD}) as proxy:
        phone = Phone(proxy)
        with phone.sender:
            yield phone
        assert "Traceback" not in proxy.daemon.text


def challenged(phone: Phone) -> list[Challenge]:
    found = phone.send(phone.request())
    assert found.status == 401
    return parse_challenges(found.all(b"www-authenticate"))


def authorized(phone: Phone, challenge: Challenge, qop: str, nc: int = 1, word: str = PASSWORD) -> Request:
    secret = ha1("5000", challenge.realm, word, challenge.algorithm)
    draft = answer(
        challenge._replace(qop=(qop,)), "5000", secret, "REGISTER", f"sip:{phone.domain}", cnonce="c", nc=nc
    )
    proof = draft._replace(response=response(draft, secret, "REGISTER", b""))
    return phone.request((b"Authorization", bytes(proof)))


@pytest.mark.parametrize("qop", ["auth", "auth-int"])
def test_every_algorithm_and_quality_of_protection(guarded: Phone, qop: str) -> None:
    challenges = challenged(guarded)
    assert [challenge.algorithm for challenge in challenges] == ["SHA-512-256", "SHA-256", "MD5"]
    assert strongest(challenges) is challenges[0]
    for number in range(len(challenges)):
        challenge = challenged(guarded)[number]
        assert qop in challenge.qop
        assert guarded.send(authorized(guarded, challenge, qop)).status == 200, challenge.algorithm


def test_a_nonce_that_was_used_is_stale_and_a_wrong_password_is_not(guarded: Phone) -> None:
    challenge = challenged(guarded)[0]
    assert guarded.send(authorized(guarded, challenge, "auth")).status == 200
    again = guarded.send(authorized(guarded, challenge, "auth"))
    assert again.status == 401
    assert all(fresh.stale for fresh in parse_challenges(again.all(b"www-authenticate")))
    assert guarded.send(authorized(guarded, challenge, "auth", nc=2)).status == 200
    wrong = guarded.send(authorized(guarded, challenged(guarded)[0], "auth", word="guess"))
    assert wrong.status in {401, 403}
    assert not any(fresh.stale for fresh in parse_challenges(wrong.all(b"www-authenticate")))
