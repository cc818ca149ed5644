"""Monthly updates, offered to a client until it has confirmed them (docs/crs-protocol.md section 6.2)."""

from __future__ import annotations

from typing import Annotated, TypeAlias

from msgspec import Meta

from crs.signaling.message.frame import Count, Event, Payload, Reply, Request

UpdateMonth: TypeAlias = Annotated[str, Meta(pattern=r"^[0-9]{4}-[0-9]{2}$")]
"""A month, such as 2026-11."""


class FetchUpdate(Request, kw_only=True, tag="fetch-update"):
    """Ask for one's own part of an update that was offered. Reply: Update."""

    month: UpdateMonth


class ConfirmUpdate(Request, kw_only=True, tag="confirm-update"):
    """The update is stored, and need not be offered any more. Reply: Ok, once that is on disk."""

    month: UpdateMonth
    created: Count
    """As in the Update."""


class Update(Reply, kw_only=True, tag="update"):
    """This client's part of a month's update."""

    month: UpdateMonth
    created: Count
    """When the update was made: UTC, milliseconds since 1970. A later one replaces it."""
    payload: Payload


class Offer(Event, kw_only=True, tag="offer"):
    """There is an update that this client has not confirmed. Told anew at each attach."""

    month: UpdateMonth
    created: Count
    """As in the Update."""
    size: Annotated[int, Meta(ge=1)]
    """Bytes of the payload."""


UpdateRequest: TypeAlias = FetchUpdate | ConfirmUpdate
UpdateAnswer: TypeAlias = Update | Offer
