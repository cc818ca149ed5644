"""A small real SIP phone on the cores of `haproxy.sip`: an RFC 3261 user agent with RTP audio."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any, Final

from twisted.internet.defer import Deferred, DeferredQueue

from haproxy.sip.flow import Flow
from haproxy.sip.message import Request, Response
from haproxy.sip.transaction import (
    AckReceived,
    ClientTransaction,
    Event,
    RequestReceived,
    ResponseReceived,
    ServerTransaction,
    Timeout,
    TransactionLayer,
    TransportError,
)
from haproxy.testing.audio import Audio
from haproxy.testing.call import Call, IncomingCall, OutgoingCall, Refused
from haproxy.testing.credentials import Credentials
from haproxy.testing.description import describe
from haproxy.testing.dialog import Dialog
from haproxy.testing.link import Link, UdpLink
from haproxy.testing.tcp import TcpLink
from haproxy.tls.store import TlsStore
from rtlib.address import join, pack
from rtlib.driver import Driver

ALLOW: Final = b"INVITE, ACK, CANCEL, BYE, OPTIONS, INFO"
USER_AGENT: Final = b"test-phone/0.1"
MAX_WAITING: Final = 16
"""Incoming calls that nobody has looked at; further ones are refused as busy."""


class Pending:
    """A request of ours: who waits for its final response, and whom provisional ones interest."""

    def __init__(self, call: OutgoingCall | None) -> None:
        self.call = call
        self.final: Deferred[Response] = Deferred()


class Phone:
    """One address of record, `user@domain`, with an outbound proxy.

    Incoming calls wait in `calls` until somebody rings or answers; with `answering` they are answered
    at once. It sends a tone of its own, so that the other end can tell whom it hears.
    """

    def __init__(
        self,
        reactor: Any,
        user: str,
        server: tuple[str, int],
        *,
        password: str = "",
        domain: str = "",
        host: str = "127.0.0.1",
        port: int = 0,
        transport: str = "udp",
        tone: int = 440,
        answering: bool = False,
        entropy: Callable[[int], bytes] = os.urandom,
        tls: TlsStore | None = None,
    ) -> None:
        """Bind `host` and `port` (0: a free one) and listen. `domain` is the server's host unless given.

        The transport `tls` needs the sections of `tls`.
        """
        self.reactor = reactor
        self.tone = tone
        self.answering = answering
        self.calls: DeferredQueue[IncomingCall] = DeferredQueue(size=MAX_WAITING)
        self.probes = 0
        """OPTIONS and INFO answered outside of calls."""
        self._entropy = entropy
        self._server = pack(*server)
        self._host = host
        self._layer = TransactionLayer(self._sent_by, entropy)
        make = UdpLink if transport == "udp" else partial(TcpLink, tls=tls if transport == "tls" else None)
        self._driver: Driver[Flow, Event] = Driver(self._layer, reactor, self._transmit, self._on_event)
        self._link: Link = make(reactor, host, port, self._driver.receive, self._lost)
        self._uri = f"sip:{user}@{domain or server[0]}".encode()
        self._user = user.encode()
        self._transport = transport
        self._credentials = Credentials(user, password, entropy)
        self._registration = self._layer.new_tag()
        self._sequence = 0
        self._up: list[Call] = []

    @property
    def uri(self) -> str:
        """Its address of record."""
        return self._uri.decode()

    @property
    def address(self) -> tuple[str, int]:
        """Host and port of its SIP socket."""
        return self._link.address

    @property
    def contact(self) -> bytes:
        """Its Contact header."""
        suffix = b"" if self._transport == "udp" else b";transport=" + self._transport.encode()
        return b"<sip:%b@%b%b>" % (self._user, join(*self.address).encode(), suffix)

    async def register(self, expires: int = 300, q: str = "") -> int:
        """Register, or with 0 unregister; the seconds granted. `q` is its preference. Raises Refused."""
        self._sequence += 1
        request = self._request(b"REGISTER", self._uri.partition(b"@")[2], self._uri, self._registration)
        request.append(b"Contact", self.contact + (b";q=" + q.encode() if q else b""))
        request.append(b"Expires", b"%d" % expires)
        response = _accepted(await self._authenticated(request, None))
        own = [each for each in response.addresses(b"contact") if bytes(each.uri) == self.contact[1:-1]]
        return int(own[0].param(b"expires") or 0) if own else 0

    async def options(self, uri: str = "") -> Response:
        """Ask what the server, or another, can do; any final response. Raises Refused when none comes."""
        target = uri.encode() or b"sip:" + self._uri.partition(b"@")[2]
        return await self.ask(self._request(b"OPTIONS", target, target, self._layer.new_tag()), self._way)

    def dial(self, uri: str) -> OutgoingCall:
        """Call somebody; see the call's `rang` and `answered`."""
        call = OutgoingCall(self, self._audio())
        request = self._request(b"INVITE", uri.encode(), uri.encode(), self._layer.new_tag())
        request.append(b"Contact", self.contact)
        request.replace_body(self.describe(call.audio), b"application/sdp")
        Deferred.fromCoroutine(self._invite(call, request))
        return call

    async def call(self, uri: str) -> OutgoingCall:
        """Call somebody and wait for the answer. Raises Refused."""
        call = self.dial(uri)
        await call.answered.wait()
        return call

    def stop(self) -> None:
        """Close all sockets at once, without a word to anybody, like a phone whose plug is pulled."""
        for call in self._up.copy():
            call.end("here")
        self._driver.stop()
        self._link.stop()

    async def ask(self, request: Request, flow: Flow, call: OutgoingCall | None = None) -> Response:
        """Send a request and wait for its final response. Raises Refused when none comes."""
        pending = Pending(call)
        transaction = self._layer.request(request, flow, time.monotonic())
        transaction.context = pending
        if call is not None:
            call.sent(transaction)
        self._driver.flush()
        return await pending.final

    def send(self, ack: Request, dialog: Dialog) -> None:
        """Send an ACK of a dialog."""
        self._layer.send(ack, self.flow_of(dialog))
        self._driver.flush()

    def respond(self, transaction: ServerTransaction, response: Response) -> None:
        """Answer a request."""
        self._layer.respond(transaction, response, time.monotonic())
        self._driver.flush()

    def cancel(self, transaction: ClientTransaction) -> None:
        """Cancel an INVITE."""
        self._layer.cancel(transaction, time.monotonic())
        self._driver.flush()

    def describe(self, audio: Audio) -> bytes:
        """The session description that offers this audio."""
        return describe(*audio.address)

    def keep(self, call: Call) -> None:
        """Remember a call until it ends."""
        self._up.append(call)

    def forget(self, call: Call) -> None:
        """It has ended."""
        with suppress(ValueError):
            self._up.remove(call)

    def flow_of(self, dialog: Dialog) -> Flow:
        """Where requests of a dialog go: to the first route, else the remote target."""
        hop = dialog.next_hop
        port = hop.port or (5061 if self._transport == "tls" else 5060)
        return self._link.flow(pack(hop.host.decode().strip("[]"), port))

    @property
    def _way(self) -> Flow:
        return self._link.flow(self._server)

    def _audio(self) -> Audio:
        return Audio(self.reactor, self.reactor, self._host, self.tone, self._entropy)

    def _sent_by(self, flow: Flow) -> bytes:
        return join(*self.address).encode()

    def _request(self, method: bytes, target: bytes, to: bytes, call_id: bytes) -> Request:
        """A request outside of dialogs."""
        sequence = self._sequence if method == b"REGISTER" else 1
        uri = target if b":" in target else b"sip:" + target
        headers = [
            (b"From", b"<%b>;tag=%b" % (self._uri, self._layer.new_tag())),
            (b"To", b"<%b>" % to),
            (b"Call-ID", call_id),
            (b"CSeq", b"%d %b" % (sequence, method)),
            (b"User-Agent", USER_AGENT),
        ]
        return Request.create(method, uri, headers)

    async def _authenticated(self, request: Request, call: OutgoingCall | None) -> Response:
        """Send a request; when it is challenged, send it once more with credentials."""
        again = request.copy()
        response = await self.ask(request, self._way, call)
        if response.status not in {401, 407} or not self._credentials.answer(again, response):
            return response
        if again.method == b"REGISTER":
            self._sequence = again.cseq_number
        return await self.ask(again, self._way, call)

    async def _invite(self, call: OutgoingCall, request: Request) -> None:
        """Everything up to the first final response; `accepted` is called for each 2xx by `_responded`."""
        try:
            _accepted(await self._authenticated(request, call))
        except Refused as error:
            call.refused(error)

    def _transmit(self, batch: list[tuple[bytes, Flow]]) -> None:
        self._link.send(batch)

    def _lost(self, flow: Flow) -> None:
        self._layer.transport_error(flow, time.monotonic())
        self._driver.flush()

    def _on_event(self, event: Event) -> None:
        handler = self._EVENTS.get(type(event))
        if handler is not None:
            handler(self, event)

    def _requested(self, event: RequestReceived) -> None:
        handler = self._METHODS.get(event.request.method)
        if handler is None:
            self.respond(event.transaction, event.request.response(405, to_tag=self._layer.new_tag()))
        else:
            handler(self, event.transaction, event.request)

    def _invited(self, transaction: ServerTransaction, request: Request) -> None:
        if request.to_tag is not None:  # a change of a call that is up: this phone keeps what it has
            self.respond(transaction, request.response(488))
            return
        if len(self.calls.pending) >= MAX_WAITING:
            self.respond(transaction, request.response(486, to_tag=self._layer.new_tag()))
            return
        call = IncomingCall(self, self._audio(), transaction, self._layer.new_tag())
        transaction.context = call
        call.ring()
        if self.answering:
            call.answer()
        self.calls.put(call)

    def _probed(self, transaction: ServerTransaction, request: Request) -> None:
        self.probes += 1
        response = request.response(200, to_tag=self._layer.new_tag())
        response.append(b"Allow", ALLOW)
        self.respond(transaction, response)

    def _hung_up(self, transaction: ServerTransaction, request: Request) -> None:
        call = self._find(request)
        self.respond(transaction, request.response(200 if call is not None else 481))
        if call is not None:
            call.end("there")

    def _cancelled(self, transaction: ServerTransaction, request: Request) -> None:
        invite = self._layer.invite_of(transaction)
        self.respond(
            transaction, request.response(481 if invite is None else 200, to_tag=self._layer.new_tag())
        )
        if invite is not None and invite.context is not None and invite.context.dialog is None:
            invite.context.cancelled()

    def _acknowledged(self, event: AckReceived) -> None:
        call = self._find(event.request)
        if isinstance(call, IncomingCall):
            call.acknowledged()

    def _responded(self, event: ResponseReceived) -> None:
        pending: Pending = event.transaction.context
        response = event.response
        if pending.call is not None and response.status < 200:
            pending.call.provisional(response)
        if pending.call is not None and 200 <= response.status < 300:
            pending.call.accepted(response)
        if response.status >= 200 and not pending.final.called:
            pending.final.callback(response)

    def _failed(self, event: Timeout | TransportError) -> None:
        pending = event.transaction.context
        if isinstance(pending, Pending) and not pending.final.called:
            status, reason = (
                (408, "nobody answered") if isinstance(event, Timeout) else (503, "nobody is there")
            )
            pending.final.errback(Refused(status, reason))

    def _find(self, request: Request) -> Call | None:
        for call in self._up:
            if call.dialog is not None and call.dialog.matches(request):
                return call
        return None

    _EVENTS: Final[dict[type, Callable[[Phone, Any], None]]] = {
        RequestReceived: _requested,
        AckReceived: _acknowledged,
        ResponseReceived: _responded,
        Timeout: _failed,
        TransportError: _failed,
    }
    _METHODS: Final[dict[bytes, Callable[[Phone, ServerTransaction, Request], None]]] = {
        b"INVITE": _invited,
        b"OPTIONS": _probed,
        b"INFO": _probed,
        b"BYE": _hung_up,
        b"CANCEL": _cancelled,
    }


def _accepted(response: Response) -> Response:
    if response.status >= 300:
        raise Refused(response.status, response.reason.decode(errors="replace"))
    return response
