"""HTTP control of the dispatcher: bodies, digest, replay (guide 7.1.24 to 7.1.29)."""

from __future__ import annotations

import json
import os
from typing import Any

import pytest
from twisted.internet.address import IPv4Address
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport

from haproxy.dispatcher.control import Control, Doorman, Secrets, secrets_of
from haproxy.dispatcher.set import Dispatcher
from rtlib.digest import answer, ha1, parse_challenge
from rtlib.httpserver import SmallSite

USER, REALM, PASSWORD = "operator", "sip.example.com", "secret word"


class Server:
    """The control of two systems, one in each set, and one client's connection in memory."""

    def __init__(self, secrets: Secrets | None = None) -> None:
        self.now = 1000.0
        self.dispatcher = Dispatcher()
        for user in (b"genesis_a", b"genesis_b"):
            self.dispatcher.registered(user, b"sip:" + user, None, 0.0)
        self.reasons: list[str] = []
        self.offences: list[str] = []
        self.control = Control(
            self.dispatcher,
            set_primary=self._set,
            offence=lambda host, reason: self.offences.append(reason),
            now=lambda: self.now,
            doorman=None if secrets is None else Doorman(REALM, secrets, os.urandom),
        )
        self.site = SmallSite(self.control, Clock(), lambda host, reason: None)
        self.site.startFactory()

    def _set(self, number: int, reason: str) -> None:
        self.dispatcher.set_primary(number, reason, self.now)
        self.reasons.append(reason)

    def ask(self, method: str = "GET", body: bytes = b"", *headers: str, path: str = "/") -> Reply:
        address = IPv4Address("TCP", "192.0.2.7", 50000)
        transport = StringTransport(peerAddress=address)
        protocol: Any = self.site.buildProtocol(address)
        protocol.makeConnection(transport)
        lines = [f"{method} {path} HTTP/1.1", "Host: x", f"Content-Length: {len(body)}", *headers, "", ""]
        protocol.dataReceived("\r\n".join(lines).encode() + body)
        protocol.connectionLost()
        return Reply(transport.value())

    def authorized(
        self, challenge: str, *, method: str = "GET", user: str = USER, word: str = PASSWORD, nc: int = 1
    ) -> str:
        asked = parse_challenge(challenge.encode())
        assert asked is not None
        secret = ha1(user, REALM, word, asked.algorithm)
        return f"Authorization: {bytes(answer(asked, user, secret, method, '/', cnonce='c', nc=nc)).decode()}"


class Reply:
    """A response, in parts."""

    def __init__(self, data: bytes) -> None:
        head, _, self.body = data.partition(b"\r\n\r\n")
        lines = head.decode().split("\r\n")
        self.status = int(lines[0].split()[1])
        pairs = [line.partition(": ")[::2] for line in lines[1:]]
        self.challenges = [value for name, value in pairs if name.lower() == "www-authenticate"]
        self.kind = dict(pairs).get("Content-Type", "")


def test_get() -> None:
    server = Server()
    reply = server.ask()
    assert (reply.status, reply.kind) == (200, "application/json")
    assert json.loads(reply.body) == {"primary": 1, "preferred": 1}
    assert server.ask("GET", b"", "Accept: text/plain").body == b"1\n"
    assert server.ask("HEAD").status == 200
    assert server.ask(path="/any/path?x=1").status == 200


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (b'{"primary": 0}', "application/json"),
        (b"0", "text/plain; charset=utf-8"),
        (b" 0\r\n", "text/plain; charset=utf-8"),
        (b"primary=0", "text/plain; charset=utf-8"),
    ],
)
def test_post(body: bytes, kind: str) -> None:
    server = Server()
    reply = server.ask("POST", body)
    assert (reply.status, reply.kind) == (200, kind)
    assert server.dispatcher.primary == 0
    assert server.reasons == ["set over HTTP by 192.0.2.7"]


def test_post_of_a_set_that_is_down_waits_for_it() -> None:
    server = Server()
    backup = server.dispatcher.destinations(0)[0]
    server.dispatcher.failed(backup, "gone", 0.0)
    reply = server.ask("POST", b'{"primary": 0}')
    assert reply.status == 202
    assert json.loads(reply.body) == {"primary": 1, "preferred": 0}
    for _ in range(2):
        server.dispatcher.answered(backup, 1.0)
    assert json.loads(server.ask().body) == {"primary": 0, "preferred": 0}


@pytest.mark.parametrize(
    "body",
    [
        b"", b"2", b"-1", b"1.5", b"one", b"99999999999999999999", b"{", b"[]", b"null", b"{}",
        b'{"primary": true}', b'{"primary": "1"}', b'{"primary": 2}', b"\xff\xfe", b"[" * 4000,
    ],
)  # fmt: skip
def test_other_bodies_are_refused_with_a_sentence(body: bytes) -> None:
    server = Server()
    reply = server.ask("POST", body)
    assert reply.status == 400
    assert reply.body.decode().strip() in {
        'the body must be {"primary": 1} or 1, or the same with 0',
        "there is no dispatch set 2: the sets are 0 and 1",
        "there is no dispatch set 99999999999999999999: the sets are 0 and 1",
    }
    assert server.dispatcher.primary == 1
    assert len(server.offences) == 1


@pytest.mark.parametrize("method", ["PUT", "DELETE", "OPTIONS", "NONSENSE"])
def test_other_methods(method: str) -> None:
    assert Server().ask(method).status == 405


SECRETS = {
    "password": secrets_of(USER, REALM, password=PASSWORD),
    "ha1": secrets_of(USER, REALM, ha1_hash=ha1(USER, REALM, PASSWORD).upper()),
    "ha1b": secrets_of(USER, REALM, ha1b_hash=ha1(f"{USER}@{REALM}", REALM, PASSWORD)),
}


@pytest.mark.parametrize(
    ("kind", "user", "algorithms"),
    [
        ("password", USER, ["SHA-256", "MD5"]),
        ("password", f"{USER}@{REALM}", ["SHA-256", "MD5"]),
        ("ha1", USER, ["MD5"]),
        ("ha1b", f"{USER}@{REALM}", ["MD5"]),
    ],
)
def test_digest(kind: str, user: str, algorithms: list[str]) -> None:
    server = Server(SECRETS[kind])
    for number, algorithm in enumerate(algorithms):
        asked = server.ask("POST", b"0")
        assert asked.status == 401
        lines = zip(algorithms, asked.challenges, strict=True)
        assert all(f"algorithm={each}" in line for each, line in lines)
        header = server.authorized(asked.challenges[number], method="POST", user=user)
        assert f"algorithm={algorithm}" in header
        assert server.ask("POST", b"0", header).status == 200
    assert server.reasons[0] == f"set over HTTP by {user} at 192.0.2.7"


def test_the_password_overrides_the_hashes() -> None:
    assert secrets_of(USER, REALM, password=PASSWORD, ha1_hash="0" * 32) == SECRETS["password"]


def test_a_recorded_request_is_not_accepted_again() -> None:
    server = Server(SECRETS["password"])
    challenge = server.ask().challenges[0]
    header = server.authorized(challenge)
    assert server.ask("GET", b"", header).status == 200
    replayed = server.ask("GET", b"", header)
    assert replayed.status == 401
    assert "stale=true" in replayed.challenges[0]
    assert server.ask("POST", b"0", header).status == 401  # nor for something else
    assert server.dispatcher.primary == 1
    assert server.ask("GET", b"", server.authorized(challenge, nc=2)).status == 200
    assert server.control.requests == {"challenged": 1, "read": 2, "stale": 1, "denied": 1}


def test_an_old_nonce_is_stale() -> None:
    server = Server(SECRETS["password"])
    header = server.authorized(server.ask().challenges[0])
    server.now += 400
    assert "stale=true" in server.ask("GET", b"", header).challenges[0]


@pytest.mark.parametrize(
    "header",
    [
        "Authorization: Basic b3BlcmF0b3I6c2VjcmV0",
        "Authorization: Digest",
        "Authorization: Digest nonsense",
        'Authorization: Digest username="operator", realm="sip.example.com", nonce="x", uri="/", '
        'response="y"',
        "X: y",
    ],
)
def test_nobody_else_comes_in(header: str) -> None:
    server = Server(SECRETS["password"])
    reply = server.ask("POST", b"0", header)
    assert (reply.status, reply.body, server.dispatcher.primary) == (401, b"", 1)


@pytest.mark.parametrize(("user", "word"), [(USER, "wrong"), ("another", PASSWORD)])
def test_wrong_credentials(user: str, word: str) -> None:
    server = Server(SECRETS["password"])
    reply = server.ask("GET", b"", server.authorized(server.ask().challenges[0], user=user, word=word))
    assert reply.status == 401
    assert server.offences == [f"has wrong credentials for {user!r}"]


def test_credentials_for_another_place_are_refused() -> None:
    server = Server(SECRETS["password"])
    header = server.authorized(server.ask().challenges[0])
    assert server.ask("GET", b"", header, path="/elsewhere").status == 401
