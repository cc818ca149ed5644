"""What lies in a client's mailbox, and the window through which it is delivered.

Every client has one mailbox: a queue of items in the store. An item's id tells it from all
others of the mailbox, so that a message posted twice is there once.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

import msgspec

from crs.identity import Identity
from crs.signaling.event import KeptItem
from crs.signaling.message import Deliver, Kind

WINDOW: Final = 16
WINDOW_BYTES: Final = 96 * 1024
"""Unconfirmed items, and their bytes, on one connection: less than the connection's outgoing buffer."""


class StoredItem(msgspec.Struct, frozen=True):
    """An item as it is stored."""

    kind: Kind
    message: str
    sender: str
    account: str
    time: float
    payload: bytes
    system: bool = False

    @property
    def deliver(self) -> Deliver:
        """The event that hands it to its client."""
        return Deliver(
            kind=self.kind,
            message=self.message,
            sender=self.sender,
            account=self.account,
            time=self.time,
            payload=self.payload,
            system=self.system,
        )


decode_item: Final = msgspec.msgpack.Decoder(StoredItem).decode
encode_item: Final = msgspec.msgpack.Encoder().encode


def item_id(kind: Kind, sender: Identity, message: str) -> str:
    """`kind/account/uri/message`; slashes of the URI are escaped, lest two senders share an id."""
    uri = sender.uri.replace("%", "%25").replace("/", "%2F")
    return f"{kind}/{sender.account}/{uri}/{message}"


@dataclass(slots=True)
class Unconfirmed:
    """An item that was delivered on this connection."""

    kind: Kind
    size: int
    system: bool
    confirming: bool = False


@dataclass(slots=True, eq=False)
class Window:
    """What was delivered on one connection, and how far."""

    after: int = 0
    """Sequence number of the last delivered item."""
    items: dict[str, Unconfirmed] = field(default_factory=dict)
    size: int = 0
    fetching: bool = False
    more: bool = True
    """Whether there may be items behind `after`."""
    blocked: bool = False
    """Whether the next item is too large until one of these is confirmed."""

    @property
    def room(self) -> int:
        """How many more items may be delivered now."""
        return 0 if self.blocked else WINDOW - len(self.items)

    def fits(self, size: int) -> bool:
        """Whether an item of `size` bytes may be delivered now; if not, the window blocks. The first may."""
        self.blocked = bool(self.items) and self.size + size > WINDOW_BYTES
        return not self.blocked

    def add(self, kept: KeptItem, item: StoredItem) -> None:
        """An item is being delivered."""
        self.items[kept.id] = Unconfirmed(item.kind, len(kept.value), item.system)
        self.size += len(kept.value)

    def remove(self, item: str) -> None:
        """An item was confirmed."""
        self.size -= self.items.pop(item).size
        self.blocked = False
