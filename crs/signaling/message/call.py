"""Calls between two clients (docs/crs-protocol.md section 5)."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Final, TypeAlias

from msgspec import Meta, Struct

from crs.signaling.message.frame import AccountId, Event, Label, Payload, Reply, Request, Uri


class EndReason(StrEnum):
    """Why a session ended, as in `hangup(reason; who)` of the operator's commands."""

    hangup = "hangup"
    decline = "decline"
    busy = "busy"
    cancel = "cancel"
    timeout = "timeout"
    empty = "empty"
    """Nobody else is left in the group."""
    lost = "lost"
    """A party's connection stayed away longer than the grace period."""
    shutdown = "shutdown"


class Who(StrEnum):
    """Who ended a session."""

    caller = "caller"
    callee = "callee"
    server = "server"


class RelayKind(StrEnum):
    """How the relay tells a stream's packets: by the SSRC of SRTP, or by the relay header."""

    rtp = "rtp"
    opaque = "opaque"
    opaque_multicast = "opaque-multicast"
    """That of a group: everyone gets what one sends."""


MAX_STREAMS: Final = 8
"""Media streams of a call at a time."""

StreamNumber: TypeAlias = Annotated[int, Meta(ge=0, lt=2**31)]
"""A stream of a session. Numbers count from 0 and are never used again in the session."""


class Relay(Struct, kw_only=True, frozen=True):
    """One party's leg of one media stream through the UDP relay."""

    stream: StreamNumber
    kind: RelayKind
    host: str
    """Where to send to; empty means the address that the client's connection goes to."""
    port: Annotated[int, Meta(ge=1, le=65535)]
    identifier: Annotated[int, Meta(ge=1, lt=2**32)]
    """This party's identifier: it must be the SSRC of the SRTP that it sends."""
    peer: Annotated[int, Meta(ge=0, lt=2**32)]
    """The other party's identifier: the SSRC of the SRTP that arrives. 0 in a group, which has many."""
    key: Annotated[bytes, Meta(min_length=32, max_length=32)]
    """Authenticates this leg's bind packets."""


class Invite(Request, kw_only=True, tag="invite"):
    """Call somebody. Reply: Inviting, once the callee has been told.

    With the one stream opaque-multicast, dial the conference room of the number `to`. Reply: Joined.
    """

    session: Label
    to: Uri
    account: AccountId | None = None
    """The callee's account; absent means the caller's own."""
    streams: Annotated[list[RelayKind], Meta(min_length=1, max_length=MAX_STREAMS)]
    """The media streams wanted; each gets a leg, in this order."""
    payload: Payload = b""


class Ringing(Request, kw_only=True, tag="ringing"):
    """Callee: the phone rings. Reply: Ok; the caller gets Rang."""

    session: Label
    caller: Uri
    payload: Payload = b""


class Answer(Request, kw_only=True, tag="answer"):
    """Callee: accept the call. Reply: Ok; the caller gets Answered."""

    session: Label
    caller: Uri
    payload: Payload = b""


class Hangup(Request, kw_only=True, tag="hangup"):
    """Either party: end, cancel or decline. Reply: Ok; the other party gets Ended."""

    session: Label
    caller: Uri
    """The session's caller: session ids are unique for a caller only."""
    reason: EndReason = EndReason.hangup
    """A caller before the answer: cancel; a callee before its answer: decline or busy; else hangup."""


class Inviting(Reply, kw_only=True, tag="inviting"):
    """The callee has been told. The caller's legs, in the order of the invite's streams."""

    session: Label
    relays: list[Relay]


class Invited(Event, kw_only=True, tag="invited"):
    """To the callee: somebody calls."""

    session: Label
    caller: Uri
    account: AccountId
    relays: list[Relay]
    payload: bytes


class Rang(Event, kw_only=True, tag="rang"):
    """To the caller: the callee's phone rings."""

    session: Label
    payload: bytes


class Answered(Event, kw_only=True, tag="answered"):
    """To the caller: the callee has accepted."""

    session: Label
    payload: bytes


class Ended(Event, kw_only=True, tag="ended"):
    """To the party that did not end it, or to both: the session is over and its relays are released."""

    session: Label
    caller: Uri
    reason: EndReason
    who: Who


CallRequest: TypeAlias = Invite | Ringing | Answer | Hangup
CallAnswer: TypeAlias = Inviting | Invited | Rang | Answered | Ended
