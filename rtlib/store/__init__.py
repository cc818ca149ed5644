"""Durable storage behind one asynchronous interface that is keyed by slot, so that a pool can share it
out.
"""

from rtlib.store.interface import (
    SLOTS,
    TOMBSTONE_LIFETIME,
    Append,
    Delete,
    Increment,
    Item,
    Operation,
    Put,
    Remove,
    Result,
    Store,
    StoreAway,
    StoreError,
    StoreFull,
    StoreUncertain,
    slot_of,
)

__all__ = [
    "SLOTS",
    "TOMBSTONE_LIFETIME",
    "Append",
    "Delete",
    "Increment",
    "Item",
    "Operation",
    "Put",
    "Remove",
    "Result",
    "Store",
    "StoreAway",
    "StoreError",
    "StoreFull",
    "StoreUncertain",
    "slot_of",
]
