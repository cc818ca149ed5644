"""Group calls and conference rooms (docs/crs-protocol.md sections 5.2 and 5.3)."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Final, TypeAlias

from msgspec import Meta, Struct

from crs.signaling.message.call import EndReason, Relay
from crs.signaling.message.frame import AccountId, ErrorCode, Event, Label, Reply, Request, Uri

MAX_INVITEES: Final = 16
"""Clients invited by one request."""

MAX_PARTIES: Final = 64
"""Clients in a group, invited or joined, at most: a message names them all."""

GroupPayload: TypeAlias = Annotated[bytes, Meta(max_length=16 * 1024)]
"""Less than in a call, for all parties are told in the same message."""


class MemberState(StrEnum):
    """Where a party of a group is."""

    invited = "invited"
    ringing = "ringing"
    joined = "joined"
    left = "left"


class Member(Struct, kw_only=True, frozen=True):
    """A party of a group, as the others see it."""

    uri: Uri
    account: AccountId
    state: MemberState
    identifier: Annotated[int, Meta(ge=0, lt=2**32)]
    """That of the packets it sends; 0 unless it has joined."""
    reason: EndReason | None
    """Why it has left; null unless it has."""


class Invitee(Struct, kw_only=True, frozen=True):
    """A client to be invited to a group."""

    uri: Uri
    account: AccountId | None = None
    """Null means the account of whoever invites."""


Invitees: TypeAlias = Annotated[list[Invitee], Meta(min_length=1, max_length=MAX_INVITEES)]


class Refusal(Struct, kw_only=True, frozen=True):
    """A client that could not be invited."""

    uri: Uri
    account: AccountId
    code: ErrorCode


class OpenGroup(Request, kw_only=True, tag="open-group"):
    """Begin a group call. Reply: GroupOpened, once those who could be invited have been told."""

    session: Label
    to: Invitees
    payload: GroupPayload = b""


class InviteMore(Request, kw_only=True, tag="invite-more"):
    """Who has begun a group: invite more clients. Reply: MoreInvited."""

    session: Label
    to: Invitees
    payload: GroupPayload = b""


class Join(Request, kw_only=True, tag="join"):
    """Who was invited: take part. Reply: Joined; the others get GroupMember."""

    session: Label
    caller: Uri


class Leave(Request, kw_only=True, tag="leave"):
    """Leave, or decline the invitation. Reply: Ok; the others get GroupMember. The group goes on."""

    session: Label
    caller: Uri
    reason: EndReason = EndReason.hangup
    """Before having joined: decline or busy; else hangup."""


class CloseGroup(Request, kw_only=True, tag="close-group"):
    """Who has begun a group, or owns the room: end it for all. Reply: Ok; the others get Ended."""

    session: Label
    caller: Uri


class GroupOpened(Reply, kw_only=True, tag="group-opened"):
    """The group has begun, and the sender is in it."""

    session: Label
    relay: Relay
    members: list[Member]
    refused: list[Refusal]


class MoreInvited(Reply, kw_only=True, tag="more-invited"):
    """All but these were invited."""

    session: Label
    refused: list[Refusal]


class Joined(Reply, kw_only=True, tag="joined"):
    """The sender is in the group: its own leg, and everybody with itself."""

    session: Label
    relay: Relay
    members: list[Member]


class GroupInvited(Event, kw_only=True, tag="group-invited"):
    """Somebody invites to a group."""

    session: Label
    caller: Uri
    account: AccountId
    members: list[Member]
    payload: bytes


class GroupMember(Event, kw_only=True, tag="group-member"):
    """To those who have joined: where a party is now."""

    session: Label
    caller: Uri
    member: Member


class InGroup(Event, kw_only=True, tag="in-group"):
    """To a client that attaches anew: it is in this group."""

    session: Label
    caller: Uri
    relay: Relay
    members: list[Member]


GroupRequest: TypeAlias = OpenGroup | InviteMore | Join | Leave | CloseGroup
GroupAnswer: TypeAlias = GroupOpened | MoreInvited | Joined | GroupInvited | GroupMember | InGroup
