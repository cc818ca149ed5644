"""The life of one registration: it begins, is refreshed, retried, and ends (guide 12.2, 7.1.9). Sans-IO."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from enum import Enum
from typing import Final

from haproxy.proxy.alarm import Timer
from haproxy.proxy.event import RegistrationChanged
from haproxy.sip.flow import Flow
from haproxy.uac.account import Account
from haproxy.uac.attempt import Attempt, Identity, Outcome, Stack
from haproxy.uac.authorization import Authorization

EARLY: Final = 0.8
"""A refresh comes after this share of the life granted, and up to `JITTER` of it later: not all at once."""
JITTER: Final = 0.1

SOONEST: Final = 5.0
"""Seconds to a refresh at least, whatever a registrar grants."""

RETRY_AFTER: Final = (10, 3600)
"""Bounds, in seconds, of a Retry-After that is honoured."""


class State(Enum):
    """What is known of a registration."""

    WAITING = "waiting"
    """It has not been tried yet."""
    REGISTERING = "registering"
    """It is tried for the first time."""
    REGISTERED = "registered"
    FAILED = "failed"
    """The last attempt failed."""
    UNREGISTERING = "unregistering"
    UNREGISTERED = "unregistered"
    """It is not to be registered here: this node is not the active one, or it was taken out."""


class Tally:
    """What all registrations have counted since the start."""

    def __init__(self) -> None:
        self.answers: Counter[str] = Counter()
        """Attempts by the status that ended them, or `timeout`, `unreachable`."""
        self.complaints = 0
        """Answers that said yes and were wrong in some way."""
        self.failovers = 0
        """Places that were given up for the next one of the same name."""


class Registration:
    """One account; at most one request is on its way at a time (RFC 3261 section 10.2)."""

    def __init__(
        self,
        stack: Stack,
        account: Account,
        *,
        retry: Callable[[], float | None],
        tally: Tally,
        tell: Callable[[RegistrationChanged], None],
        left: Callable[[Registration, float], None],
    ) -> None:
        """`retry` gives seconds between attempts after a failure, None for never; `left` hears of the end."""
        self.state = State.WAITING
        self.status = 0
        """The last final response; 0 before the first."""
        self.reason = ""
        self.due: float | None = None
        """When the next attempt begins; None where none is planned."""
        self.expires = 0.0
        """When the registrar forgets us; 0.0 where it does not know us."""
        self.flow: Flow | None = None
        """The registrar's place that has registered us."""
        self.attempt: Attempt | None = None
        self._stack = stack
        self._retry = retry
        self._tally = tally
        self._tell = tell
        self._left = left
        self._told: tuple[State, int, str] | None = None
        self._steady = State.WAITING
        """The state that was told last."""
        self._identity = Identity(
            account, Authorization(account.credentials, stack.entropy), self._new(), self._new()
        )
        self._timer: Timer | None = None
        self._wanted = False
        self._changed = False

    @property
    def account(self) -> Account:
        """What is registered."""
        return self._identity.account

    def begin(self, when: float) -> None:
        """Register, first at `when`."""
        self._wanted = True
        if self.attempt is None:
            self.state = State.WAITING
            self._plan(when)

    def refresh(self, now: float) -> bool:
        """Register now; False where that is going on, or is not wanted at all."""
        if not self._wanted or self.attempt is not None:
            return False
        self._register(now)
        return True

    def change(self, account: Account, now: float) -> None:
        """Go on with other credentials, or another life: the same binding at the same place."""
        self._identity.account = account
        self._identity.authorization = Authorization(account.credentials, self._stack.entropy)
        self._identity.least = 0
        if self.state is State.WAITING:
            return
        self._changed = not self.refresh(now) and self._wanted

    def retry_changed(self, now: float) -> None:
        """There is another time between attempts after a failure."""
        if self.state is State.FAILED and self.attempt is None:
            wait = self._retry()
            self._plan(None if wait is None else now + wait)

    def leave(self, when: float, now: float) -> None:
        """Un-register at `when`; `left` is told when that is done, or is given up."""
        self._wanted = False
        self._plan(None)
        if self.attempt is not None:
            return  # the answer has to be awaited
        if self.expires <= now:
            self._end(now)
            return
        self.state = State.UNREGISTERING
        if when > now:
            self._plan(when)
        else:
            self._unregister(now)

    def expired(self, now: float) -> None:
        """The next attempt is due (wheel)."""
        self._timer = self.due = None
        if self._wanted:
            self._register(now)
        else:
            self._unregister(now)

    def _register(self, now: float) -> None:
        self._plan(None)
        if self.state in {State.WAITING, State.UNREGISTERED}:
            self.state = State.REGISTERING
        expires = max(self.account.expires, self._identity.least)
        self.attempt = Attempt(self._stack, self._identity, expires, self._concluded)
        self.attempt.begin(now)

    def _unregister(self, now: float) -> None:
        self.attempt = Attempt(self._stack, self._identity, 0, self._concluded)
        if self.flow is not None:
            self.attempt.go((self.flow,), now)
        else:
            self.attempt.begin(now)

    def _concluded(self, outcome: Outcome, now: float) -> None:
        attempt, self.attempt = self.attempt, None
        assert attempt is not None
        self._count(attempt, outcome)
        if not attempt.expires:
            self._unregistered(now)
            return
        self.status, self.reason = outcome.status, outcome.reason
        if outcome.ok:
            self._succeeded(outcome, now)
        else:
            self._failed(outcome, now)
        if not self._wanted:
            self.leave(now, now)
            return
        again, self._changed = self._changed, False
        if again:
            self._register(now)
            return
        self._report(outcome, now)

    def _succeeded(self, outcome: Outcome, now: float) -> None:
        self.state = State.REGISTERED
        self.flow = outcome.flow
        self.expires = now + outcome.life
        chance = int.from_bytes(self._stack.entropy(4), "big") / 2**32
        self._plan(now + max(SOONEST, outcome.life * (EARLY + JITTER * chance)))

    def _failed(self, outcome: Outcome, now: float) -> None:
        self.state = State.FAILED
        wait = self._retry()
        if wait is not None and outcome.retry_after is not None:
            shortest, longest = RETRY_AFTER
            wait = min(max(outcome.retry_after, shortest), longest)
        self._plan(None if wait is None else now + wait)

    def _unregistered(self, now: float) -> None:
        self.expires = 0.0
        if self._wanted:
            # It is wanted again since.
            self.state = State.WAITING
            self._plan(now)
        else:
            self._end(now)

    def _end(self, now: float) -> None:
        self.state = State.UNREGISTERED
        self.expires = 0.0
        if self.status:
            self._report(Outcome(True, self.status, ""), now)
        self._left(self, now)

    def _report(self, outcome: Outcome, now: float) -> None:
        current = self.state, outcome.status, outcome.reason
        if current == self._told:
            return
        self._told = current
        retry = None if self.due is None else self.due - now
        previous, self._steady = self._steady, self.state
        self._tell(
            RegistrationChanged(
                self.account.uuid,
                self.account.aor,
                self.account.proxy,
                previous.value,
                self.state.value,
                outcome.status,
                outcome.reason,
                outcome.life,
                retry,
            )
        )

    def _count(self, attempt: Attempt, outcome: Outcome) -> None:
        unheard = "timeout" if outcome.status == 408 else "unreachable"
        self._tally.answers[str(outcome.status) if outcome.heard else unheard] += 1
        self._tally.failovers += attempt.failovers
        if outcome.status < 300 and outcome.reason:
            self._tally.complaints += 1

    def _plan(self, when: float | None) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self.due = when
        if when is not None:
            self._timer = self._stack.schedule(self, when)

    def _new(self) -> bytes:
        return self._stack.layer.new_tag()
