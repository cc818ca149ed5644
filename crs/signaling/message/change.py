"""Changes of a call's media streams while the parties talk (docs/crs-protocol.md section 5.1)."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, TypeAlias

from msgspec import Meta

from crs.signaling.message.call import MAX_STREAMS, Relay, RelayKind, StreamNumber
from crs.signaling.message.frame import Event, Label, Payload, Reply, Request, Uri


class ChangeEnd(StrEnum):
    """Why a change was not made."""

    refused = "refused"
    withdrawn = "withdrawn"
    timeout = "timeout"


class Change(Request, kw_only=True, tag="change"):
    """Either party of an answered call: offer to add and remove streams. Reply: Changing."""

    session: Label
    caller: Uri
    change: Label
    """Names the change in its session; never used there before."""
    add: Annotated[list[RelayKind], Meta(max_length=MAX_STREAMS)] = []
    """The streams to add; they get the next numbers, in this order."""
    remove: Annotated[list[StreamNumber], Meta(max_length=MAX_STREAMS)] = []
    """The numbers of the streams to remove."""
    payload: Payload = b""


class AcceptChange(Request, kw_only=True, tag="accept-change"):
    """The other party: the change is made. Reply: Ok; who offered it gets ChangeAccepted."""

    session: Label
    caller: Uri
    change: Label
    payload: Payload = b""


class RefuseChange(Request, kw_only=True, tag="refuse-change"):
    """The other party refuses, or who has offered withdraws. Reply: Ok; the peer gets ChangeRefused."""

    session: Label
    caller: Uri
    change: Label
    payload: Payload = b""


class Changing(Reply, kw_only=True, tag="changing"):
    """The other party has been told. The sender's legs of the streams to be added."""

    session: Label
    change: Label
    relays: list[Relay]


class ChangeOffered(Event, kw_only=True, tag="change-offered"):
    """To the other party: accept or refuse."""

    session: Label
    caller: Uri
    change: Label
    remove: list[StreamNumber]
    relays: list[Relay]
    """The receiver's legs of the streams to be added."""
    payload: bytes


class ChangeAccepted(Event, kw_only=True, tag="change-accepted"):
    """To who has offered it: the change is made, and the relays of removed streams are released."""

    session: Label
    caller: Uri
    change: Label
    payload: bytes


class ChangeRefused(Event, kw_only=True, tag="change-refused"):
    """To the party that has not ended it, or to both: the call is as it was before the change."""

    session: Label
    caller: Uri
    change: Label
    reason: ChangeEnd
    payload: bytes


ChangeRequest: TypeAlias = Change | AcceptChange | RefuseChange
ChangeAnswer: TypeAlias = Changing | ChangeOffered | ChangeAccepted | ChangeRefused
