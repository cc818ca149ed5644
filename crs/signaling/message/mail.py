"""Messages that are left for others (docs/crs-protocol.md section 6)."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, TypeAlias

from msgspec import Meta

from crs.signaling.message.frame import AccountId, Event, Label, Payload, Reply, Request, Uri


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
    ttl: Annotated[int, Meta(ge=1, le=31 * 86400)] | None = None
    """Seconds after which an undelivered message is dropped; absent means the server's default."""


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


MailRequest: TypeAlias = Post | Ack
MailAnswer: TypeAlias = Posted | Deliver
