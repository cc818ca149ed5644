"""What a client keeps at its server (docs/crs-protocol.md section 6)."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, TypeAlias

from msgspec import Meta, Struct

from crs.signaling.message.frame import Label, Payload, Reply, Request

Name: TypeAlias = Annotated[str, Meta(pattern=r"^[\x21-\x7e]{0,64}$")]
Word: TypeAlias = Annotated[str, Meta(min_length=1, max_length=64)]
PushToken: TypeAlias = Annotated[str, Meta(min_length=1, max_length=4096)]


class ClientInfo(Struct, kw_only=True, frozen=True, tag_field="kind", tag="info"):
    """What the operator sees of a client (`show client-info`)."""

    time: float
    """The client's own time: UTC, seconds since 1970."""
    scanned: float | None = None
    """When the client scanned its QR code, by its own time; null if it never did."""
    os: Word
    """Operating system."""
    os_version: Word
    version: Word
    """Version of the client software."""


class ClientToken(Struct, kw_only=True, frozen=True, tag_field="kind", tag="token"):
    """A token that the client keeps here."""

    token: Annotated[bytes, Meta(min_length=1, max_length=4096)]


class PushTokens(Struct, kw_only=True, frozen=True, tag_field="kind", tag="push"):
    """How to wake a client that is not attached."""

    client_type: Word
    """Which push service the tokens are for."""
    tokens: Annotated[list[PushToken], Meta(min_length=1, max_length=8)]
    created: float
    """When the client got them, by its own time: UTC, seconds since 1970."""


class ClientData(Struct, kw_only=True, frozen=True, tag_field="kind", tag="data"):
    """Anything that a client keeps here, such as an encrypted list of its contacts."""

    name: Label
    """What it is; a client has one item of each name."""
    data: Payload


class TeamCode(Struct, kw_only=True, frozen=True, tag_field="kind", tag="team-code"):
    """The client's settings for a team code."""

    name: Label
    """The code."""
    settings: Annotated[str, Meta(max_length=1024)]
    """Shown to the operator (`show team-code`)."""


Item: TypeAlias = ClientInfo | ClientToken | PushTokens | ClientData | TeamCode


class ItemKind(StrEnum):
    """What a client can keep at its server."""

    info = "info"
    token = "token"  # noqa: S105  a name and no secret
    push = "push"
    data = "data"
    team_code = "team-code"


class Store(Request, kw_only=True, tag="store"):
    """Keep an item, in place of the one of the same kind and name. Reply: Ok, once it is on disk."""

    item: Item


class Fetch(Request, kw_only=True, tag="fetch"):
    """Ask for an item of one's own. Reply: Fetched."""

    kind: ItemKind
    name: Name = ""
    """The item's name; empty for the kinds that have none."""


class Delete(Request, kw_only=True, tag="delete"):
    """Remove an item of one's own, whether it is there or not. Reply: Ok, once that is on disk."""

    kind: ItemKind
    name: Name = ""
    """The item's name; empty for the kinds that have none."""


class Fetched(Reply, kw_only=True, tag="fetched"):
    """An item that the client has stored."""

    item: Item | None
    """Null if there is none."""
    saved: float
    """When the server took it: UTC, seconds since 1970; 0 if there is none."""


ItemRequest: TypeAlias = Store | Fetch | Delete
ItemAnswer: TypeAlias = Fetched
