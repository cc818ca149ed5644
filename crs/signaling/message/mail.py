"""Messages that are left for others (docs/crs-protocol.md section 6)."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Final, TypeAlias

from msgspec import Meta, Struct

from crs.signaling.message.frame import AccountId, ErrorCode, Event, Label, Payload, Reply, Request, Uri

MAX_RECIPIENTS: Final = 128
"""Of one message to a group."""

Ttl: TypeAlias = Annotated[int, Meta(ge=1, le=31 * 86400)]


class Kind(StrEnum):
    """What an item of a mailbox is."""

    content = "content"
    ack = "ack"


class Post(Request, kw_only=True, tag="post"):
    """Leave a message for somebody. Reply: Posted, once it is on disk. Repeating it is harmless."""

    message: Label
    to: Uri
    account: AccountId | None = None
    payload: Payload
    ttl: Ttl | None = None
    """Seconds after which an undelivered message is dropped; absent means the server's default."""
    system: bool = False
    """Whether it is from software to software, such as a group's invites and updates, and counted apart."""


class Recipient(Struct, kw_only=True, frozen=True):
    """One of those that a message to a group is for."""

    uri: Uri
    account: AccountId | None = None


class PostGroup(Request, kw_only=True, tag="post-group"):
    """Leave a message for several clients. Reply: PostedGroup. Repeating it is harmless."""

    message: Label
    to: Annotated[list[Recipient], Meta(min_length=1, max_length=MAX_RECIPIENTS)]
    payload: Payload
    ttl: Ttl | None = None
    """As in Post."""
    system: bool = False
    """As in Post."""


class Ack(Request, kw_only=True, tag="ack"):
    """Confirm a delivered item, which then leaves the mailbox. Reply: Ok, once that is on disk.

    For `content`, an item of kind `ack` with this payload goes to the sender's mailbox.
    """

    kind: Kind
    message: Label
    sender: Uri
    """As in the Deliver that is confirmed."""
    account: AccountId
    """As in the Deliver that is confirmed."""
    payload: Payload = b""


class Posted(Reply, kw_only=True, tag="posted"):
    """The message is on disk and will be delivered."""

    message: Label


class PostResult(Struct, kw_only=True, frozen=True):
    """What became of a message for one recipient of a group."""

    code: ErrorCode | None
    """Null if it is on disk and will be delivered."""
    reason: str
    """A sentence for people; empty if there is no error."""


class PostedGroup(Reply, kw_only=True, tag="posted-group"):
    """What became of a message for each recipient, in the order of the request."""

    message: Label
    results: list[PostResult]


class Deliver(Event, kw_only=True, tag="deliver"):
    """An item of the mailbox. Sent again at the next attach until it is confirmed with Ack."""

    kind: Kind
    message: Label
    sender: Uri
    """For content: who posted it. For ack: who confirmed it."""
    account: AccountId
    """The account of `sender`."""
    time: float
    """When the server took the item: UTC, seconds since 1970."""
    payload: bytes
    system: bool = False
    """As in the Post."""


MailRequest: TypeAlias = Post | PostGroup | Ack
MailAnswer: TypeAlias = Posted | PostedGroup | Deliver
