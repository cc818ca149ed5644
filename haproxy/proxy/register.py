"""What becomes of a REGISTER for our own domain (RFC 3261 section 10.3). Sans-IO."""

from __future__ import annotations

from collections import Counter

from haproxy.proxy.admission import Admission
from haproxy.proxy.reply import Reply
from haproxy.proxy.validation import Refused, validate
from haproxy.registrar.authentication import WWW
from haproxy.registrar.registrar import Registrar
from haproxy.sip.flow import Flow, arrive
from haproxy.sip.message import ParseError, Request
from haproxy.sip.transaction import TransactionLayer


class Register:
    """Admits, has the registrar work, and answers without a transaction (section 8.2.7).

    What comes again changes nothing and is answered alike, so nothing of it is kept for 32 seconds.
    """

    def __init__(
        self,
        *,
        layer: TransactionLayer,
        registrar: Registrar,
        admission: Admission,
        reply: Reply,
        sent_bys: tuple[bytes, ...],
        counters: Counter[str],
    ) -> None:
        """`sent_bys` are those of our own Via; `counters` is told of refusals."""
        self._layer = layer
        self._registrar = registrar
        self._admission = admission
        self._reply = reply
        self._sent_bys = sent_bys
        self._counters = counters

    def take(self, request: Request, source: Flow, now: float) -> None:
        """Do what it asks for, if it may, and answer."""
        self._layer.counters.requests += 1
        flow = arrive(request, request.top_via, source)
        try:
            answer = self._renewed(request, source, now) or self._processed(request, source, now)
        except Refused as refusal:
            self._counters["refused"] += 1
            reason = None if refusal.reason is None else refusal.reason.encode()
            answer = self._reply.answer(request, refusal.status, reason, refusal.headers)
        except (ParseError, ValueError):
            self._counters["refused"] += 1
            answer = self._reply.answer(request, 400)
        self._layer.answer(answer, flow)

    def _renewed(self, request: Request, source: Flow, now: float) -> bytes | None:
        """The short cut for what says the same as the last one; None where there is more to do.

        It needs no look at loops: it ends here.
        """
        binding = self._registrar.renewal(request, source)
        if binding is None:
            return None
        if self._admission.checks.register_auth:
            challenge = self._admission.challenge(request, binding, now)
            if challenge is not None:
                # No exception: every user agent is asked in the course of things.
                self._counters["refused"] += 1
                return self._reply.answer(request, WWW.status, None, challenge)
        return self._reply.answer_with(request, 200, None, self._registrar.renew(request, binding, now))

    def _processed(self, request: Request, source: Flow, now: float) -> bytes:
        if not request.is_plain:
            validate(request, self._sent_bys)
        system = self._admission.register(request, source, now)
        # The dispatcher wants to hear of its systems each time.
        outcome = self._registrar.process(request, source, now, renewable=not system)
        return self._reply.answer_with(request, outcome.status, outcome.reason, outcome.lines)
