"""What clients keep at the server, on `rtlib.store`: info, token, push tokens, data and team-code settings.

A client's items lie in the slot of its URI, next to an index of their sizes and times, which is
written together with them: it serves the quota, and whoever lists what there is.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Final, NamedTuple

import msgspec
from twisted.internet.defer import DeferredLock

from crs.identity import Identity
from crs.limits import LimitTable
from crs.signaling.event import Done, Full, Result, StoredState
from crs.signaling.locker import KeptItem, decode_kept
from crs.signaling.message import ItemKind
from rtlib.store import Delete, Put, Store, slot_of

_INDEX: Final = "index"
_PAGE: Final = 100
"""Items that are read at a time; each has up to 40 KiB."""


class Entry(msgspec.Struct, frozen=True, array_like=True):
    """What the index says of an item."""

    kind: ItemKind
    name: str
    size: int
    """Bytes, as stored."""
    saved: float
    """When the server took it: UTC, seconds since 1970."""


class Found(NamedTuple):
    """An item of a client."""

    client: Identity
    kept: KeptItem


_Index = dict[str, Entry]
_decode_index: Final = msgspec.msgpack.Decoder(_Index).decode
_encode: Final = msgspec.msgpack.Encoder().encode


def _prefix(account: str, kind: str) -> str:
    return f"state/{account}/{kind}/"


def _key(client: Identity, kind: str, name: str = "") -> str:
    """`state/account/kind/uri/name`; slashes of the URI are escaped, for it ends at the next one."""
    uri = client.uri.replace("%", "%25").replace("/", "%2F")
    return f"{_prefix(client.account, kind)}{uri}/{name}"


def _client(key: str) -> Identity:
    _, account, _, uri, _ = key.split("/", 4)
    return Identity(uri.replace("%2F", "/").replace("%25", "%"), account)


class ClientState:
    """Does what is asked in coroutines, which raise StoreError."""

    def __init__(self, store: Store, limits: LimitTable) -> None:
        self._store = store
        self._limits = limits
        self._locks: dict[Identity, DeferredLock] = {}

    async def put(self, client: Identity, kind: ItemKind, name: str, value: bytes) -> Result:
        """Keep an encoded KeptItem, within the client's quota."""
        return await self._in_turn(client, kind, name, value)

    async def remove(self, client: Identity, kind: ItemKind, name: str) -> Result:
        """Remove an item: Done, with new=False if there was none."""
        return await self._in_turn(client, kind, name, None)

    async def delete(self, client: Identity, kind: ItemKind, name: str = "") -> bool:
        """Remove an item; False if there was none."""
        return await self.remove(client, kind, name) == Done(True)

    async def look_up(self, client: Identity, kind: ItemKind, name: str = "") -> StoredState:
        """An item as it was put."""
        return StoredState(await self._store.get(slot_of(client.uri), _key(client, kind, name)))

    async def get(self, client: Identity, kind: ItemKind, name: str = "") -> KeptItem | None:
        """An item; None if there is none that can be read."""
        return _decoded((await self.look_up(client, kind, name)).value)

    async def items(self, account: str, kind: ItemKind) -> AsyncIterator[Found]:
        """The items of a kind of all clients of an account, in no particular order of clients."""
        async for key, value in self._scan(None, _prefix(account, kind)):
            kept = _decoded(value)
            if kept is not None:
                yield Found(_client(key), kept)

    async def entries(self, account: str) -> AsyncIterator[tuple[Identity, list[Entry]]]:
        """What each client of an account keeps: kinds, names, sizes, times."""
        async for key, value in self._scan(None, _prefix(account, _INDEX)):
            yield _client(key), list(_index(value).values())

    async def forget(self, client: Identity) -> None:
        """Delete all that a client keeps."""
        slot = slot_of(client.uri)
        for kind in (*ItemKind, _INDEX):
            prefix = _key(client, kind)
            while page := await self._store.scan(slot, prefix, "", _PAGE):
                await self._store.write(slot, [Delete(key) for key, _ in page])

    async def _in_turn(self, client: Identity, kind: ItemKind, name: str, value: bytes | None) -> Result:
        """Change an item and the index, one change of a client at a time."""
        lock = self._locks.setdefault(client, DeferredLock())
        await lock.acquire()
        try:
            return await self._change(client, kind, name, value)
        finally:
            lock.release()
            if not lock.locked:
                self._locks.pop(client, None)

    async def _change(self, client: Identity, kind: ItemKind, name: str, value: bytes | None) -> Result:
        slot, key = slot_of(client.uri), _key(client, kind, name)
        index = _index(await self._store.get(slot, _key(client, _INDEX)))
        former = index.pop(key, None)
        if value is None:
            change: Put | Delete = Delete(key)
        else:
            problem = self._over_quota(client, index, len(value))
            if problem:
                return Full(problem)
            change = Put(key, value)
            index[key] = Entry(kind, name, len(value), _saved(value))
        await self._store.write(slot, [change, Put(_key(client, _INDEX), _encode(index))])
        return Done(former is not None)

    def _over_quota(self, client: Identity, others: _Index, size: int) -> str:
        limits = self._limits.of(client.account)
        if len(others) >= limits.stored_items:
            self._limits.reached["stored-items"] += 1
            return f"{client} may keep {limits.stored_items} items"
        if sum(entry.size for entry in others.values()) + size > limits.stored_bytes:
            self._limits.reached["stored-bytes"] += 1
            return f"{client} may keep {limits.stored_bytes} bytes"
        return ""

    async def _scan(self, slot: int | None, prefix: str) -> AsyncIterator[tuple[str, bytes]]:
        after = ""
        while page := await self._store.scan(slot, prefix, after, _PAGE):
            for key, value in page:
                yield key, value
            after = page[-1][0]


def _decoded(value: bytes | None) -> KeptItem | None:
    try:
        return None if value is None else decode_kept(value)
    except msgspec.MsgspecError:
        return None


def _index(value: bytes | None) -> _Index:
    """An index that cannot be read counts as empty: its client loses its quota's count, not its items."""
    try:
        return {} if value is None else _decode_index(value)
    except msgspec.MsgspecError:
        return {}


def _saved(value: bytes) -> float:
    kept = _decoded(value)
    return 0.0 if kept is None else kept.saved
