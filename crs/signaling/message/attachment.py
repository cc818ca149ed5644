"""Attaching, resuming and detaching (docs/crs-protocol.md section 4)."""

from __future__ import annotations

from typing import Annotated, TypeAlias

from msgspec import Meta, Struct

from crs.signaling.message.frame import AccountId, Count, Event, Reply, Request, Uri


class Resume(Struct, kw_only=True, frozen=True):
    """The attachment that a client had over a connection that it has lost."""

    token: Annotated[bytes, Meta(max_length=1024)]
    """That of the attachment's latest Attached."""
    received: Count
    """How many messages of the attachment have arrived."""


class Attach(Request, kw_only=True, tag="attach", omit_defaults=True):
    """Register this connection for its identity. Reply: Attached. A newer connection wins."""

    version: Annotated[str, Meta(min_length=1, max_length=64)]
    """Name and version of the client software, shown to the operator."""
    resumable: bool = False
    """Whether the client counts messages, confirms them with Seen, and may want to resume."""
    resume: Resume | None = None
    """Go on with this attachment if it is still there; else begin a new one."""


class Seen(Request, kw_only=True, tag="seen"):
    """Confirm what has arrived since the attachment began, so that it need not be kept. Reply: Ok."""

    count: Count
    """How many messages of the attachment have arrived."""


class Detach(Request, kw_only=True, tag="detach"):
    """Unregister; the connection stays open. Reply: Ok."""


class Attached(Reply, kw_only=True, tag="attached"):
    """The connection now receives its identity's calls and messages."""

    uri: Uri
    account: AccountId
    server: str
    """Name and version of the server."""
    instance: str
    """This run of the server: a random id. Calls do not outlive it."""
    time: float
    """The server's time: UTC, seconds since 1970."""
    token: bytes | None
    """Resumes this attachment; null if it is not resumable."""
    resumed: bool
    """Whether this is the attachment that was to be resumed."""
    received: Count
    """How many messages of the attachment the server has; the client sends the later ones again."""


class Detached(Event, kw_only=True, tag="detached"):
    """This connection is no longer registered, and why: superseded, removed, denied."""

    reason: str


AttachmentRequest: TypeAlias = Attach | Detach | Seen
AttachmentAnswer: TypeAlias = Attached | Detached
