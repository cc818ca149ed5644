"""Who is in a group: parties arrive, may be away for a while, leave and are listed until they are forgotten.

A group ends when it is deserted or closed. Everybody who is in is told of it.
"""

from __future__ import annotations

from functools import partial
from typing import Final

from crs.identity import Identity
from crs.signaling.event import ReleaseRelay, RemoveNode
from crs.signaling.group import Group, GroupTable, Party, PartyState
from crs.signaling.groupannouncer import GroupAnnouncer
from crs.signaling.message import EndReason, Who
from crs.signaling.outlet import Outlet
from crs.signaling.session import Key

ANSWER_TIME: Final = 60.0
GRACE: Final = 30.0
LISTED: Final = 60.0
"""Seconds for which one that has left stays listed, and may join again."""
MAX_ENDED: Final = 10_000


class Membership:
    """The parties of all groups and rooms."""

    def __init__(self, outlet: Outlet, announce: GroupAnnouncer) -> None:
        self._outlet = outlet
        self._announce = announce
        self.table = GroupTable()

    def arrive(self, group: Group, client: Identity, key: Key, now: float) -> Party:
        """A new party that is about to join."""
        party = Party(client, key, now, PartyState.joining)
        self.table.add(group, party)
        return party

    def invite(self, group: Group, party: Party, now: float) -> None:
        """A new party that has to answer in time."""
        self.table.add(group, party)
        self.await_answer(group, party, now)

    def await_answer(self, group: Group, party: Party, now: float) -> None:
        """Have one who was invited leave unless it joins in time."""
        party.timer = self._outlet.at(now + ANSWER_TIME, partial(self._unanswered, group, party))

    def missing(self, group: Group, party: Party, now: float) -> None:
        """A party's connection is lost: it has a grace period to come back."""
        if party.state is not PartyState.left and party.away is None:
            party.away = self._outlet.at(now + GRACE, partial(self._lost, group, party))

    def leave(self, group: Group, party: Party, reason: EndReason, who: Who, now: float) -> None:
        """A party leaves; the group ends if that deserts it."""
        relay = party.relay
        self._depart(group, party, reason, who, now)
        if relay is not None and not group.ended:
            self._outlet.tell(RemoveNode(group.number, relay.identifier))
        self._announce.member(group, party)
        if group.deserted and not group.ended:
            nobody = not group.met and reason is EndReason.timeout
            self.end(group, EndReason.timeout if nobody else EndReason.empty, Who.server, now)
        self._bound_ended()

    def linger(self, group: Group, party: Party, now: float) -> None:
        """One who has left stays listed for a while."""
        party.state = PartyState.left
        self.table.leave(group, party)
        party.timer = self._outlet.at(now + LISTED, partial(self._forget, group, party))

    def expel(self, group: Group, party: Party, reason: EndReason, now: float) -> None:
        """The server has a party leave, and tells it."""
        if party.state is not PartyState.left and not group.ended:
            self.leave(group, party, reason, Who.server, now)
            self._announce.end(party)

    def end(
        self, group: Group, reason: EndReason, who: Who, now: float, *, silent: Party | None = None
    ) -> None:
        """End a group: all who have not left do, and are told, but for `silent`; its relay is released."""
        group.ended = True
        self.table.close(group)
        if group.opened:
            self._outlet.tell(ReleaseRelay(group.number))
        for party in list(group.parties.values()):
            if party.state is not PartyState.left:
                self._depart(group, party, reason, who, now)
                if party is not silent:
                    self._announce.end(party)
        self._bound_ended()

    def abandon(self, group: Group, party: Party) -> None:
        """Forget a group that nobody was told of."""
        group.ended = True
        self.table.close(group)
        self.table.forget(group, party)

    def _depart(self, group: Group, party: Party, reason: EndReason, who: Who, now: float) -> None:
        party.cancel_timers()
        party.relay, party.payload = None, b""
        party.reason, party.who, party.stopped = reason, who, now
        self.linger(group, party, now)
        self._announce.operator(group, party)

    def _lost(self, group: Group, party: Party, now: float) -> None:
        if not group.ended and party.state is not PartyState.left:
            self.leave(group, party, EndReason.lost, Who.server, now)

    def _unanswered(self, group: Group, party: Party, now: float) -> None:
        if not group.ended and party.waiting:
            self.leave(group, party, EndReason.timeout, Who.server, now)
            self._announce.end(party)

    def _forget(self, group: Group, party: Party, now: float) -> None:
        self.table.forget(group, party)

    def _bound_ended(self) -> None:
        while self.table.ended_count > MAX_ENDED:
            oldest = self.table.oldest_ended
            assert oldest is not None
            self.table.forget(*oldest)


def returned(party: Party) -> None:
    """A party is back within its grace period."""
    if party.away is not None:
        party.away.cancel()
        party.away = None
