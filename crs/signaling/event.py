"""What the Rendezvous machine tells the service around it, and what it asks of it.

Notices need no answer. An ask carries a token: the service does the work, then calls
`Rendezvous.completed(token, result, now)` exactly once, with `Failed` if it could not.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple, TypeAlias

from crs.identity import Identity
from crs.signaling.message import ItemKind, Relay, RelayKind


@dataclass(frozen=True, slots=True)
class AttachEvent:
    """A client's registration changed; the row of `trace attach` (manual 5.4)."""

    connection: int
    client: Identity
    host: str
    port: int
    state: str
    """registered, unregistered or denied."""
    description: str


@dataclass(frozen=True, slots=True)
class SessionEvent:
    """A call reached a state; the row of `trace session`."""

    caller: Identity
    callee: Identity
    state: str
    session: str
    streams: int = 1
    """How many media streams the call has."""
    kind: Literal["call", "group", "conference"] = "call"


@dataclass(frozen=True, slots=True)
class MultiSession:
    """A talk over one stream has got more by a change; no row of `trace session`, for it is still a talk."""

    initiator: Identity
    """Who has offered the change."""
    acceptor: Identity
    state: str = "multi-session"


@dataclass(frozen=True, slots=True)
class MessageEvent:
    """Something happened to a message; the row of `trace message`."""

    sender: Identity
    recipient: Identity
    state: str
    """not-found, posted content, posted ack or delivered."""
    message: str
    system: bool
    """Whether it is from software to software, which is counted apart."""


@dataclass(frozen=True, slots=True)
class ItemChanged:
    """A client has stored or deleted something; the row of `trace object`."""

    client: Identity
    what: str
    """update or delete, and the kind."""


@dataclass(frozen=True, slots=True)
class Offence:
    """A client sent what a correct one does not; to be counted and logged once in a while."""

    kind: str
    host: str
    client: Identity
    reason: str


@dataclass(frozen=True, slots=True)
class CloseConnection:
    """Close a connection, after what was sent to it before, with a WebSocket close code."""

    connection: int
    code: int
    reason: str


@dataclass(frozen=True, slots=True)
class ReleaseRelay:
    """The stream with this group is over: its relay is to be released. Needs no answer."""

    group: int


class Wanted(NamedTuple):
    """A stream that a relay is wanted for."""

    group: int
    """Names it to the relay, and to ReleaseRelay, which follows exactly once if it was given."""
    number: int
    """Names it to the parties."""
    kind: RelayKind


@dataclass(frozen=True, slots=True)
class AllocateRelay:
    """Ask for a leg for both parties of each stream. Result: Relays, for all of them or none."""

    token: int
    streams: tuple[Wanted, ...]


@dataclass(frozen=True, slots=True)
class AddNode:
    """Ask for a leg in the multicast relay of a group. Result: Node.

    With `first`, ask for the relay as well, which is then released exactly once.
    """

    token: int
    group: int
    first: bool


@dataclass(frozen=True, slots=True)
class RemoveNode:
    """A party has left this group: its leg is to be removed. Needs no answer."""

    group: int
    identifier: int


@dataclass(frozen=True, slots=True)
class SaveClients:
    """Ask to keep these records of clients. Result: Done, once they are durable."""

    token: int
    records: tuple[tuple[Identity, bytes], ...]


@dataclass(frozen=True, slots=True)
class SaveCounts:
    """Ask to keep these records of clients, which are saved already, for the counts in them. Result: Done."""

    token: int
    records: tuple[tuple[Identity, bytes], ...]


@dataclass(frozen=True, slots=True)
class NewItem:
    """An item for a mailbox. `id` is unique in it for as long as an item of that id could come again."""

    mailbox: Identity
    id: str
    value: bytes
    expires: float
    """UTC seconds since 1970."""


@dataclass(frozen=True, slots=True)
class AppendItem:
    """Ask to put an item into a mailbox. Result: Done with new=False for a repeated id; Full."""

    token: int
    item: NewItem


@dataclass(frozen=True, slots=True)
class ConfirmItem:
    """Ask to put `receipt` into its mailbox, if there is one, and then to remove an item.

    Result: Done with new=False if the item was not there any more. A receipt whose mailbox
    is over twice its quota is dropped, for a full mailbox must not keep others from emptying theirs.
    """

    token: int
    mailbox: Identity
    id: str
    receipt: NewItem | None


@dataclass(frozen=True, slots=True)
class FetchItems:
    """Ask for the oldest items of a mailbox behind a sequence number. Result: Items."""

    token: int
    mailbox: Identity
    limit: int
    after: int


@dataclass(frozen=True, slots=True)
class StoreItem:
    """Ask to keep what a client stores, in place of what it had there. Result: Done; Full."""

    token: int
    client: Identity
    kind: ItemKind
    name: str
    value: bytes


@dataclass(frozen=True, slots=True)
class DeleteItem:
    """Ask to remove what a client has stored. Result: Done with new=False if there was nothing."""

    token: int
    client: Identity
    kind: ItemKind
    name: str


@dataclass(frozen=True, slots=True)
class LookUp:
    """Ask for what a client has stored. Result: StoredState."""

    token: int
    client: Identity
    kind: ItemKind
    name: str


@dataclass(frozen=True, slots=True)
class ReadBlob:
    """Ask for what the update of a month holds for a client. Result: Blob."""

    token: int
    client: Identity
    month: str


@dataclass(frozen=True, slots=True)
class Blob:
    """A client's part of an update, and when that update was made: UTC, milliseconds since 1970."""

    created: int
    value: bytes


@dataclass(frozen=True, slots=True)
class StoredState:
    """What a client has stored; None for nothing."""

    value: bytes | None


@dataclass(frozen=True, slots=True)
class Done:
    """It is durable. `new` is False where there was nothing to do."""

    new: bool = True


@dataclass(frozen=True, slots=True)
class Full:
    """A limit forbids it; the reason says which."""

    reason: str


@dataclass(frozen=True, slots=True)
class Failed:
    """It could not be done; the reason is for the client."""

    reason: str


@dataclass(frozen=True, slots=True)
class Relays:
    """The legs of the streams that were wanted, in their order."""

    caller: tuple[Relay, ...]
    callee: tuple[Relay, ...]


@dataclass(frozen=True, slots=True)
class Node:
    """A leg in the multicast relay of a group."""

    relay: Relay


@dataclass(frozen=True, slots=True)
class KeptItem:
    """An item of a mailbox as the store keeps it."""

    sequence: int
    id: str
    value: bytes


@dataclass(frozen=True, slots=True)
class Items:
    """Items in the order they were appended; fewer than asked for means that there are no more."""

    items: tuple[KeptItem, ...]


Trace: TypeAlias = AttachEvent | SessionEvent | MultiSession | MessageEvent
Ask: TypeAlias = (
    AllocateRelay
    | AddNode
    | SaveClients
    | SaveCounts
    | AppendItem
    | ConfirmItem
    | FetchItems
    | StoreItem
    | DeleteItem
    | LookUp
    | ReadBlob
)
Notice: TypeAlias = Trace | ItemChanged | Offence | CloseConnection | ReleaseRelay | RemoveNode
Event: TypeAlias = Notice | Ask
Result: TypeAlias = Done | Full | Failed | Relays | Node | Items | StoredState | Blob
