"""Outbound registrations at work: joins their machine to log, notifier, service start and stop."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Final

from twisted.application.service import Service
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger

from haproxy.proxy.event import RegistrationChanged
from haproxy.uac.account import Account
from haproxy.uac.registration import State
from haproxy.uac.registrations import Registrations
from rtlib.notify import Notifier

LEAVE: Final = 0.5
"""Seconds that un-registering may take when the daemon stops: it has two for everything."""

_UP_OR_DOWN: Final = {State.REGISTERED.value, State.FAILED.value}

log = Logger()


class OutboundRegistrations(Service):
    """Registers while the service runs and this node is the active one."""

    def __init__(
        self,
        reactor: Any,
        machine: Registrations,
        *,
        flush: Callable[[], None],
        notifier: Notifier,
        now: Callable[[], float],
    ) -> None:
        """`flush` has sent what the machine wants to send. `reactor` provides IReactorTime."""
        self.machine = machine
        self._now = now
        self._reactor = reactor
        self._flush = flush
        self._notifier = notifier
        self._waiting: list[Deferred[None]] = []

    def startService(self) -> None:
        """Begin to register."""
        super().startService()
        self.switch(active=True)

    def switch(self, *, active: bool) -> None:
        """Register, or un-register everything: this node is the active one, or is not."""
        change = self.machine.activate if active else self.machine.deactivate
        change(self._now())
        self._flush()

    def apply(self, accounts: Iterable[Account], retry: float | None) -> None:
        """Take another configuration."""
        self.machine.replace(accounts, retry, self._now())
        self._flush()

    def refresh(self, uuid: str) -> bool:
        """Register now; False where that is going on, or is not wanted. KeyError where there is none."""
        started = self.machine.refresh(uuid, self._now())
        self._flush()
        return started

    async def leave(self) -> None:
        """Un-register everything, within LEAVE seconds."""
        self.switch(active=False)
        if self.machine.settled:
            return
        settled: Deferred[None] = Deferred()
        self._waiting.append(settled)
        timer: IDelayedCall = self._reactor.callLater(LEAVE, self._give_up)
        await settled
        if timer.active():
            timer.cancel()

    def changed(self, change: RegistrationChanged) -> None:
        """Tell operators, once for each change."""
        aor = change.aor.decode("utf-8", "replace")
        name = f"registration {change.uuid} ({aor}) at {change.registrar}"
        words = _words(change)
        write = log.warn if change.current == State.FAILED.value else log.info
        write("{name} {words}", name=name, words=words)
        if change.previous != change.current and change.current in _UP_OR_DOWN:
            self._notifier.notify("genproxy/registration", f"{name} {words}")
        if self.machine.settled:
            self._release()

    def _give_up(self) -> None:
        log.warn("not every registration could be ended within {limit} s", limit=LEAVE)
        self._release()

    def _release(self) -> None:
        waiting, self._waiting = self._waiting, []
        for each in waiting:
            each.callback(None)


def _words(change: RegistrationChanged) -> str:
    if change.current == State.UNREGISTERED.value:
        return "is ended"
    if change.current == State.REGISTERED.value:
        complaint = f"; {change.reason}" if change.reason else ""
        return f"is registered for {change.life} s{complaint}"
    again = "no further attempt" if change.retry is None else f"next attempt in {round(change.retry)} s"
    return f"failed: {change.status} {change.reason}; {again}"
