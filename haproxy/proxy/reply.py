"""Responses of our own: RFC 3261 section 8.2.6, with the operator's Server header (guide 7.1.1)."""

from __future__ import annotations

from collections.abc import Iterable

from haproxy.proxy.validation import Refused
from haproxy.sip.message import Request, Response
from haproxy.sip.server import ServerTransaction
from haproxy.sip.transaction import TransactionLayer


class Reply:
    """Makes and sends them."""

    def __init__(self, layer: TransactionLayer) -> None:
        self._layer = layer
        name = layer.server_header
        self._server_lines = [] if name is None else [b"Server: " + name]

    def make(self, request: Request, status: int, reason: str | None = None) -> Response:
        """A response that is not sent yet."""
        phrase = reason.encode() if reason is not None else None
        return self._layer.sign(request.response(status, phrase, self._layer.stateless_tag(request)))

    def answer(
        self,
        request: Request,
        status: int,
        reason: bytes | None = None,
        headers: Iterable[tuple[bytes, bytes]] = (),
    ) -> bytes:
        """The bytes of a final response, for requests without a transaction."""
        return self.answer_with(request, status, reason, [name + b": " + value for name, value in headers])

    def answer_with(self, request: Request, status: int, reason: bytes | None, lines: list[bytes]) -> bytes:
        """The same with header lines as they are sent; the list is ours from now on."""
        lines += self._server_lines
        return request.answered(status, reason, self._layer.stateless_tag(request), lines)

    def send(self, server: ServerTransaction, status: int, now: float, *headers: tuple[bytes, bytes]) -> None:
        """Answer a request."""
        response = self.make(server.request, status)
        for name, value in headers:
            response.append(name, value)
        self._layer.respond(server, response, now)

    def refuse(self, server: ServerTransaction, refusal: Refused, now: float) -> None:
        """Answer a request with what speaks against it."""
        self._layer.respond(server, self.refusal(server.request, refusal), now)

    def refusal(self, request: Request, refusal: Refused) -> Response:
        """The response that says what speaks against a request."""
        response = self.make(request, refusal.status, refusal.reason)
        for name, value in refusal.headers:
            response.append(name, value)
        return response
