"""All outbound registrations of this node: switched on and off, changed while running (guide 12). Sans-IO."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator

from haproxy.proxy.event import RegistrationChanged
from haproxy.uac.account import Account
from haproxy.uac.attempt import Stack
from haproxy.uac.registration import Registration, State, Tally
from rtlib.address import Address


class Registrations:
    """One registration for each account, while this node is the active one."""

    def __init__(
        self,
        stack: Stack,
        accounts: Iterable[Account],
        *,
        retry: float | None,
        tell: Callable[[RegistrationChanged], None],
    ) -> None:
        """`retry`: seconds between attempts after a failure; None for never."""
        self.tally = Tally()
        self.active = False
        self._stack = stack
        self._retry = retry
        self._tell = tell
        self._started: float | None = None
        self._current = {account.uuid: self._make(account) for account in accounts}
        self._leaving: dict[Registration, Registration | None] = {}
        """Those taken out, until they have un-registered; and what takes their place then."""

    def __iter__(self) -> Iterator[Registration]:
        """Those of the configuration."""
        return iter(self._current.values())

    def __len__(self) -> int:
        return len(self._current)

    @property
    def settled(self) -> bool:
        """Whether none is registered any more, and none tries."""
        everyone = (*self._current.values(), *self._leaving)
        return all(each.state in {State.WAITING, State.UNREGISTERED} for each in everyone)

    def by_state(self) -> dict[str, float]:
        """How many there are of each state."""
        states = Counter(each.state.value for each in self)
        return {state.value: float(states[state.value]) for state in State}

    def activate(self, now: float) -> None:
        """This node is the one that registers. `reg_delay` counts from the first time on."""
        if self.active:
            return
        self.active = True
        if self._started is None:
            self._started = now
        for each in self:
            self._begin(each, now)

    def deactivate(self, now: float) -> None:
        """This node does not register any more: un-register everything."""
        self.active = False
        for each in list(self):
            each.leave(now)

    def refresh(self, uuid: str, now: float) -> bool:
        """Register now; False where that is going on already, or is not wanted. KeyError if there is none."""
        return self._current[uuid].refresh(now)

    def replace(self, accounts: Iterable[Account], retry: float | None, now: float) -> None:
        """Take other accounts: what is gone is un-registered, what is new registers, the rest goes on."""
        changed, self._retry = retry != self._retry, retry
        before, self._current = self._current, {}
        for account in accounts:
            old = before.pop(account.uuid, None)
            self._current[account.uuid] = self._successor(account, old, now)
        for gone in before.values():
            self._remove(gone, None, now)
        for each in self if changed else ():
            each.retry_changed(now)

    def trouble(self, remote: Address, reason: str) -> None:
        """Something is known of a peer that no response will tell: that TLS failed, that it sends garbage."""
        for each in (*self._current.values(), *self._leaving):
            attempt = each.attempt
            if attempt is not None and attempt.flow is not None and attempt.flow.remote == remote:
                attempt.trouble = attempt.trouble or reason

    def _successor(self, account: Account, old: Registration | None, now: float) -> Registration:
        if old is not None and old.account == account:
            return old
        if old is not None and old.account.same_binding(account):
            old.change(account, now)
            return old
        new = self._make(account)
        # The two could be one binding to the registrar: not both at a time.
        if old is not None:
            self._remove(old, new, now)
            return new
        for each in self._leaving:
            if each.account.uuid == account.uuid:
                self._leaving[each] = new
                return new
        if self.active:
            self._begin(new, now)
        return new

    def _remove(self, old: Registration, successor: Registration | None, now: float) -> None:
        for each, waiting in self._leaving.items():
            if waiting is old:
                # It has not begun: another one waits in its place.
                self._leaving[each] = successor
                return
        self._leaving[old] = successor
        old.leave(now)

    def _gone(self, registration: Registration, now: float) -> None:
        successor = self._leaving.pop(registration, None)
        if successor is not None and self.active and self._current.get(successor.account.uuid) is successor:
            self._begin(successor, now)

    def _begin(self, registration: Registration, now: float) -> None:
        assert self._started is not None
        registration.begin(self._started + registration.account.delay, now)

    def _make(self, account: Account) -> Registration:
        return Registration(
            self._stack,
            account,
            retry=lambda: self._retry,
            tally=self.tally,
            tell=self._tell,
            left=self._gone,
        )
