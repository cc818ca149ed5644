"""Servers that hang, babble, close or have several addresses."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import deferLater
from twisted.logger import capturedLogs

from haproxy.dns.record import Answer, Question
from haproxy.notification import connection
from haproxy.notification.client import Client
from haproxy.notification.outbox import Outcome
from haproxy.notification.target import Target, Url
from rtlib.testing import loop

INTERNAL = Outcome(error="internal error; the log has the details")
OK = b"HTTP/1.1 204 No Content\r\n\r\n"


class Server(Factory):
    """Says the same to everybody, and keeps what it was told."""

    noisy = False

    def __init__(self, reply: bytes, closes: bool = False) -> None:
        self.reply, self.closes = reply, closes
        self.told = b""
        self.open: list[Any] = []

    def buildProtocol(self, addr: object) -> Protocol:
        return Visit(self)


class Visit(Protocol):
    transport: Any

    def __init__(self, server: Server) -> None:
        self.server = server

    def connectionMade(self) -> None:
        self.server.open.append(self)

    def dataReceived(self, data: bytes) -> None:
        first = not self.server.told
        self.server.told += data
        if first:
            self.transport.write(self.server.reply)
            if self.server.closes:
                self.transport.loseConnection()

    def connectionLost(self, reason: object = None) -> None:
        self.server.open.remove(self)


async def nobody(question: Question) -> Answer:
    """No name server."""
    raise AssertionError(question)


def with_server(server: Server, story: Callable[[Any, int], Awaitable[Outcome]]) -> Outcome:
    """Run a story with the reactor and the port of a server, all of whose connections end by themselves."""

    async def run() -> Outcome:
        reactor = loop.installed_reactor()
        port = reactor.listenTCP(0, server, interface="127.0.0.1")
        try:
            outcome = await story(reactor, port.getHost().port)
            begin = reactor.seconds()
            while server.open:
                assert reactor.seconds() - begin < 10
                await deferLater(reactor, 0.01)
            return outcome
        finally:
            await port.stopListening()

    return loop.run(run, 30)


def post(
    server: Server, host: str = "127.0.0.1", ask: connection.Ask = nobody, timeout: float = 10.0
) -> Outcome:
    """What comes of a POST to a server."""

    async def story(reactor: Any, port: int) -> Outcome:
        target = Target("t", Url.of(f"http://{host}:{port}/path"))
        return await Client(reactor, target, ask, bytes, timeout=timeout).post(b'{"a": 1}')

    return with_server(server, story)


def test_what_is_sent() -> None:
    server = Server(OK)
    assert post(server) == Outcome(204)
    head, _, content = server.told.partition(b"\r\n\r\n")
    lines = {line.split(b":")[0].lower(): line for line in head.split(b"\r\n")}
    assert head.startswith(b"POST /path HTTP/1.1\r\n")
    assert lines[b"content-type"].endswith(b"application/json")
    assert lines[b"content-length"].endswith(b" 8")
    assert lines[b"user-agent"].endswith(b" Genesis Proxy")
    assert content == b'{"a": 1}'


def test_a_server_that_hangs_is_left_in_time() -> None:
    assert post(Server(b""), timeout=0.3) == Outcome(error="no answer within 0.3 s")
    assert post(Server(b"HTTP/1.1 204 No"), timeout=0.3).error == "no answer within 0.3 s"


@pytest.mark.parametrize(
    ("reply", "error"),
    [
        (b"", "the connection was closed without an answer"),
        (b"SSH-2.0-OpenSSH\r\n\r\n", "not HTTP: ParseError: ('wrong number of parts', b'SSH-2.0"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n", "the answer is not HTTP: ValueError"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: x\r\n\r\n", "the answer is not HTTP: KeyError: b'x'"),
        (b"HTTP/1.1 200 OK\r\n\x92: x\r\n\r\n", "the answer is not HTTP: InvalidHeaderName"),
        (b"HTTP/1.1 503 Busy\r\nRetry-After: 7\r\n\r\n", "503 Busy"),
    ],
)
def test_answers_that_are_none(reply: bytes, error: str) -> None:
    outcome = post(Server(reply, closes=True))
    assert error in outcome.error
    assert outcome.retry_after == (7.0 if b"Retry" in reply else 0.0)


def test_a_server_that_babbles_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    assert post(Server(b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 100_000)).error.startswith("the connection")
    # The answer counts, not how much comes after it, nor whether that ever ends.
    monkeypatch.setattr(connection, "GRACE", 0.2)
    for content in (b"x" * 200_000, b"x"):
        reply = b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n" + content
        assert post(Server(reply)) == Outcome(200)


def test_all_addresses_of_a_name_are_tried() -> None:
    async def ask(question: Question) -> Answer:
        assert question.name == "server.example"
        # Nothing listens at the first.
        return Answer(("127.255.255.253", "127.0.0.1")) if question.kind == "A" else Answer()

    server = Server(OK)
    assert post(server, "server.example", ask) == Outcome(204)
    assert b"host: server.example:" in server.told.lower()


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (Answer(), "cannot connect: the name server.example has no address"),
        (Answer(failed=True), "cannot connect: no name server answers for server.example"),
    ],
)
def test_names_that_lead_nowhere(answer: Answer, error: str) -> None:
    async def ask(question: Question) -> Answer:
        return answer

    assert post(Server(OK), "server.example", ask) == Outcome(error=error)


def test_a_name_server_that_hangs() -> None:
    async def ask(question: Question) -> Answer:
        return await Deferred()

    assert post(Server(OK), "server.example", ask, timeout=0.3).error == "no answer within 0.3 s"


def test_a_fault_of_our_own_is_none_of_the_server_and_is_logged_with_its_place(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def broken(question: Question) -> Answer:
        raise ZeroDivisionError(question)

    def unwilling(self: object, consumer: object) -> None:
        raise ZeroDivisionError

    with capturedLogs() as told:
        assert post(Server(OK), "server.example", broken) == INTERNAL
        # Twisted wraps what the content of a request raises.
        monkeypatch.setattr("haproxy.notification.client._Content.startProducing", unwilling)
        assert post(Server(OK)) == INTERNAL
    traces = [event["log_failure"].getTraceback() for event in told if "log_failure" in event]
    assert ["in broken" in trace for trace in traces] == [True, False]
    assert ["in unwilling" in trace for trace in traces] == [False, True]
