"""Sending off clients that may not use the service any more: their calls, registrations and connections."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from crs.batch import batches
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
        *,
        now: Callable[[], float],
        pause: Callable[[], Awaitable[None]],
    ) -> None:
        """`purge(match)` closes connections of clients and counts them; `now` is the machine's clock;
        `pause()` lets others be served.
        """
        self._is_banned = is_banned
        self._machine = machine
        self._purge = purge
        self._now = now
        self._pause = pause

    async def enforce(self) -> int:
        """Expel every attached or suspended client that is banned now; how many connections that closes.

        Their calls end for both parties. Who connects again is denied by the machine's policy, and
        may stay connected; therefore connections that are not registered are left alone.
        """
        await self._end_calls()
        attachments = self._machine.attachments
        expelled: set[Identity] = set()
        for batch in batches([each.client for each in attachments.attached]):
            banned = [client for client in batch if self._is_banned(client)]
            for client in banned:
                self._machine.deny(client, self._now())
            expelled.update(banned)
            await self._pause()
        return self._purge(expelled.__contains__) if expelled else 0

    async def _end_calls(self) -> None:
        exchange = self._machine.exchange
        for batch in batches(exchange.table.live):
            for session in batch:
                party = self._is_banned(session.caller) or self._is_banned(session.callee)
                # One that has no relays yet is known to its caller only.
                if party and session.reason is None and session.state is not State.allocating:
                    exchange.end(session, EndReason.hangup, Who.server, self._now())
            await self._pause()
        bridge = self._machine.bridge
        for groups in batches(bridge.table.live):
            for group in groups:
                for member in list(group.parties.values()):
                    if self._is_banned(member.client):
                        bridge.members.expel(group, member, EndReason.hangup, self._now())
            await self._pause()
