"""What crs and its relay say to each other where they are two processes (docs/relay-control.md).

Frames of a 32-bit length and MessagePack, over a UNIX socket. The relay greets with its version; crs answers
with a hello, and is told all allocations there are; then it sends commands and polls.
"""

from __future__ import annotations

from typing import Final, TypeAlias

import msgspec
from msgspec import Struct

VERSION: Final = 1
MAX_FRAME: Final = 1 << 20
"""Bytes of one message."""

ROWS: Final = 500
"""Allocations, or counters of legs, told in one message."""

POLL: Final = 10.0
"""Seconds between two heartbeats."""

ANSWER_TIME: Final = 5.0
"""Seconds that crs waits for the answer to a poll."""

SILENCE: Final = 3 * POLL + ANSWER_TIME
"""Seconds without a message after which the relay gives up a connection of crs."""

INSTANCE_BITS: Final = 32
"""A group on the wire is the number of the instance of crs that owns it, and below these bits its own."""


class LegState(Struct, array_like=True):
    """A leg. One without a key is on another server, at this address of its relay."""

    identifier: int
    key: bytes = b""
    host: str = ""
    port: int = 0
    counter: int = -1
    """That of the last bind packet, if the leg was bound at an earlier start of the relay."""

    def __repr__(self) -> str:
        """Keep the key to ourselves."""
        return f"LegState({self.identifier})"


class Hello(Struct, tag="hello"):
    """crs is here; `instance` is a number of 31 bits that each start of crs draws for itself."""

    version: int
    instance: int


class Add(Struct, tag="add"):
    """A new allocation."""

    group: int
    kind: str
    legs: list[LegState]


class Extend(Struct, tag="extend"):
    """One more leg of the group's allocation that has the leg `beside`; 0 for the only one it has."""

    group: int
    beside: int
    leg: LegState


class Reduce(Struct, tag="reduce"):
    """A leg is no more."""

    group: int
    identifier: int


class Release(Struct, tag="release"):
    """A group's allocations are no more."""

    group: int


class Poll(Struct, tag="poll"):
    """Asks for a Status with this number; with `resources`, for Rows before it."""

    number: int
    resources: bool = False


class Greeting(Struct, tag="greeting"):
    """The relay's first message."""

    version: int
    port: int
    """UDP port of media."""
    ipv6: bool
    limits: dict[str, int | None]
    """The most allocations of each kind."""


class Row(Struct, array_like=True):
    """An allocation. `active` is how many seconds ago it was."""

    group: int
    kind: str
    nodes: int
    active: float
    identifiers: list[int]


class Rows(Struct, tag="rows"):
    """Some allocations; a Status follows the last ones."""

    rows: list[Row]


class Status(Struct, tag="status"):
    """The answer to a Poll; with number 0, to a Hello."""

    number: int
    kinds: dict[str, list[int]]
    port: list[int]
    binds: dict[str, int]
    in_use: dict[str, int]
    offences: dict[str, int]


class Bound(Struct, tag="bound"):
    """Legs were bound.

    A relay that starts again hears it from crs, lest an old bind packet be good once more.
    """

    counters: list[tuple[int, int]]
    """Identifier, and counter of the bind packet."""


class Idle(Struct, tag="idle"):
    """The group saw no packet for a long time: crs should end its call and release it. Repeated till then."""

    group: int


class Gone(Struct, tag="gone"):
    """The group of an earlier instance was released."""

    group: int


class Refused(Struct, tag="refused"):
    """A command for this group was not carried out."""

    group: int
    reason: str


FromCrs: TypeAlias = Hello | Add | Extend | Reduce | Release | Poll
FromRelay: TypeAlias = Greeting | Bound | Rows | Status | Idle | Gone | Refused

encode: Final = msgspec.msgpack.Encoder().encode
decode_from_crs: Final = msgspec.msgpack.Decoder(FromCrs).decode
decode_from_relay: Final = msgspec.msgpack.Decoder(FromRelay).decode
"""Both raise msgspec.MsgspecError."""
