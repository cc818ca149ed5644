"""The transaction layer: all transactions of an element as one sans-IO machine (RFC 3261 §17, RFC 6026).

The service hands received bytes and time in, and takes bytes and events out (`rtlib.machine`). The
transaction user (proxy, registrar, phone) acts through `respond`, `request`, `cancel` and `send`.
The state machines are tables in `haproxy.sip.state`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final

from haproxy.sip import client, server
from haproxy.sip.client import ClientTransaction
from haproxy.sip.engine import Engine
from haproxy.sip.event import (
    AckReceived,
    Counters,
    Event,
    Malformed,
    RequestReceived,
    ResponseReceived,
    StrayResponse,
    Terminated,
    Timeout,
    TransportError,
)
from haproxy.sip.flow import Flow, arrive
from haproxy.sip.message import ParseError, Request, Response, parse
from haproxy.sip.server import ServerTransaction
from haproxy.sip.state import ACCEPTED, COMPLETED, Input, State
from haproxy.sip.step import SHED, Key, Transaction
from haproxy.sip.timers import DEFAULTS, Timers
from haproxy.sip.via import COOKIE, Via

__all__ = [
    "AckReceived",
    "ClientTransaction",
    "Counters",
    "Event",
    "Flow",
    "LayerFull",
    "Malformed",
    "RequestReceived",
    "ResponseReceived",
    "ServerTransaction",
    "State",
    "StrayResponse",
    "Terminated",
    "Timeout",
    "TransactionLayer",
    "TransportError",
]

_ENTROPY_BLOCK: Final = 4096
_REFUSALS: Final = 20_000
"""Requests refused last that are known again: repetitions come within seconds."""
_CANCELLABLE: Final = (State.calling, State.proceeding)


class LayerFull(Exception):
    """There are as many client transactions as the layer may have; answer the caller with 503."""


class TransactionLayer(Engine):
    """All client and server transactions. Verbs of `rtlib.machine.Machine[Flow, Event]`, and the user's.

    `sent_by` gives what goes into our Via for a flow: `host[:port]`. `entropy` gives that many random
    bytes. There are at most `limit` server transactions, and twice as many of clients. The one that was
    answered first makes room for a new one; where none is answered, the new request gets 503.
    `server_header` is what the layer's own responses say of us, `user_agent` its own ACK and CANCEL.
    `refuses` says whether a request that is no repetition gets 503 and leaves nothing behind.
    """

    def __init__(
        self,
        sent_by: Callable[[Flow], bytes],
        entropy: Callable[[int], bytes],
        *,
        limit: int = 100_000,
        timers: Timers = DEFAULTS,
        server_header: bytes | None = None,
        user_agent: bytes | None = None,
        refuses: Callable[[Request, Flow], bool] | None = None,
    ) -> None:
        super().__init__(timers, server_header, user_agent)
        self._sent_by = sent_by
        self._via_prefixes: dict[str, dict[int, bytes]] = {"udp": {}, "tcp": {}, "tls": {}}
        self._entropy = entropy
        self._words: list[bytes] = []
        self._secret = entropy(32)
        self._limit = limit
        self._refusal_lines = [b"Retry-After: 5"]
        if server_header is not None:
            self._refusal_lines.append(b"Server: " + server_header)
        self._refused: dict[Key, float] = {}
        """When what was refused last first came, the oldest first."""
        self._refuses = refuses

    def receive(self, data: bytes, source: Flow, now: float) -> None:
        """Take one datagram, or one message from a stream. Never raises for any input."""
        try:
            message = parse(data)
        except ParseError as error:
            self.refuse_malformed(error, data, source)
            return
        if type(message) is Request:
            self.take_request(message, source, now)
        elif type(message) is Response:
            self.take_response(message, source, now)

    def respond(self, transaction: ServerTransaction, response: Response, now: float) -> None:
        """Send a response. What the transaction's state does not allow any more is dropped.

        To other requests than INVITE no 1xx but 100 is sent, 100 over UDP only once the requester's
        timer E has reached T2 (the layer does that by itself), and 408 never: the transaction ends
        in silence (RFC 4320 §4).
        """
        status = response.status
        step = transaction.row.responses[status // 100]
        if transaction.method != b"INVITE":
            if status < 200 and (status != 100 or not transaction.reliable):
                return
            if status == 408:
                step = transaction.row.steps.get(Input.silence)
        if step is not None:
            if step.passes:
                data = transaction.sent = response.__bytes__()
                transaction.status, transaction.to_tag = status, response.to_tag
                self._outgoing.append((data, transaction.flow))
            self._take(transaction, step, response, now)

    def request(
        self, request: Request, flow: Flow, now: float, branch: bytes | None = None
    ) -> ClientTransaction:
        """Put our Via on top of a request other than ACK, send it and await its responses. Raises LayerFull.

        `branch` is for a proxy that hides a loop check in it (§16.6 step 8); it must be new and start
        with `new_branch`'s result.
        """
        if len(self._clients) >= 2 * self._limit and not self._make_room(self._lingering_clients):
            raise LayerFull
        branch = branch or self.new_branch()
        prefix = self._via_prefixes[flow.transport].get(flow.local) or self._via_prefix(flow)
        request.push_via(prefix + branch)
        return self._begin_client(request, flow, branch, now)

    def cancel(self, transaction: ClientTransaction, now: float, reason: bytes | None = None) -> None:
        """Cancel an INVITE (§9.1): at once, or when its first provisional response comes.

        Its final response, usually 487, arrives as an event; if none does within 64 T1, a Timeout.
        Nothing happens if it is already answered. `reason` becomes a Reason header (RFC 3326).
        """
        if transaction.cancelled is not None or transaction.state not in _CANCELLABLE:
            return
        if transaction.method != b"INVITE":
            return
        transaction.cancelled = client.cancel_for(transaction.request, reason, self._user_agent)
        if transaction.state is State.proceeding:
            self._send_cancel(transaction, None, now)

    def shed(self, transaction: Transaction) -> None:
        """Let the request go, if the transaction has its final response and needs it no more.

        A user that does not look at it again saves most of the memory of a transaction, which lingers
        for half a minute to absorb retransmissions. Method and Call-ID stay.
        """
        state = transaction.row.state
        if isinstance(transaction, ServerTransaction):
            if transaction.status >= 200:
                transaction.request = SHED
            if state is ACCEPTED:
                transaction.sent = b""  # nothing sends it again (RFC 6026 section 7.1)
        elif state is ACCEPTED or (state is COMPLETED and transaction.method != b"INVITE"):
            transaction.request = SHED
            transaction.sent = b""

    def send(self, message: Request | Response, flow: Flow, branch: bytes | None = None) -> None:
        """Send without a transaction: the ACK for a 2xx, with our Via on top, or a stateless response."""
        if type(message) is Request:
            prefix = self._via_prefixes[flow.transport].get(flow.local) or self._via_prefix(flow)
            message.push_via(prefix + (branch or self.new_branch()))
        self._outgoing.append((message.__bytes__(), flow))

    def answer(self, data: bytes, flow: Flow) -> None:
        """Send the bytes of a response without a transaction."""
        self._outgoing.append((data, flow))

    def invite_of(self, cancel: ServerTransaction) -> ServerTransaction | None:
        """The INVITE that a received CANCEL means (§9.2); None gets 481."""
        return self._servers.get(server.invite_key(cancel))

    def new_branch(self) -> bytes:
        """A branch for a Via, unique and not to be guessed."""
        if not self._words:
            self._draw()
        return COOKIE + self._words.pop()

    def new_tag(self) -> bytes:
        """16 hexadecimal digits, for tags and Call-IDs too: 64 random bits, more than §19.3 asks for."""
        if not self._words:
            self._draw()
        return self._words.pop()

    def _draw(self) -> None:
        digits = self._entropy(_ENTROPY_BLOCK).hex().encode("ascii")
        self._words = [digits[start : start + 16] for start in range(0, len(digits), 16)]

    def stateless_tag(self, request: Request) -> bytes:
        """The same tag for every retransmission of a request that is not remembered (§8.2.7)."""
        # Python's own hash is keyed, too, and such a response makes no dialog that could be guessed at.
        number = hash((self._secret, request.call_id, request.from_tag, request.cseq_number))
        return b"%016x" % (number & 0xFFFFFFFFFFFFFFFF)

    def _via_prefix(self, flow: Flow) -> bytes:
        """Our Via up to the branch; rport lets the answer come back through NAT (RFC 3581 §3)."""
        transport = flow.transport.upper().encode("ascii")
        prefix = b"SIP/2.0/%b %b;rport;branch=" % (transport, self._sent_by(flow))
        self._via_prefixes[flow.transport][flow.local] = prefix
        return prefix

    def transactions(self) -> Iterator[Transaction]:
        """All transactions, for the operator's eyes."""
        yield from self._servers.values()
        yield from self._clients.values()

    def __len__(self) -> int:
        return len(self._servers) + len(self._clients)

    def take_request(self, request: Request, source: Flow, now: float) -> None:
        """Find the transaction of a request that was parsed, or make one."""
        via = request._via or request.top_via  # it is known: the property takes as long as all that follows
        method = request.method
        if method == b"ACK":
            self._receive_ack(request, via, source, now)
            return
        key = server.key_for(request, via, method)
        transaction = self._servers.get(key)
        if transaction is not None:
            self.counters.absorbed += 1
            self._step(transaction, Input.request, None, now)
            return
        flow = arrive(request, via, source)
        refused = key in self._refused and self._was_refused(key, now)
        if refused or (self._refuses is not None and self._refuses(request, source)):
            self._refuse_new(request, flow, key, now)
            return
        if len(self._servers) >= self._limit and not self._make_room(self._lingering_servers):
            self.counters.refused += 1
            self._refuse_new(request, flow, key, now)
            return
        self.counters.requests += 1
        kind = self._invite_server if method == b"INVITE" else self._non_invite_server
        beginning = kind.unreliable if flow.transport == "udp" else kind.reliable
        transaction = ServerTransaction(request, source, flow, key, beginning)
        self._servers[key] = transaction
        looks = beginning.looks
        (looks.last if looks.begun == now else looks.begin(now)).append(transaction)
        self.events.append(transaction)

    def _receive_ack(self, ack: Request, via: Via, source: Flow, now: float) -> None:
        key = server.key_for(ack, via, b"INVITE")
        transaction = self._servers.get(key)
        if transaction is None and key in self._refused:
            return  # of a refusal that left no transaction behind (§8.2.7)
        if transaction is None and not isinstance(key, bytes):
            transaction = self._old_style_invite(ack, via)
        arrive(ack, via, source)
        event = AckReceived(ack, source)
        if transaction is None:
            self.events.append(event)
        else:
            self._step(transaction, Input.ack, event, now)

    def _old_style_invite(self, ack: Request, via: Via) -> ServerTransaction | None:
        key = server.old_invite_key(ack, via)
        transaction = self._servers.get(key) if key is not None else None
        return transaction if transaction is not None and transaction.to_tag == ack.to_tag else None

    def _was_refused(self, key: Key, now: float) -> bool:
        """Whether this is the repetition of a request that was refused: it gets the same answer (§8.2.7)."""
        when = self._refused.get(key)
        return when is not None and now < when + self._timers.limit

    def _refuse_new(self, request: Request, flow: Flow, key: Key, now: float) -> None:
        if not self._was_refused(key, now):
            self._refused.pop(key, None)
            if len(self._refused) >= _REFUSALS:
                del self._refused[next(iter(self._refused))]
            self._refused[key] = now
        answer = request.answered(503, None, self.stateless_tag(request), self._refusal_lines)
        self._outgoing.append((answer, flow))

    def refuse_malformed(self, error: ParseError, data: bytes, source: Flow) -> None:
        """Answer what could not be parsed, if there is somebody to answer, or drop it."""
        if not data.strip(b"\r\n\0"):
            self.counters.keepalives += 1
            return
        self.counters.malformed += 1
        request = error.message
        if error.status is None or not isinstance(request, Request) or not _is_answerable(request):
            self.events.append(Malformed(source, error.reason, None))
            return
        self._refuse_stateless(request, source, error.status, error.reason.encode("ascii", "replace"))
        self.events.append(Malformed(source, error.reason, error.status))

    def _refuse_stateless(self, request: Request, source: Flow, status: int, reason: bytes) -> None:
        try:
            flow = arrive(request, request.top_via, source)
        except ParseError:
            flow = source  # its Via is what is malformed
        response = self.sign(request.response(status, reason, self.stateless_tag(request)))
        self._outgoing.append((bytes(response), flow))

    def take_response(self, response: Response, source: Flow, now: float) -> None:
        """Find the transaction of a response that was parsed."""
        via = response._via or response.top_via  # as above
        method = response.cseq_method
        # Matched by branch and method (§17.1.3); only a CANCEL shares its branch, with what it cancels.
        transaction = self._clients.get(via.branch if method != b"CANCEL" else client.cancel_key(via.branch))
        if transaction is not None and transaction.method == method:
            self.counters.responses += 1
            step = transaction.row.responses[response.status // 100]
            if step is not None:
                if step.passes and not transaction.quiet:
                    self.events.append((transaction, response))
                self._take(transaction, step, response, now)
        elif via.sent_by == self._sent_by(source).lower():
            self.counters.stray += 1
            self.events.append(StrayResponse(response, source))
        else:
            self.counters.foreign += 1


def _is_answerable(request: Request) -> bool:
    return request.method != b"ACK" and b"via" in request
