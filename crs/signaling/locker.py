"""What clients keep at their server: info, token, push tokens, data by name, team-code settings.

Stored items survive everything but their deletion and that of their account. A client reads its
own only; the operator's commands read them from the store.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Final

import msgspec

from crs.signaling import message
from crs.signaling.attachment import Connection, may_wait
from crs.signaling.event import (
    DeleteItem,
    Done,
    Failed,
    Full,
    ItemChanged,
    LookUp,
    Result,
    StoredState,
    StoreItem,
)
from crs.signaling.message import ErrorCode, ItemKind
from crs.signaling.outlet import Outlet

NAMED: Final = frozenset({ItemKind.data, ItemKind.team_code})
"""The kinds of which a client may have several items."""

_KINDS: Final[dict[type[message.Item], ItemKind]] = {
    message.ClientInfo: ItemKind.info,
    message.ClientToken: ItemKind.token,
    message.PushTokens: ItemKind.push,
    message.ClientData: ItemKind.data,
    message.TeamCode: ItemKind.team_code,
}

OBJECTS: Final = {
    ItemKind.info: "client_info",
    ItemKind.token: "client_token",
    ItemKind.push: "push_token",
    ItemKind.data: "client_storage",
    ItemKind.team_code: "team_code",
}
"""What `trace object` calls them (manual 5.4)."""


class KeptItem(msgspec.Struct, frozen=True):
    """An item as it is stored."""

    saved: float
    """When the server took it: UTC, seconds since 1970."""
    item: message.Item


decode_kept: Final = msgspec.msgpack.Decoder(KeptItem).decode
"""Raises msgspec.MsgspecError for what is none."""
encode_kept: Final = msgspec.msgpack.Encoder().encode


def key_of(item: message.Item) -> tuple[ItemKind, str]:
    """The kind and the name of an item; the name is empty for the kinds that have none."""
    kind = _KINDS[type(item)]
    return kind, item.name if isinstance(item, message.ClientData | message.TeamCode) else ""


class Locker:
    """Serves store, fetch and delete. `wall()` gives UTC seconds."""

    def __init__(self, outlet: Outlet, wall: Callable[[], float]) -> None:
        self._outlet = outlet
        self._wall = wall

    def store(self, connection: Connection, request: message.Store, now: float) -> None:
        """Keep an item."""
        if may_wait(connection, self._outlet, request.id):
            kind, name = key_of(request.item)
            value = encode_kept(KeptItem(self._wall(), request.item))
            self._outlet.ask(
                lambda token: StoreItem(token, connection.client, kind, name, value),
                partial(self._changed, connection, request.id, f"update {OBJECTS[kind]}"),
            )

    def delete(self, connection: Connection, request: message.Delete, now: float) -> None:
        """Remove an item."""
        if self._is_named(connection, request) and may_wait(connection, self._outlet, request.id):
            self._outlet.ask(
                lambda token: DeleteItem(token, connection.client, request.kind, request.name),
                partial(self._changed, connection, request.id, f"delete {OBJECTS[request.kind]}"),
            )

    def fetch(self, connection: Connection, request: message.Fetch, now: float) -> None:
        """Give an item back."""
        if self._is_named(connection, request) and may_wait(connection, self._outlet, request.id):
            self._outlet.ask(
                lambda token: LookUp(token, connection.client, request.kind, request.name),
                partial(self._found, connection, request.id),
            )

    def _is_named(self, connection: Connection, request: message.Fetch | message.Delete) -> bool:
        """Whether there is a name where there must be one, and only there; refuses the request if not."""
        if bool(request.name) is (request.kind in NAMED):
            return True
        reason = f"name: an item of the kind {request.kind} has {'no' if request.name else 'a'} name"
        self._outlet.refuse(connection.number, request.id, ErrorCode.bad_message, reason)
        return False

    def _changed(self, connection: Connection, request: int, what: str, result: Result, now: float) -> None:
        connection.pending -= 1
        if not isinstance(result, Done):
            self._failed(connection, request, result)
            return
        self._outlet.send(connection.number, message.Ok(id=request))
        self._outlet.tell(ItemChanged(connection.client, what))

    def _found(self, connection: Connection, request: int, result: Result, now: float) -> None:
        connection.pending -= 1
        if not isinstance(result, StoredState):
            self._failed(connection, request, result)
            return
        try:
            kept = decode_kept(result.value) if result.value is not None else None
        except msgspec.MsgspecError:
            self._failed(connection, request, Failed("what is stored there cannot be read"))
            return
        item, saved = (kept.item, kept.saved) if kept is not None else (None, 0.0)
        self._outlet.send(connection.number, message.Fetched(id=request, item=item, saved=saved))

    def _failed(self, connection: Connection, request: int, result: Result) -> None:
        if isinstance(result, Full):
            self._outlet.refuse(connection.number, request, ErrorCode.quota, result.reason)
        else:
            reason = result.reason if isinstance(result, Failed) else "the store gave no answer"
            self._outlet.refuse(connection.number, request, ErrorCode.unavailable, reason)
