"""What servers are told, and its JSON (docs/notifications.md). No I/O."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import Meta

Type = Literal["dispatcher", "node", "fence"]
Kind = Literal["primary", "destination", "state", "certificate", "test"]

LONGEST: Final = 1024
"""Characters of a text: Contacts and reasons of peers may be as long as a message."""


@dataclass(frozen=True, slots=True)
class Change:
    """Something that has changed; the functions below make the kinds that there are."""

    type: Type
    event: Kind
    subject: str
    previous: str
    current: str
    reason: str
    set: int | None = None


class Notification(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One notification of genproxy: what has changed, and where and when it was noticed."""

    id: Annotated[
        str, Meta(pattern="^[0-9a-f]{32}$", description="unique; one that comes twice has the same")
    ]
    time: Annotated[
        str,
        Meta(
            pattern=r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$",
            description="when it happened: UTC, ISO 8601, milliseconds",
        ),
    ]
    system: Annotated[str, Meta(description="systemName")]
    node: Annotated[str, Meta(description="name of the node that tells")]
    type: Annotated[Type, Meta(description="what kind of thing has changed")]
    event: Annotated[Kind, Meta(description="what of it has changed")]
    subject: Annotated[str, Meta(description="which one: system, SIP URI, node, TLS section or fence")]
    previous: Annotated[str, Meta(description="what it was before; empty where there is nothing to tell")]
    current: Annotated[str, Meta(description="what it is now; empty where nothing has changed")]
    reason: Annotated[str, Meta(description="why, for people")]
    set: Annotated[int, Meta(description="of a destination: its dispatch set")] | None = None


def primary_changed(system: str, previous: int, current: int, reason: str) -> Change:
    """Calls go to another dispatch set from now on; its number, 1 or 0."""
    return Change("dispatcher", "primary", system, str(previous), str(current), reason)


def destination_changed(uri: str, set: int, previous: str, current: str, reason: str) -> Change:
    """A Genesis system came up, went down, joined or left: none, active, probing, inactive, removed."""
    return Change("dispatcher", "destination", uri, previous, current, reason, set)


def node_changed(node: str, previous: str, current: str, reason: str) -> Change:
    """A node is online, draining or offline."""
    return Change("node", "state", node, previous, current, reason)


def certificate_ends(section: str, text: str) -> Change:
    """A TLS section's files need an operator: soon, or now."""
    return Change("node", "certificate", section, "", "warning", text)


def fence_changed(fence: str, previous: str, current: str, reason: str) -> Change:
    """A fence device is active (it cuts a node off) or inactive."""
    return Change("fence", "state", fence, previous, current, reason)


def test(node: str) -> Change:
    """Nothing has changed: an operator wants to know whether notifications arrive."""
    return Change("node", "test", node, "", "", "asked for by an operator")


def announce(change: Change, *, id: str, time: float, system: str, node: str) -> Notification:
    """A notification of a change; `time` is in seconds of UTC."""
    moment = datetime.fromtimestamp(time, UTC)
    return Notification(
        id=id,
        time=f"{moment:%Y-%m-%dT%H:%M:%S}.{moment.microsecond // 1000:03d}Z",
        system=system,
        node=node,
        type=change.type,
        event=change.event,
        subject=change.subject[:LONGEST],
        previous=change.previous,
        current=change.current,
        reason=change.reason[:LONGEST],
        set=change.set,
    )


def schema() -> dict[str, Any]:
    """The JSON schema of a notification (https://json-schema.org, 2020-12)."""
    _, components = msgspec.json.schema_components([Notification])
    found: dict[str, Any] = components["Notification"]
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **found}
