"""The conference bridge: group calls, to which one invites others, and conference rooms, which all may dial.

Parties come and go on their own; everybody who is in is told (`crs.signaling.membership`). A party whose
connection is lost stays for a grace period. A group ends when it is deserted or closed; a room's call ends
when nobody is in it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Final

from crs.identity import Identity
from crs.signaling import message
from crs.signaling.admission import Admission, Objection
from crs.signaling.attachment import AttachmentTable, Connection
from crs.signaling.change import refusal
from crs.signaling.directory import Directory
from crs.signaling.event import AddNode, Node, ReleaseRelay, RemoveNode, Result
from crs.signaling.group import Group, Party, PartyState, Room
from crs.signaling.groupannouncer import GroupAnnouncer
from crs.signaling.membership import Membership, returned
from crs.signaling.message import EndReason, ErrorCode, Who
from crs.signaling.outlet import Outlet
from crs.signaling.session import Key, Origin

MAX_RETOLD: Final = 16

Found = tuple[Group, Party]


class Bridge:
    """Serves open-group, invite-more, ringing, join, leave, close-group, and the dialling of rooms."""

    def __init__(
        self,
        outlet: Outlet,
        attachments: AttachmentTable,
        *,
        directory: Directory,
        admission: Admission,
        numbers: Iterator[int],
        rooms: Callable[[str], Iterable[Room]],
    ) -> None:
        """`numbers` names relays; `rooms(number)` gives the conference rooms of this number."""
        self._outlet = outlet
        self._announce = GroupAnnouncer(outlet, attachments)
        self._directory = directory
        self._admission = admission
        self._numbers = numbers
        self._rooms = rooms
        self.members = Membership(outlet, self._announce)
        self.table = self.members.table

    # Requests

    def open(self, connection: Connection, request: message.OpenGroup, now: float) -> None:
        """Begin a group call, or answer again an open-group whose reply was lost."""
        client, origin = connection.client, Origin(connection.number, request.id)
        key = Key(client.uri, request.session)
        found = self.table.find(client, key)
        if found is not None and found[0].is_of(client) and found[1].relay is not None:
            self._announce.opened(*found, origin, [])
            return
        if any(Identity(each.uri, each.account or client.account) == client for each in request.to):
            self._announce.refuse(origin, (ErrorCode.bad_message, "to: a client cannot invite itself"))
            return
        objection = self._objection(connection, key, now)
        if objection is not None:
            self._announce.refuse(origin, objection)
            return
        group = Group(next(self._numbers), request.session, client)
        self.table.open(group)
        party = self.members.arrive(group, client, key, now)
        then = partial(self._opened, group, party, connection=connection, request=request)
        self._outlet.ask(lambda token: AddNode(token, group.number, first=True), then)

    def invite_more(self, connection: Connection, request: message.InviteMore, now: float) -> None:
        """Who has begun a group invites more clients."""
        origin = Origin(connection.number, request.id)
        found = self._find(connection, request.id, Key(connection.client.uri, request.session))
        if found is None:
            return
        group, party = found
        if not group.is_of(connection.client):
            self._announce.refuse(origin, (ErrorCode.denied, "only who has begun a group call invites to it"))
        elif group.ended or party.state is not PartyState.joined:
            self._announce.refuse(origin, (ErrorCode.wrong_state, "you are not in the group"))
        else:
            refused = self._invite(group, connection, request, now)
            reply = message.MoreInvited(id=request.id, session=request.session, refused=refused)
            self._outlet.send(connection.number, reply)

    def ringing(self, connection: Connection, request: message.Ringing, now: float) -> bool:
        """The phone of one who was invited rings. False if the request is of no group."""
        found = self.table.find(connection.client, Key(request.caller, request.session))
        if found is None:
            return False
        group, party = found
        if group.ended or not party.waiting:
            reason = f"you are in state {party.state_text}"
            self._announce.refuse(Origin(connection.number, request.id), (ErrorCode.wrong_state, reason))
            return True
        self._announce.done(connection, request)
        if party.state is PartyState.invited:
            party.state = PartyState.ringing
            self._announce.changed(group, party)
        return True

    def join(self, connection: Connection, request: message.Join, now: float) -> None:
        """One who was invited, or has left a moment ago, takes part."""
        origin = Origin(connection.number, request.id)
        found = self._find(connection, request.id, Key(request.caller, request.session))
        if found is None:
            return
        group, party = found
        if group.ended or not group.opened:
            self._announce.refuse(origin, (ErrorCode.wrong_state, "the group has ended"))
        elif party.state is PartyState.joined:
            self._announce.joined(group, party, origin)
        elif party.state is PartyState.joining:
            self._announce.refuse(origin, (ErrorCode.wrong_state, "you are about to join already"))
        elif party.state is PartyState.left and (crowd := self._admission.crowd(group.owner, group.size)):
            self._announce.refuse(origin, crowd)
        else:
            self._enter(group, party, origin)

    def leave(self, connection: Connection, request: message.Leave, now: float) -> None:
        """A party leaves or declines; doing so twice is no error."""
        found = self._find(connection, request.id, Key(request.caller, request.session))
        if found is None:
            return
        group, party = found
        if party.state is not PartyState.left:
            allowed = (EndReason.decline, EndReason.busy) if party.waiting else (EndReason.hangup,)
            reason = request.reason if request.reason in allowed else allowed[0]
            self.members.leave(group, party, reason, _role(group, party.client), now)
        self._announce.done(connection, request)

    def close(self, connection: Connection, request: message.CloseGroup, now: float) -> None:
        """Who has begun a group, or owns the room, ends it for all."""
        found = self._find(connection, request.id, Key(request.caller, request.session))
        if found is None:
            return
        group, party = found
        if group.owner != connection.client:
            reason = "only who has begun a group, or owns the room, ends it for all"
            self._announce.refuse(Origin(connection.number, request.id), (ErrorCode.denied, reason))
            return
        if not group.ended:
            self.members.end(group, EndReason.hangup, Who.caller, now, silent=party)
        self._announce.done(connection, request)

    def dial(self, connection: Connection, request: message.Invite, now: float) -> None:
        """Somebody dials a conference room, and is in its call at once."""
        client, origin = connection.client, Origin(connection.number, request.id)
        rooms = self.find_rooms(client.account, request.to, request.account)
        if len(rooms) != 1:
            self._announce.refuse(origin, _not_one(request.to, rooms))
            return
        room, key = rooms[0], Key(client.uri, request.session)
        group = self.table.of_room(room)
        party = None if group is None else group.parties.get(client)
        if group is not None and party is not None and party.key == key and party.relay is not None:
            self._announce.joined(group, party, origin)
            return
        objection = self._objection(connection, key, now)
        if objection is not None:
            self._announce.refuse(origin, objection)
            return
        self._dial(room, client, key, origin, now)

    # What else happens

    def attached(self, connection: Connection, now: float) -> None:
        """A client is back, or new: it stays in its groups, and is told where it is."""
        ended: list[Found] = []
        for group, party in self.table.of(connection.client):
            returned(party)
            if party.waiting:
                self._announce.invitation(group, party)
            elif party.state is PartyState.joined:
                self._announce.in_group(group, party, connection.number)
            elif party.state is PartyState.left and party.who is not _role(group, party.client):
                ended.append((group, party))
        for _, party in ended[-MAX_RETOLD:]:
            self._announce.end(party)

    def resumed(self, connection: Connection) -> None:
        """A client has its connection back, and is told what it missed."""
        for _, party in self.table.of(connection.client):
            returned(party)

    def detached(self, connection: Connection, now: float) -> None:
        """A client's connection is lost or unregistered: it has a grace period to come back."""
        for group, party in self.table.of(connection.client):
            self.members.missing(group, party, now)

    def relay_idle(self, number: int, now: float) -> bool:
        """The relay of a group has seen no packet for too long. False if there is no such group."""
        group = self.table.of_number(number)
        if group is None:
            return False
        self.members.end(group, EndReason.timeout, Who.server, now)
        return True

    def end_all(self, reason: EndReason, now: float, account: str | None = None, *, keep_talks: bool) -> None:
        """The server ends every group, or an account's clients leave theirs and its groups end."""
        for group in self.table.live:
            if keep_talks and len(group.joined) > 1:
                continue
            if account in (None, group.owner.account):
                self.members.end(group, reason, Who.server, now)
                continue
            for party in list(group.parties.values()):
                if party.client.account == account:
                    self.members.expel(group, party, reason, now)

    def close_room(self, room: Room, now: float) -> None:
        """The call in a room ends, if there is one."""
        group = self.table.of_room(room)
        if group is not None:
            self.members.end(group, EndReason.hangup, Who.server, now)

    def find_rooms(self, account: str, number: str, of: str | None = None) -> list[Room]:
        """The rooms of a number that an account's clients may dial: its own, and of connected domains."""
        return [
            room
            for room in self._rooms(number)
            if of in (None, room.account) and self._directory.is_connected(account, room.account)
        ]

    # How

    def _objection(self, connection: Connection, key: Key, now: float) -> Objection | None:
        """Why a client cannot begin or enter a group."""
        closed = self._admission.closed()
        if closed is not None:
            return closed
        if self._admission.is_taken(connection.client, key):
            return ErrorCode.conflict, f"session {key.session} exists already"
        return self._admission.limit(connection, connection.client, now=now)

    def _opened(
        self,
        group: Group,
        party: Party,
        result: Result,
        now: float,
        *,
        connection: Connection,
        request: message.OpenGroup,
    ) -> None:
        origin = Origin(connection.number, request.id)
        if not isinstance(result, Node):
            self.members.abandon(group, party)
            self._announce.refuse(origin, refusal(result))
            return
        if group.ended or party.state is not PartyState.joining:
            self._outlet.tell(ReleaseRelay(group.number))
            self.members.abandon(group, party)
            self._announce.refuse(origin, (ErrorCode.wrong_state, "the group has ended"))
            return
        group.opened = True
        party.state, party.relay = PartyState.joined, result.relay
        refused = self._invite(group, connection, request, now, announce=False)
        if group.size == 1:
            self._outlet.tell(ReleaseRelay(group.number))
            self.members.abandon(group, party)
            self._announce.refuse(
                origin, (refused[0].code, f"nobody can be invited: {refused[0].uri}: {refused[0].code}")
            )
            return
        self._announce.opened(group, party, origin, refused)
        self._announce.newcomer(group, party, origin)

    def _invite(
        self,
        group: Group,
        connection: Connection,
        request: message.OpenGroup | message.InviteMore,
        now: float,
        *,
        announce: bool = True,
    ) -> list[message.Refusal]:
        """Invite who can be; the others are returned. One who is in the group already is left alone."""
        refused: list[message.Refusal] = []
        invited: list[Party] = []
        for invitee in request.to:
            client = Identity(invitee.uri, invitee.account or group.owner.account)
            present = group.parties.get(client)
            if present is not None and present.state is not PartyState.left:
                continue
            objection = self._not_invitable(group, client, connection, now)
            if objection is not None:
                refused.append(message.Refusal(uri=client.uri, account=client.account, code=objection[0]))
                continue
            party = Party(client, Key(group.owner.uri, group.label), now, payload=request.payload)
            self.members.invite(group, party, now)
            invited.append(party)
        for party in invited:
            self._announce.invitation(group, party)
            self._announce.operator(group, party)
            if announce:
                self._announce.member(group, party)
        return refused

    def _not_invitable(
        self, group: Group, client: Identity, connection: Connection, now: float
    ) -> Objection | None:
        crowd = self._admission.crowd(group.owner, group.size)
        if crowd is not None:
            return crowd
        former = group.parties.get(client)
        if former is not None:
            self.table.forget(group, former)
        return self._admission.reach(group.owner, client, group.label, now) or self._admission.limit(
            connection, client, now=now
        )

    def _dial(self, room: Room, client: Identity, key: Key, origin: Origin, now: float) -> None:
        group = self.table.of_room(room)
        party = None if group is None else group.parties.get(client)
        if group is not None and party is not None and party.state is not PartyState.left:
            # It dials again because it has forgotten that it is there.
            self.members.leave(group, party, EndReason.hangup, Who.callee, now)
            self._announce.end(party)
            group = self.table.of_room(room)
        if group is not None and (crowd := self._admission.crowd(group.owner, group.size)):
            self._announce.refuse(origin, crowd)
            return
        first = group is None
        if group is None:
            owner = Identity(room.owner, room.account)
            group = Group(next(self._numbers), room.number, owner, room)
            self.table.open(group)
        entered = self.members.arrive(group, client, key, now)
        number = group.number
        then = partial(self._entered, group, entered, origin)
        self._outlet.ask(lambda token: AddNode(token, number, first=first), then)

    def _enter(self, group: Group, party: Party, origin: Origin) -> None:
        party.before, party.state = party.state, PartyState.joining
        if party.before is PartyState.left:
            self.table.rejoin(party)
        if party.timer is not None:
            party.timer.cancel()
            party.timer = None
        then = partial(self._entered, group, party, origin)
        self._outlet.ask(lambda token: AddNode(token, group.number, first=False), then)

    def _entered(self, group: Group, party: Party, origin: Origin, result: Result, now: float) -> None:
        """The leg is there, or not."""
        if not isinstance(result, Node):
            self._not_entered(group, party, origin, refusal(result), now)
            return
        if group.ended or party.state is not PartyState.joining:
            if not group.opened:
                self._outlet.tell(ReleaseRelay(group.number))
            elif not group.ended:
                self._outlet.tell(RemoveNode(group.number, result.relay.identifier))
            self._announce.refuse(
                origin, (ErrorCode.wrong_state, "you have left meanwhile, or the group has ended")
            )
            return
        group.opened = True
        party.state, party.relay = PartyState.joined, result.relay
        party.reason = party.who = None
        group.met = group.met or len(group.joined) > 1
        self._announce.joined(group, party, origin)
        self._announce.newcomer(group, party, origin)
        self._announce.changed(group, party)

    def _not_entered(
        self, group: Group, party: Party, origin: Origin, objection: Objection, now: float
    ) -> None:
        self._announce.refuse(origin, objection)
        if group.ended or party.state is not PartyState.joining:
            return
        if party.before is PartyState.invited and group.room is not None:
            self.table.forget(group, party)
            if group.deserted:
                group.ended = True
                self.table.close(group)
                if group.opened:
                    self._outlet.tell(ReleaseRelay(group.number))
        elif party.before is PartyState.left:
            self.members.linger(group, party, now)
        else:
            party.state = party.before
            self.members.await_answer(group, party, now)

    def _find(self, connection: Connection, request: int, key: Key) -> Found | None:
        """The group that a request names; refuses the request if its sender knows of none."""
        found = self.table.find(connection.client, key)
        if found is None:
            reason = f"there is no group {key.session} of {key.caller}"
            self._announce.refuse(Origin(connection.number, request), (ErrorCode.unknown_session, reason))
        return found


def _not_one(number: str, rooms: list[Room]) -> Objection:
    if not rooms:
        return ErrorCode.not_found, f"there is no conference room {number}"
    accounts = ", ".join(sorted(room.account for room in rooms))
    return ErrorCode.ambiguous, f"account: there is a conference room {number} in each of {accounts}"


def _role(group: Group, client: Identity) -> Who:
    """What a party is in a group: who has begun it is the caller."""
    return Who.caller if group.is_of(client) else Who.callee
