"""All outbound registrations of this node: switched on and off, changed while running (guide 12). Sans-IO."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from typing import Final

from haproxy.proxy.event import RegistrationChanged
from haproxy.uac.account import Account
from haproxy.uac.attempt import Stack
from haproxy.uac.registration import Registration, State, Tally
from rtlib.address import Address

SPACING: Final = 0.02
"""Seconds between two that begin, or are taken out, together: that is no flood to their provider."""


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
        self._leaving: dict[str, Registration] = {}
        """Those taken out, until they have un-registered; one of the same name waits for that."""

    def __iter__(self) -> Iterator[Registration]:
        """Those of the configuration."""
        return iter(self._current.values())

    def __len__(self) -> int:
        return len(self._current)

    @property
    def settled(self) -> bool:
        """Whether none is registered any more, and none tries."""
        everyone = (*self._current.values(), *self._leaving.values())
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
        self._begin(self, now)

    def deactivate(self, now: float) -> None:
        """This node does not register any more: un-register everything, at once."""
        self.active = False
        for each in list(self):
            each.leave(now, now)

    def refresh(self, uuid: str, now: float) -> bool:
        """Register now; False where that is going on already, or is not wanted. KeyError if there is none."""
        return self._current[uuid].refresh(now)

    def replace(self, accounts: Iterable[Account], retry: float | None, now: float) -> None:
        """Take other accounts: what is gone is un-registered, what is new registers, the rest goes on."""
        changed, self._retry = retry != self._retry, retry
        before, self._current = self._current, {}
        new = []
        for account in accounts:
            kept = self._keep(before, account, now)
            if kept is None:
                kept = self._make(account)
                new.append(kept)
            self._current[account.uuid] = kept
        for number, gone in enumerate(before.values()):
            self._remove(gone, now + number * SPACING, now)
        if self.active:
            self._begin(new, now)
        for each in self if changed else ():
            each.retry_changed(now)

    def trouble(self, remote: Address, reason: str) -> None:
        """Something is known of a peer that no response will tell: that TLS failed, that it sends garbage."""
        for each in (*self._current.values(), *self._leaving.values()):
            attempt = each.attempt
            if attempt is not None and attempt.flow is not None and attempt.flow.remote == remote:
                attempt.trouble = attempt.trouble or reason

    def _keep(self, before: dict[str, Registration], account: Account, now: float) -> Registration | None:
        """The registration that goes on with this account, taken out of `before`."""
        old = before.get(account.uuid)
        if old is None or not old.account.same_binding(account):
            return None
        if old.account != account:
            old.change(account, now)
        return before.pop(account.uuid)

    def _remove(self, old: Registration, when: float, now: float) -> None:
        uuid = old.account.uuid
        if uuid not in self._leaving:  # else it has waited for that one, and has not begun
            self._leaving[uuid] = old
            old.leave(when, now)

    def _gone(self, registration: Registration, now: float) -> None:
        uuid = registration.account.uuid
        if self._leaving.get(uuid) is not registration:
            return
        del self._leaving[uuid]
        successor = self._current.get(uuid)
        if successor is not None and self.active:
            self._begin([successor], now)

    def _begin(self, registrations: Iterable[Registration], now: float) -> None:
        """Register; not while the same one with other values leaves: it could be one binding there."""
        assert self._started is not None
        ready = (each for each in registrations if each.account.uuid not in self._leaving)
        for number, each in enumerate(ready):
            each.begin(max(now, self._started + each.account.delay) + number * SPACING)

    def _make(self, account: Account) -> Registration:
        return Registration(
            self._stack,
            account,
            retry=lambda: self._retry,
            tally=self.tally,
            tell=self._tell,
            left=self._gone,
        )
