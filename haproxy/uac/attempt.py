"""One REGISTER with all that it takes: places to try, challenges, 423 (RFC 3261 section 10.2). Sans-IO."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, NamedTuple

from haproxy.proxy.alarm import Schedule, Timer
from haproxy.proxy.hop import Resolver
from haproxy.proxy.validation import Refused
from haproxy.sip.flow import Flow
from haproxy.sip.message import Request, Response
from haproxy.sip.transaction import LayerFull, TransactionLayer
from haproxy.sip.uri import parse as parse_uri
from haproxy.uac.account import Account
from haproxy.uac.authorization import Authorization, Unanswerable
from haproxy.uac.grant import grant_of

PATIENCE: Final = 33.0
"""Seconds for an answer: timer F comes first, unless somebody flushes the transactions."""

PLACE_PATIENCE: Final = 4.0
"""Seconds for an answer where there is another place to try, as for calls."""

LEAVE_PATIENCE: Final = 4.0
"""Seconds for the answer to an un-registration: it ends by itself in any case."""

ROUNDS: Final = 8
"""Requests of one attempt at one place: challenges of proxies and registrar, stale nonces, 423."""

LONGEST: Final = 7 * 86400
"""Seconds of a Min-Expires that we follow."""

LONGEST_REASON: Final = 160
"""Characters."""

_ELSEWHERE: Final = frozenset({408, 500, 502, 503, 504})
"""Answers of a place that does not work, so that another one is tried (RFC 3263 section 4.3)."""


@dataclass(frozen=True, slots=True)
class Stack:
    """What a user agent stands on."""

    layer: TransactionLayer
    resolver: Resolver
    schedule: Schedule
    entropy: Callable[[int], bytes]
    user_agent: bytes | None


class Outcome(NamedTuple):
    """How an attempt ended."""

    ok: bool
    status: int
    """The final response; 408 where none came, 503 where none could come, as RFC 3261 8.1.3.1 has it."""
    reason: str
    """What went wrong, or is wrong with the answer."""
    life: int = 0
    """Seconds granted."""
    heard: bool = True
    """A response came."""
    retry_after: int | None = None
    flow: Flow | None = None
    """The place that answered."""


class Identity:
    """What stays the same over all requests of one registration (RFC 3261 section 10.2)."""

    def __init__(self, account: Account, authorization: Authorization, tag: bytes, call_id: bytes) -> None:
        self.account = account
        self.authorization = authorization
        self.tag = tag
        self.call_id = call_id
        self.sequence = 0
        self.least = 0
        """Seconds that the registrar has asked for at least, by 423."""

    def request(self, expires: int, user_agent: bytes | None) -> Request:
        """The next REGISTER."""
        account = self.account
        self.sequence += 1
        headers = [
            (b"From", b"<%b>;tag=%b" % (account.aor, self.tag)),
            (b"To", b"<%b>" % account.aor),
            (b"Call-ID", self.call_id),
            (b"CSeq", b"%d REGISTER" % self.sequence),
            (b"Contact", b"<%b>" % account.contact),
            (b"Expires", b"%d" % expires),
        ]
        if user_agent is not None:
            headers.append((b"User-Agent", user_agent))
        request = Request.create(b"REGISTER", account.registrar, headers)
        self.authorization.sign(request)
        return request


class _Exchange:
    """One request of an attempt: hears of its transaction, until it is answered or given up."""

    def __init__(self, attempt: Attempt) -> None:
        self._attempt: Attempt | None = attempt
        self.timer: Timer | None = None

    def responded(self, response: Response, now: float) -> None:
        """A response came; provisional ones and late ones mean nothing."""
        if response.status >= 200 and (attempt := self.end()) is not None:
            attempt.answered(response, now)

    def failed(self, status: int, reason: str, now: float) -> None:
        """The network says that nobody is there (503), or the layer gave up waiting (408)."""
        if (attempt := self.end()) is not None:
            attempt.unanswered(status, reason, now)

    def expired(self, now: float) -> None:
        """The answer is overdue."""
        self.failed(408, "does not answer", now)

    def end(self) -> Attempt | None:
        """Hear no more; who has heard up to now."""
        if self.timer is not None:
            self.timer.cancel()
        attempt, self._attempt = self._attempt, None
        return attempt


class Attempt:
    """Registers, or with `expires` 0 un-registers; `done` is told how that ended, once."""

    def __init__(
        self, stack: Stack, identity: Identity, expires: int, done: Callable[[Outcome, float], None]
    ) -> None:
        self.expires = expires
        self.flow: Flow | None = None
        """The place that is being tried."""
        self.trouble = ""
        """What else is known of it: that TLS failed, that it sends garbage."""
        self.failovers = 0
        self._stack = stack
        self._identity = identity
        self._done = done
        self._places: deque[Flow] = deque()
        self._exchange: _Exchange | None = None
        self._rounds = 0
        self._over = False

    def begin(self, now: float) -> None:
        """Look the registrar up, and send to its first place."""
        account = self._identity.account
        try:
            self._stack.resolver.find(account.hop, account.side, self.go, now)
        except Refused as refused:
            self._end(Outcome(False, 503, str(refused.reason or "cannot be looked up now"), heard=False), now)

    def go(self, places: tuple[Flow, ...], now: float) -> None:
        """Send to the first of these places."""
        if self._over:
            return
        if not places:
            self._end(Outcome(False, 503, "its name has no address", heard=False), now)
            return
        self._places.extend(places)
        self._next(now)

    def answered(self, response: Response, now: float) -> None:
        """A final response."""
        status = response.status
        if status < 300:
            self._granted(response, now)
        elif status in {401, 407}:
            self._challenged(response, now)
        elif status == 423 and self.expires:
            self._too_brief(response, now)
        elif status in _ELSEWHERE and self._places:
            self._next(now)
        else:
            self._refused(response, "", now)

    def unanswered(self, status: int, reason: str, now: float) -> None:
        """None came, or none could."""
        if self._places:
            self._next(now)
            return
        if self.trouble:
            reason = f"{'does not answer' if status == 408 else 'cannot be reached'}: {self.trouble}"
        self._end(Outcome(False, status, printable(reason), heard=False), now)

    def _next(self, now: float) -> None:
        if self.flow is not None:
            self.failovers += 1
        self.flow = self._places.popleft()
        self._rounds = 0
        self._identity.authorization.begin()
        self._send(now)

    def _send(self, now: float) -> None:
        assert self.flow is not None
        self._rounds += 1
        self.trouble = ""
        self._exchange = exchange = _Exchange(self)
        request = self._identity.request(self.expires, self._stack.user_agent)
        try:
            self._stack.layer.request(request, self.flow, now).context = exchange
        except LayerFull:
            exchange.failed(503, "the proxy is overloaded", now)
            return
        patience = PLACE_PATIENCE if self._places else PATIENCE if self.expires else LEAVE_PATIENCE
        exchange.timer = self._stack.schedule(exchange, now + patience)

    def _granted(self, response: Response, now: float) -> None:
        if not self.expires:
            self._end(Outcome(True, response.status, "", flow=self.flow), now)
            return
        grant = grant_of(response, parse_uri(self._identity.account.contact), self.expires)
        ok = grant.life > 0
        self._end(Outcome(ok, response.status, printable(grant.complaint), grant.life, flow=self.flow), now)

    def _challenged(self, response: Response, now: float) -> None:
        try:
            if self._rounds >= ROUNDS:
                raise Unanswerable("challenges without end")
            self._identity.authorization.challenged(response)
        except Unanswerable as error:
            self._identity.authorization.forget()
            self._refused(response, str(error), now)
            return
        self._send(now)

    def _too_brief(self, response: Response, now: float) -> None:
        """Ask for as much as it wants (section 10.2.8)."""
        value = response.first(b"min-expires") or b""
        least = int(value[:12]) if value.isdigit() else 0
        if not self.expires < least <= LONGEST or self._rounds >= ROUNDS:
            shown = value[:20].decode("ascii", "replace")
            self._refused(response, f"Min-Expires {shown or 'is missing'}, asked for {self.expires}", now)
            return
        self.expires = self._identity.least = least
        self._send(now)

    def _refused(self, response: Response, reason: str, now: float) -> None:
        text = printable(reason or response.reason.decode("utf-8", "replace"))
        wait = response.retry_after
        self._end(Outcome(False, response.status, text, retry_after=wait, flow=self.flow), now)

    def _end(self, outcome: Outcome, now: float) -> None:
        if not self._over:
            self._over = True
            self._done(outcome, now)


def printable(text: str) -> str:
    """Words of a peer for log and screen: not too long, and without anything that moves the cursor."""
    return "".join(letter if letter.isprintable() else "?" for letter in text[:LONGEST_REASON])
