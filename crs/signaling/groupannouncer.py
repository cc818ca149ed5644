"""What the parties of groups, and the operator, are told of them; telling it twice does no harm."""

from __future__ import annotations

from typing import Literal

from crs.signaling import message
from crs.signaling.admission import Objection
from crs.signaling.attachment import AttachmentTable, Connection
from crs.signaling.event import SessionEvent
from crs.signaling.group import Group, Party
from crs.signaling.outlet import Outlet
from crs.signaling.session import Origin


class GroupAnnouncer:
    """Writes the messages about groups."""

    def __init__(self, outlet: Outlet, attachments: AttachmentTable) -> None:
        self._outlet = outlet
        self._attachments = attachments

    def changed(self, group: Group, party: Party) -> None:
        """A party is somewhere else now: tell the others, and the operator."""
        self.member(group, party)
        self.operator(group, party)

    def operator(self, group: Group, party: Party) -> None:
        """Trace where a party is."""
        caller, callee = group.ends(party)
        if caller != callee:
            kind: Literal["group", "conference"] = "group" if group.room is None else "conference"
            self._outlet.tell(SessionEvent(caller, callee, party.state_text, party.key.session, kind=kind))

    def member(self, group: Group, party: Party) -> None:
        """Tell everybody who is in the group where a party is now."""
        member = party.member
        for other in group.joined:
            if other is not party:
                event = message.GroupMember(session=other.key.session, caller=other.key.caller, member=member)
                self._send(other, event)

    def invitation(self, group: Group, party: Party) -> None:
        """Tell a party that it is invited."""
        event = message.GroupInvited(
            session=party.key.session,
            caller=party.key.caller,
            account=group.owner.account,
            members=group.members,
            payload=party.payload,
        )
        self._send(party, event)

    def opened(self, group: Group, party: Party, origin: Origin, refused: list[message.Refusal]) -> None:
        """Answer who has begun the group."""
        assert party.relay is not None
        reply = message.GroupOpened(
            id=origin.request,
            session=group.label,
            relay=party.relay,
            members=group.members,
            refused=refused,
        )
        self._outlet.send(origin.connection, reply)

    def joined(self, group: Group, party: Party, origin: Origin) -> None:
        """Answer who has joined."""
        assert party.relay is not None
        reply = message.Joined(
            id=origin.request, session=party.key.session, relay=party.relay, members=group.members
        )
        self._outlet.send(origin.connection, reply)

    def newcomer(self, group: Group, party: Party, origin: Origin) -> None:
        """The client has attached anew while it was joining, and does not get the reply."""
        connection = self._attachments.number(party.client)
        if connection is not None and connection != origin.connection:
            self.in_group(group, party, connection)

    def in_group(self, group: Group, party: Party, connection: int) -> None:
        """Tell a party that attached anew what it is in."""
        assert party.relay is not None
        event = message.InGroup(
            session=party.key.session, caller=party.key.caller, relay=party.relay, members=group.members
        )
        self._outlet.send(connection, event)

    def end(self, party: Party) -> None:
        """Tell a party that it is out."""
        assert party.reason is not None
        assert party.who is not None
        self._send(
            party,
            message.Ended(
                session=party.key.session, caller=party.key.caller, reason=party.reason, who=party.who
            ),
        )

    def _send(self, party: Party, event: message.ServerMessage) -> None:
        self._outlet.send(self._attachments.number(party.client), event)

    def done(self, connection: Connection, request: message.Request) -> None:
        """A request is carried out."""
        self._outlet.send(connection.number, message.Ok(id=request.id))

    def refuse(self, origin: Origin, objection: Objection) -> None:
        """A request fails."""
        self._outlet.refuse(origin.connection, origin.request, *objection)
