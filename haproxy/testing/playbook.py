"""A script for a transaction layer: what comes in, what must go out, and when. Time is a number."""

from __future__ import annotations

import random
from typing import Any, Self, TypeVar

from haproxy.sip.event import Event
from haproxy.sip.flow import Flow, Transport
from haproxy.sip.message import Request, Response, parse
from haproxy.sip.transaction import ClientTransaction, RequestReceived, ServerTransaction, TransactionLayer
from rtlib.address import pack

E = TypeVar("E")

PEER = pack("192.0.2.1", 5060)
STEP = 0.05
"""The wheel's granularity: by so much a timer may be late."""


def request_bytes(
    method: bytes, *, via: bytes = b"192.0.2.1", branch: bytes = b"z9hG4bKpeer", to_tag: bytes = b""
) -> bytes:
    """A request of the peer."""
    return (
        b"%b sip:bob@example.com SIP/2.0\r\nVia: SIP/2.0/UDP %b;branch=%b\r\nMax-Forwards: 70\r\n"
        b"From: <sip:alice@example.com>;tag=f\r\nTo: <sip:bob@example.com>%b\r\nCall-ID: c\r\n"
        b"CSeq: 1 %b\r\nContent-Length: 0\r\n\r\n"
    ) % (method, via, branch, to_tag, method)


class Playbook:
    """Drives one layer. `hear` is what comes from the wire, `sent` what must go to it, nothing more."""

    def __init__(self, transport: Transport = "udp", **options: Any) -> None:
        self.layer = TransactionLayer(
            lambda flow: b"198.51.100.1:5060",
            random.Random(4475).randbytes,
            **options,
        )
        self.now = 100.0
        self.flow = Flow(transport, 1, PEER, 0 if transport == "udp" else 7)

    def hear(self, data: bytes) -> Self:
        """Something comes from the wire."""
        self.layer.receive(data, self.flow, self.now)
        return self

    def until(self, seconds: float) -> Self:
        """Let time pass, timer by timer, to `seconds` after the start of the playbook."""
        target = 100.0 + seconds
        while (due := self.layer.get_timer()) is not None and due <= target:
            self.now = max(self.now, due)
            self.layer.handle_timer(self.now)
        self.now = target
        return self

    def outgoing(self) -> list[Request | Response]:
        """The messages sent since the last look."""
        return [parse(data) for data, _ in self.layer.to_send(self.now)]

    def sent(self, *start_words: str) -> Self:
        """What has been sent since the last look: methods of requests, statuses of responses."""
        assert [word(message) for message in self.outgoing()] == list(start_words)
        return self

    def times_sent(self, seconds: float) -> list[float]:
        """When something was sent, from now until `seconds` after the start, to a wheel's step."""
        times = []
        target = 100.0 + seconds
        self.layer.to_send(self.now)
        while (due := self.layer.get_timer()) is not None and due <= target:
            self.now = max(self.now, due)
            self.layer.handle_timer(self.now)
            times += [round(self.now - 100.0, 1)] * len(self.layer.to_send(self.now))
        self.now = target
        return times

    def events(self) -> list[Event]:
        """What the layer has told since the last look."""
        found = []
        while (event := self.layer.next_event()) is not None:
            found.append(event)
        return found

    def told(self, *kinds: type) -> Self:
        """The events since the last look."""
        assert [type(event) for event in self.events()] == list(kinds)
        return self

    def event(self, kind: type[E]) -> E:
        """The only event since the last look."""
        (event,) = self.events()
        assert isinstance(event, kind)
        return event

    def server(self, method: bytes, **options: bytes) -> ServerTransaction:
        """A request comes in and makes a server transaction."""
        self.hear(request_bytes(method, **options))
        transaction = self.event(RequestReceived).transaction
        transaction.context = self
        return transaction

    def respond(self, transaction: ServerTransaction, status: int) -> Self:
        """The user answers, with the To tag `t`."""
        self.layer.respond(transaction, transaction.request.response(status, to_tag=b"t"), self.now)
        return self

    def client(self, method: bytes) -> ClientTransaction:
        """The user sends a request with a Route."""
        request = parse(request_bytes(method))
        assert isinstance(request, Request)
        request.remove(b"via")
        request.append(b"Route", b"<sip:r;lr>")
        transaction = self.layer.request(request, self.flow, self.now)
        transaction.context = self
        self.sent(method.decode())
        return transaction

    def answer(self, transaction: ClientTransaction, status: int, method: bytes | None = None) -> Self:
        """The peer answers, with the To tag `t`."""
        response = transaction.request.response(status, to_tag=b"t")
        if method is not None:
            response.set(b"CSeq", b"1 " + method)
        return self.hear(bytes(response))


def word(message: Request | Response) -> str:
    """How `sent` names a message."""
    return message.method.decode() if isinstance(message, Request) else str(message.status)
