"""Sending off clients that may not use the service any more: their calls, registrations and connections."""

from __future__ import annotations

from collections.abc import Callable

from crs.identity import Identity
from crs.signaling.message import EndReason, Who
from crs.signaling.rendezvous import Rendezvous
from crs.signaling.session import State


class Expulsion:
    """Makes a ban hold for who is here already."""

    def __init__(
        self,
        is_banned: Callable[[Identity], bool],
        machine: Rendezvous,
        purge: Callable[[Callable[[Identity], bool]], int],
        now: Callable[[], float],
    ) -> None:
        """`purge(match)` closes connections of clients and counts them; `now` is the machine's clock."""
        self._is_banned = is_banned
        self._machine = machine
        self._purge = purge
        self._now = now

    def enforce(self) -> int:
        """Expel every attached or suspended client that is banned now; how many connections that closes.

        Their calls end for both parties. Who connects again is denied by the machine's policy, and
        may stay connected; therefore connections that are not registered are left alone.
        """
        now = self._now()
        self._end_calls(now)
        attached = {each.client for each in self._machine.attachments.attached}
        expelled = {client for client in attached if self._is_banned(client)}
        for client in expelled:
            self._machine.deny(client, now)
        return self._purge(expelled.__contains__)

    def _end_calls(self, now: float) -> None:
        exchange = self._machine.exchange
        for session in exchange.table.live:
            party = self._is_banned(session.caller) or self._is_banned(session.callee)
            # One that has no relays yet is known to its caller only.
            if party and session.state is not State.allocating:
                exchange.end(session, EndReason.hangup, Who.server, now)
