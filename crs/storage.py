"""Clients and mailboxes on `rtlib.store`: what the Rendezvous machine asks to be kept.

A client's record and its mailbox lie in the slot of its URI, so that a pool can move them together.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import suppress
from typing import Final

from crs.clientstate import ClientState
from crs.identity import Identity
from crs.limits import LimitTable
from crs.signaling.event import Done, Full, Items, KeptItem, NewItem, Result
from rtlib.outcome import gathered
from rtlib.store import Append, Delete, Operation, Put, Remove, Store, StoreAway, slot_of

_CLIENT: Final = "client/"
_PAGE: Final = 1000


def _record_key(client: Identity) -> str:
    return f"{_CLIENT}{client.account}/{client.uri}"


def _client_of(key: str) -> Identity:
    account, _, uri = key.removeprefix(_CLIENT).partition("/")
    return Identity(uri, account)


def _mailbox_key(client: Identity) -> str:
    return f"mailbox/{client.account}/{client.uri}"


class _Usage:
    """What is being added to a mailbox, and so is not counted by the store yet."""

    __slots__ = ("items", "size", "users")

    def __init__(self) -> None:
        self.items = self.size = self.users = 0


class Storage:
    """Does what is asked in coroutines, which raise StoreError."""

    def __init__(
        self, store: Store, limits: LimitTable | None = None, expendable: Store | None = None
    ) -> None:
        """`expendable` is for what may be lost: the counts of messages."""
        self._store = store
        self._counts = expendable or store
        self._limits = limits or LimitTable()
        self.state = ClientState(store, self._limits)
        """What clients keep here."""
        self._adding: defaultdict[Identity, _Usage] = defaultdict(_Usage)
        self.dropped_receipts = 0
        """Receipts that were not kept because their mailbox was over twice its quota."""

    async def clients(self) -> AsyncIterator[tuple[Identity, bytes]]:
        """Every saved client with its record."""
        async for row in _records(self._store):
            yield row

    async def counts(self) -> AsyncIterator[tuple[Identity, bytes]]:
        """The records whose counts are newer, where they are kept apart."""
        if self._counts is not self._store:
            async for row in _records(self._counts):
                yield row

    async def save(self, records: Iterable[tuple[Identity, bytes]]) -> Result:
        """Keep these clients."""
        return await _save(self._store, records)

    async def save_counts(self, records: Iterable[tuple[Identity, bytes]]) -> Result:
        """Keep the counts of these clients, which are kept already."""
        return await _save(self._counts, records)

    async def append(self, item: NewItem) -> Result:
        """Put an item into its mailbox, unless that is full."""
        return await self._append(item, 1)

    async def confirm(self, mailbox: Identity, item: str, receipt: NewItem | None) -> Result:
        """Keep the receipt, then remove the item: a crash in between repeats both and harms nothing."""
        if receipt is not None and isinstance(await self._append(receipt, 2), Full):
            self.dropped_receipts += 1
        [there] = await self._store.write(slot_of(mailbox.uri), [Remove(_mailbox_key(mailbox), item)])
        return Done(bool(there))

    async def fetch(self, mailbox: Identity, limit: int, after: int) -> Result:
        """The oldest items behind the sequence number `after`."""
        items = await self._store.queue(slot_of(mailbox.uri), _mailbox_key(mailbox), limit, after)
        return Items(tuple(KeptItem(item.sequence, item.id, item.value) for item in items))

    async def forget(self, clients: Sequence[Identity]) -> None:
        """Delete the records of these clients, what is in their mailboxes, and what they keep here."""
        for client in clients:
            slot = slot_of(client.uri)
            while items := await self._store.queue(slot, _mailbox_key(client), _PAGE):
                await self._store.write(slot, [Remove(_mailbox_key(client), item.id) for item in items])
            await self.state.forget(client)
            # Last, so that `forget_account` finds whoever is not forgotten whole.
            await self._store.write(slot, [Delete(_record_key(client))])
            if self._counts is not self._store:
                # Counts of a client that is not known are not loaded: they do no harm where they stay.
                with suppress(StoreAway):
                    await self._counts.write(slot, [Delete(_record_key(client))])

    async def forget_account(self, account: str) -> None:
        """Delete what is kept of all clients of an account."""
        while page := await self._store.scan(None, f"{_CLIENT}{account}/", "", _PAGE):
            await self.forget([_client_of(key) for key, _ in page])

    async def _append(self, item: NewItem, quotas: int) -> Result:
        """Append within `quotas` times the quota, together with what others are appending now."""
        adding = self._adding[item.mailbox]
        adding.users += 1
        try:
            problem = await self._over_quota(item, adding, quotas)
            return Full(problem) if problem else await self._write(item, adding)
        finally:
            adding.users -= 1
            if not adding.users:
                del self._adding[item.mailbox]

    async def _over_quota(self, item: NewItem, adding: _Usage, quotas: int) -> str:
        limits = self._limits.of(item.mailbox.account)
        items, size = await self._store.queue_size(slot_of(item.mailbox.uri), _mailbox_key(item.mailbox))
        if items + adding.items >= quotas * limits.mailbox_items:
            self._limits.reached["mailbox-items"] += 1
            return f"the mailbox of {item.mailbox} holds {limits.mailbox_items} items, its limit"
        if size + adding.size + len(item.value) > quotas * limits.mailbox_bytes:
            self._limits.reached["mailbox-bytes"] += 1
            return f"the mailbox of {item.mailbox} may hold {limits.mailbox_bytes} bytes"
        return ""

    async def _write(self, item: NewItem, adding: _Usage) -> Result:
        append = Append(_mailbox_key(item.mailbox), item.id, item.value, item.expires)
        adding.items += 1
        adding.size += len(item.value)
        try:
            [new] = await self._store.write(slot_of(item.mailbox.uri), [append])
        finally:
            adding.items -= 1
            adding.size -= len(item.value)
        return Done(bool(new))


async def _records(store: Store) -> AsyncIterator[tuple[Identity, bytes]]:
    after = ""
    while page := await store.scan(None, _CLIENT, after, _PAGE):
        for key, value in page:
            yield _client_of(key), value
        after = page[-1][0]


async def _save(store: Store, records: Iterable[tuple[Identity, bytes]]) -> Result:
    by_slot: defaultdict[int, list[Operation]] = defaultdict(list)
    for client, value in records:
        by_slot[slot_of(client.uri)].append(Put(_record_key(client), value))
    writes = [store.write(slot, operations) for slot, operations in by_slot.items()]
    await gathered(writes)
    return Done()
