"""What a store does: keyed values, counters and queues, each in one of 1,024 slots; a write fires when it
is durable.

All times are UTC seconds since 1970. Something that has expired is not seen any more; `expire` frees its
space.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import NamedTuple, Protocol

import msgspec
from twisted.internet.defer import Deferred

SLOTS = 1024
"""Number of slots that keys are spread over. A write touches one slot; that is what a pool of hosts moves
about.
"""

TOMBSTONE_LIFETIME = 31 * 86400.0
"""Seconds for which the id of a removed queue item is remembered if the item had no expiry of its own."""


class StoreError(Exception):
    """The store could not do what was asked; the text says why.

    Nothing of the failed write has happened, unless it is a `StoreUncertain`.
    """


class StoreAway(StoreError):
    """The store cannot be reached now; it may come back."""


class StoreUncertain(StoreAway):
    """The store was lost while a write was on its way: whether it was done is not known."""


class StoreFull(StoreError):
    """Too many operations are waiting to be written; try later or refuse the sender."""


class Put(msgspec.Struct, frozen=True):
    """Set a key. Result: None."""

    key: str
    value: bytes
    expires: float | None = None


class Delete(msgspec.Struct, frozen=True):
    """Remove a key. Result: True if it was there."""

    key: str


class Increment(msgspec.Struct, frozen=True):
    """Add to a counter, which starts at 0 and is read by incrementing by 0. Result: its new value."""

    key: str
    by: int = 1


class Append(msgspec.Struct, frozen=True):
    """Put an item at the end of a queue. Result: True if it is new, False if its id is there or was
    removed.
    """

    queue: str
    id: str
    value: bytes
    expires: float | None = None


class Remove(msgspec.Struct, frozen=True):
    """Take an item off a queue; its id stays known until the item's expiry. Result: True if it was there."""

    queue: str
    id: str


Operation = Put | Delete | Increment | Append | Remove
Result = None | bool | int


class Item(NamedTuple):
    """One item of a queue; `sequence` grows with every append to the store and is never used again."""

    sequence: int
    id: str
    value: bytes
    expires: float | None


class Store(Protocol):
    """A store; every Deferred fails with `StoreError` (`StoreFull` for `write` at the bound).

    A defect of the caller or of the store is no StoreError, and comes as what it is.
    """

    def start(self) -> None:
        """Open the store. Raises StoreError if that cannot be."""

    def stop(self) -> Deferred[None]:
        """Finish every write already accepted, then close."""

    def write(self, slot: int, operations: Sequence[Operation]) -> Deferred[list[Result]]:
        """Do all operations in order, or none; fires with one result each when they survive a loss of power.

        Writes to one slot happen in the order of the calls.
        """

    def get(self, slot: int, key: str) -> Deferred[bytes | None]:
        """Give a key's value, after all writes accepted before this call; None if there is none."""

    def scan(
        self, slot: int | None, prefix: str, after: str = "", limit: int = 1000
    ) -> Deferred[list[tuple[str, bytes]]]:
        """Give keys that begin with `prefix` and their values, in key order, from behind the key `after`.

        With `slot` None, in all slots.
        """

    def queue(self, slot: int, queue: str, limit: int = 100, after: int = 0) -> Deferred[list[Item]]:
        """Give items in the order they were appended, from behind the sequence number `after`."""

    def queue_size(self, slot: int, queue: str) -> Deferred[tuple[int, int]]:
        """Give how many items a queue holds, and the bytes of their values."""

    def expire(self, now_wall: float) -> Deferred[int]:
        """Free what expired at or before this time; fires with how many values, items and tombstones went."""


def slot_of(key: str) -> int:
    """Give the slot of a key or of whatever else belongs together, the same on every host and in every
    version.
    """
    return int.from_bytes(hashlib.sha256(key.encode()).digest()[:2], "big") % SLOTS
