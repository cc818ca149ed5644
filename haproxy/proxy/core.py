"""The proxy core: the user of all transactions, and what becomes of each request (RFC 3261 section 16).

A sans-IO machine that stands on the transaction layer and offers the same verbs, so that one driver
connects both to the sockets. What came in with one batch is worked on in stages: all is parsed as it is
received, then all transactions take a step, then all requests and responses are forwarded. That was
measured to save a quarter of the time, because the processor keeps the code of one stage at hand.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable
from typing import Any

from haproxy.dispatcher.set import Dispatcher
from haproxy.dns.record import Answer, Question
from haproxy.proxy.admission import Admission, Ignored
from haproxy.proxy.alarm import Alarm
from haproxy.proxy.calls import Calls
from haproxy.proxy.context import Branch, Proxying, ResponseContext
from haproxy.proxy.conversation import Conversation
from haproxy.proxy.event import IGNORED, MALFORMED, Event, Offence
from haproxy.proxy.forward import Forwarding, Send
from haproxy.proxy.hop import Resolver
from haproxy.proxy.liveness import Liveness
from haproxy.proxy.register import Register
from haproxy.proxy.reply import Reply
from haproxy.proxy.route import Passage, Router
from haproxy.proxy.side import TRANSPORTS, Side, Sides
from haproxy.proxy.source import Sources
from haproxy.proxy.target import Groups, Target, Targets
from haproxy.proxy.validation import Refused, validate
from haproxy.registrar.location import Binding, LocationService, Removed
from haproxy.registrar.registrar import Registrar
from haproxy.sip import event
from haproxy.sip.client import ClientTransaction
from haproxy.sip.event import AckReceived
from haproxy.sip.flow import Flow
from haproxy.sip.message import ParseError, Request, Response, parse
from haproxy.sip.server import ServerTransaction
from haproxy.sip.step import Transaction
from haproxy.sip.transaction import TransactionLayer
from rtlib.wheel import Reminders, Wheel

METHODS = (
    b"INVITE, ACK, BYE, CANCEL, OPTIONS, REGISTER, INFO, MESSAGE, NOTIFY, PRACK, REFER, SUBSCRIBE, UPDATE"
)

RETRY_AFTER = b"60"
"""Seconds after which somebody who was refused may call again: another proxy may have taken over by then."""

STAGED = 256
"""Messages that wait for the next stage at most, should a batch be larger."""


class ProxyCore(Proxying):
    """Takes requests, and does with each what its method and the guide's rules ask for."""

    def __init__(
        self,
        *,
        layer: TransactionLayer,
        sides: Sides,
        sources: Sources,
        router: Router,
        targets: Targets,
        resolver: Resolver,
        forwarding: Forwarding,
        conversation: Conversation,
        reply: Reply,
        admission: Admission,
        registrar: Registrar,
        location: LocationService,
        dispatcher: Dispatcher,
        liveness: Liveness | None,
        wheel: Wheel[Alarm],
        events: deque[Event],
    ) -> None:
        self.layer = layer
        self.counters: Counter[str] = Counter()
        self.calls = Calls()
        self.refusal = ""
        """Why new calls are refused; empty while they are accepted."""
        self._sent_bys = tuple(dict.fromkeys(side.sent_by_of(kind) for side in sides for kind in TRANSPORTS))
        self._sources = sources
        self._router = router
        self._targets = targets
        self._resolver = resolver
        self._forwarding = forwarding
        self._conversation = conversation
        self._reply = reply
        self._admission = admission
        self._register = Register(
            layer=layer,
            registrar=registrar,
            admission=admission,
            reply=reply,
            sent_bys=self._sent_bys,
            counters=self.counters,
        )
        self._location = location
        self._dispatcher = dispatcher
        self._liveness = liveness
        self._wheel = wheel
        self.waiting = Reminders(0.1)
        self._events = events
        self._arrived: list[tuple[Request | Response, Flow]] = []
        self._onward: dict[Side | None, Groups] = {side: ((Target(side=side),),) for side in (None, *sides)}
        """Where requests inside a dialog go, by the side that our Route names."""
        self._methods: dict[bytes, Callable[[ServerTransaction, Request, Flow, float], None]] = {
            b"OPTIONS": self._options,
            b"CANCEL": self._cancel,
        }
        self._sends: Send[Branch] = self._found
        self._sends_ack: Send[Flow] = self._send_ack
        """To make a method of an object each time costs as much as a call."""
        self._handlers: dict[type, Callable[[Any, float], None]] = {  # of what is not an everyday matter
            event.Timeout: self._timeout,
            event.TransportError: self._transport_error,
            event.Malformed: self._malformed,
        }

    def receive(self, data: bytes, source: Flow, now: float) -> None:
        """Take one message."""
        try:
            message = parse(data)
        except ParseError as error:
            self.layer.refuse_malformed(error, data, source)
            return
        self._arrived.append((message, source))
        if len(self._arrived) >= STAGED:
            self._work(now)

    def to_send(self, now: float) -> list[tuple[bytes, Flow]]:
        """Do what is to be done about all that was received, and give what is to be sent, once."""
        self._work(now)
        return self.layer.to_send(now)

    def get_timer(self) -> float | None:
        """When `handle_timer` wants to be called."""
        if self._arrived or self.layer.events:
            return 0.0  # at once: a defect met by one message has left others behind
        due = self.layer.get_timer()
        probes = self._liveness.get_timer() if self._liveness is not None else None
        for when in (self.waiting.get_timer(), self._wheel.get_timer(), self._location.get_timer(), probes):
            if when is not None and (due is None or when < due):
                due = when
        return due

    def handle_timer(self, now: float) -> None:
        """Let time pass."""
        self.layer.handle_timer(now)
        for branch in self.waiting.due(now):
            branch.expired(now)
        for alarm in self._wheel.expire(now):
            alarm.expired(now)
        self._location.handle_timer(now)
        if self._liveness is not None:
            self._liveness.handle_timer(now)
        self._work(now)

    def next_event(self) -> Event | None:
        """The oldest event for the service."""
        return self._events.popleft() if self._events else None

    def flow_failed(self, flow: Flow, now: float, reason: str = "") -> None:
        """A message could not be sent there, or the connection is gone."""
        self.layer.transport_error(flow, now, reason)
        if self._liveness is not None:
            self._liveness.flow_failed(flow, now)

    def resolved(self, question: Question, answer: Answer, now: float) -> None:
        """The answer to a `Resolve`."""
        self._resolver.answered(question, answer, now)
        self._work(now)

    # What a response context asks for (context.Proxying).

    def launch(self, branch: Branch, now: float) -> None:
        """Send the request to the branch's target."""
        context, target = branch.context, branch.target
        request = context.server.request.copy()
        if target.destination is not None and len(context.branches) > 1:
            self.counters["failovers"] += 1
        try:
            flows = self._forwarding.find(request, target, self._sends, branch, now)
            if flows:
                self._found(branch, request, flows, now)
        except Refused as refusal:
            self._unsendable(branch, refusal.status, now)
        except ValueError:
            self._unsendable(branch, 400, now)

    def relaunch(self, branch: Branch, request: Request, flows: tuple[Flow, ...], now: float) -> None:
        """Send the request of a branch that failed to the next of its target's places."""
        self.counters["other_places"] += 1
        self._found(branch, request, flows, now)

    def forward(
        self, context: ResponseContext, response: Response, now: float, branch: Branch | None = None
    ) -> None:
        """Send a response upstream."""
        server, conversation = context.server, self._conversation
        final = response.status >= 200
        if conversation.active and branch is not None and branch.transaction is not None:
            conversation.response(response, branch.transaction.flow, server.source, now)
        if final and server.status < 200:
            if conversation.active:
                conversation.ended(server.request)
            if server.method == b"BYE":
                self.calls.ended(server.call_id)
            elif server.method == b"INVITE" and response.status < 300 and server.request.to_tag is None:
                self.calls.answered(server.call_id, now)
        self.layer.respond(server, response, now)
        if final:
            self.layer.shed(server)
            server.context = None

    def cancel(self, transaction: ClientTransaction, now: float) -> None:
        """Cancel an INVITE."""
        self.layer.cancel(transaction, now)

    def heard(self, branch: Branch, now: float) -> None:
        """A Genesis system answered a call."""
        if branch.target.destination is not None:
            self._dispatcher.heard(branch.target.destination, now)

    def unheard(self, branch: Branch, reason: str, now: float, certain: bool) -> None:
        """A Genesis system did not answer a call."""
        destination = branch.target.destination
        if destination is None:
            return
        if certain:
            self._dispatcher.failed(destination, reason, now)
        elif branch.context.server.method == b"INVITE":
            self._dispatcher.silent(destination, reason, now, branch.began)
        # Of other requests a living system may ignore some, and strangers would send them: a probe decides.
        if self._liveness is not None:
            self._liveness.suspect(destination, now)

    def was_deaf(self, since: float) -> bool:
        """Whether we were, so that silence says nothing."""
        return self._dispatcher.deaf(since)

    def unavailable(self, branch: Branch, response: Response, now: float) -> None:
        """A Genesis system has no room, or no way to whom was called: a probe tells whether it is well."""
        destination = branch.target.destination
        if destination is None:
            return
        self._dispatcher.rest(destination, response.retry_after or 0, now)
        if self._liveness is not None:
            self._liveness.suspect(destination, now)

    def flush(self, call_id: bytes | None, now: float) -> int:
        """End all transactions, or those of one Call-ID: who waits for an answer gets 503. How many."""
        chosen = [each for each in self.layer.transactions() if call_id in {None, each.call_id}]
        for each in chosen:
            waiting = each.context
            if isinstance(waiting, ResponseContext) and not waiting.answered:
                waiting.answered = True
                self.forward(waiting, self.local(waiting, 503), now)
            elif isinstance(each, ClientTransaction):
                self.layer.cancel(each, now)
        for each in chosen:
            waiting, each.context = each.context, None
            if not isinstance(each, ClientTransaction) or each.cancelled is None:
                self.layer.abandon(each)  # what is cancelled has a refusal to acknowledge
            if isinstance(waiting, Branch):
                waiting.finished = True
                waiting.released()
        return len(chosen)

    def _admit(self) -> None:
        """Raises Refused while the proxy is being emptied."""
        if self.refusal:
            self.counters["drained"] += 1
            raise Refused(503, None, (b"Retry-After", RETRY_AFTER))

    def refused(self, context: ResponseContext) -> None:
        """A request is refused."""
        self._conversation.failed(context.server.request)

    def local(self, context: ResponseContext, status: int) -> Response:
        """A response of our own."""
        return self._reply.make(context.server.request, status)

    # What the transaction layer tells.

    def _work(self, now: float) -> None:
        if self._arrived:
            self._take(now)
        while self.layer.events:
            self._hear(now)
        if self._location.changes or self._dispatcher.events:
            self.settle(now)

    def _take(self, now: float) -> None:
        """All transactions take a step."""
        arrived, layer = self._arrived, self.layer
        arrived.reverse()
        try:
            while arrived:
                message, source = arrived.pop()
                if type(message) is Response:
                    layer.take_response(message, source, now)
                elif type(message) is Request:
                    if message.method == b"REGISTER" and self._targets.is_own(message):
                        self._register.take(message, source, now)
                    else:
                        layer.take_request(message, source, now)
        finally:
            arrived.reverse()  # a defect met by one message leaves others behind

    def _hear(self, now: float) -> None:
        """Requests and responses are forwarded."""
        layer = self.layer
        events, layer.events = layer.events, []
        events.reverse()
        try:
            while events:
                happened = events.pop()
                if isinstance(happened, tuple):
                    transaction, response = happened
                    if response is None:
                        self._release(transaction)
                    else:
                        self._response(transaction, response, now)
                elif isinstance(happened, ServerTransaction):
                    self._request(happened, now)
                elif isinstance(happened, AckReceived):
                    self._ack(happened, now)
                else:
                    handler = self._handlers.get(type(happened))
                    if handler is not None:
                        handler(happened, now)
        finally:
            if events:  # as above
                events.reverse()
                layer.events[:0] = events

    def _request(self, server: ServerTransaction, now: float) -> None:
        request, flow = server.request, server.source
        method = self._methods.get(request.method)
        try:
            if method is None:
                self._proxy(server, request, flow, now)
            else:
                method(server, request, flow, now)
        except Refused as refusal:
            self.counters["refused"] += 1
            self._reply.refuse(server, refusal, now)
        except Ignored as ignored:
            self.counters["ignored"] += 1
            self.layer.abandon(server)
            self._events.append(Offence(IGNORED, flow, str(ignored)))
        except (ParseError, ValueError):
            self.counters["refused"] += 1
            self._reply.refuse(server, Refused(400), now)
        if server.status >= 200:
            self.layer.shed(server)

    def _response(self, transaction: Transaction, response: Response, now: float) -> None:
        waiting = transaction.context
        if type(waiting) is Branch:  # noqa: SIM114 - the compiler knows what it calls then
            waiting.responded(response, now)
        elif waiting is not None:
            waiting.responded(response, now)
        if response.status >= 200:
            self.layer.shed(transaction)
            if response.cseq_method != b"INVITE":
                self._release(transaction)

    def _timeout(self, happened: event.Timeout, now: float) -> None:
        transaction = happened.transaction
        if isinstance(transaction, ClientTransaction) and transaction.context is not None:
            transaction.context.failed(408, "does not answer", now)

    def _transport_error(self, happened: event.TransportError, now: float) -> None:
        waiting = happened.transaction.context
        if waiting is not None:
            waiting.failed(503, f"cannot be reached: {happened.reason or 'no connection'}", now)

    def _release(self, transaction: Transaction) -> None:
        """Undo circular references, so that the memory is free at once and not at the next sweep."""
        waiting, transaction.context = transaction.context, None
        if isinstance(waiting, Branch):
            waiting.released()

    def _malformed(self, happened: event.Malformed, now: float) -> None:
        self._events.append(Offence(MALFORMED, happened.flow, happened.reason))
        if self._liveness is not None:
            self._liveness.nonsense(happened.flow, happened.reason)

    def _ack(self, received: AckReceived, now: float) -> None:
        """The ACK of a 2xx goes the way of its call; one that belongs to no call of ours is dropped."""
        request, flow = received.request, received.flow
        try:
            if not request.is_plain:
                validate(request, self._sent_bys)
            passage = self._router.take_own(request)
            if passage.genuine or self._sources.is_genesis(flow) or flow.remote in self._sources.proxy:
                target = self._onward[passage.side][0][0]
                flows = self._forwarding.find(request, target, self._sends_ack, flow, now)
                if flows:
                    self._forwarding.send_ack(request, flow, flows[0], now)
        except (Refused, ParseError, ValueError):
            self.counters["dropped_acks"] += 1

    def _send_ack(self, came: Flow, request: Request, flows: tuple[Flow, ...], now: float) -> None:
        if flows:
            self._forwarding.send_ack(request, came, flows[0], now)

    # What the methods mean.

    def _options(self, server: ServerTransaction, request: Request, flow: Flow, now: float) -> None:
        if request.to_tag is None:
            self._admission.options(flow)
        if request.target.user is not None or not self._targets.is_own(request):
            self._proxy(server, request, flow, now)
            return
        self._admit()
        self._reply.send(server, 200, now, (b"Allow", METHODS), (b"Accept", b"application/sdp"))

    def _cancel(self, server: ServerTransaction, request: Request, flow: Flow, now: float) -> None:
        invite = self.layer.invite_of(server)
        if invite is None:
            raise Refused(481)
        self._reply.send(server, 200, now)
        if invite.context is not None:
            invite.context.cancel(now)

    def _proxy(self, server: ServerTransaction, request: Request, flow: Flow, now: float) -> None:
        if not request.is_plain:
            validate(request, self._sent_bys)
        course = request.course
        groups = self._groups(request, flow, self._router.take_own(request), now)
        context = ResponseContext(self, server, groups, b"x" + course)
        server.context = context
        context.advance(now)

    def _groups(self, request: Request, flow: Flow, passage: Passage, now: float) -> Groups:
        if request.to_tag is not None:
            if passage.genuine:
                return self._onward[passage.side]
            if not self._sources.is_genesis(flow) and flow.remote not in self._sources.proxy:
                raise Refused(481)
        elif request.method == b"INVITE":
            if self.refusal:
                self._admit()
            if self._admission.examines_calls and self._targets.to_genesis(request, flow):
                self._admission.call(request, flow, now)
        return self._targets.determine(request, flow, now)

    def _found(self, branch: Branch, request: Request, flows: tuple[Flow, ...], now: float) -> None:
        """The flows to a target are known: take the first, and keep the others should it fail."""
        if branch.finished:
            return  # cancelled while its name was looked up
        if not flows:
            self.counters["unreachable"] += 1
            branch.failed(503, "its name has no address", now)
            return
        flow = flows[0]
        if len(flows) > 1:
            branch.alternatives = request.copy(), flows[1:]
        context = branch.context
        try:
            transaction = self._forwarding.send(request, context.server.source, flow, context.ending, now)
        except Refused as refusal:
            self._unsendable(branch, refusal.status, now)
            return
        transaction.context = branch
        branch.started(transaction, now)

    def _unsendable(self, branch: Branch, status: int, now: float) -> None:
        """The request cannot be sent to this target as it is."""
        self.counters["refused"] += 1
        branch.finish(self.local(branch.context, status), now)

    def settle(self, now: float) -> None:
        """Take notice of bindings and the primary set: sets follow bindings, the service hears of all."""
        membership = False
        while (change := self._location.next_change()) is not None:
            binding = change.binding
            if self._dispatcher.set_of(binding.user) is not None:
                membership = True
                if isinstance(change, Removed):
                    self._dispatcher.unregistered(binding.contact, binding.user, change.reason, now)
                else:
                    self._join(binding, now)
            self._events.append(change)
        while (moved := self._dispatcher.next_event()) is not None:
            self._events.append(moved)
        if membership and self._liveness is not None:
            self._liveness.refresh(now)

    def _join(self, binding: Binding, now: float) -> None:
        """A Genesis system has registered; one that was down is asked at once whether it is well again."""
        system = self._dispatcher.registered(binding.user, binding.contact, binding.flow, now)
        if system is not None and not system.usable and self._liveness is not None:
            self._liveness.suspect(system, now)
