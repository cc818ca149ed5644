"""The location service: which contacts an address-of-record has now (RFC 3261 section 10). Sans-IO.

Times are seconds of the monotonic clock of `now`. An address-of-record is `user@host` with
the host in lower case; `address_of_record` makes it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Hashable, Iterable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

from rtlib.wheel import Entry, Wheel

CONTACTS = 10
"""Contacts that one address-of-record may have at a time."""

BINDINGS = 100_000
"""Contacts that all of them may have together."""

CHANGES = 400_000
"""Changes kept for whoever writes them to the database, before the oldest are given up."""


class LocationFull(Exception):
    """No room for the binding: the address-of-record, or the whole service, has its limit of contacts."""


def address_of_record(user: bytes, host: bytes) -> bytes:
    """The canonical key of a user at a domain."""
    return user + b"@" + host.lower()


@dataclass(slots=True, eq=False)
class Binding:
    """One contact of an address-of-record."""

    aor: bytes
    contact: bytes
    """The contact's URI as it was registered, without angle brackets and header parameters."""
    expires: float
    call_id: bytes
    cseq: int
    q: float = 1.0
    path: bytes = b""
    """The Path of the REGISTER (RFC 3327), as one Route value; empty without one."""
    user_agent: bytes = b""
    flow: Hashable | None = None
    """Where the REGISTER came from; opaque here."""
    modified: float = 0.0
    timer: Entry[Binding] | None = None

    @property
    def user(self) -> bytes:
        """The user part of the address-of-record."""
        return self.aor.rpartition(b"@")[0]

    def is_of(self, call_id: bytes, cseq: int) -> bool:
        """Whether this REGISTER has made it what it is."""
        return self.call_id == call_id and self.cseq == cseq


class Saved(NamedTuple):
    """A binding is new or was refreshed."""

    binding: Binding


class Removed(NamedTuple):
    """A binding is gone: unregistered, expired or flushed."""

    binding: Binding
    reason: str


Change = Saved | Removed


class LocationService:
    """All bindings, by address-of-record and by user; expires them itself."""

    def __init__(self, contacts: int = CONTACTS, bindings: int = BINDINGS) -> None:
        self._contacts = contacts
        self._limit = bindings
        self._records: dict[bytes, list[Binding]] = {}
        self._users: dict[bytes, set[bytes]] = {}
        self._wheel: Wheel[Binding] = Wheel(1.0)
        self._changes: deque[Change] = deque(maxlen=CHANGES)
        self._size = 0

    def __len__(self) -> int:
        return self._size

    def __iter__(self) -> Iterator[Binding]:
        for record in list(self._records.values()):
            yield from record

    def bindings(self, aor: bytes) -> tuple[Binding, ...]:
        """What the address-of-record has, highest q first and newest first among equals."""
        record = self._records.get(aor)
        if record is None:
            return ()
        return (record[0],) if len(record) == 1 else tuple(sorted(record, key=_preference))

    def bindings_of_user(self, user: bytes) -> tuple[Binding, ...]:
        """What the user has at any domain, in the same order."""
        found = [b for aor in self._users.get(user, ()) for b in self._records[aor]]
        return tuple(sorted(found, key=_preference))

    def room_for(self, aor: bytes, new: int) -> bool:
        """Whether so many new contacts fit under the limits."""
        return len(self._records.get(aor, ())) + new <= self._contacts and self._size + new <= self._limit

    def save(self, binding: Binding, replaced: Binding | None = None) -> None:
        """Add a binding, or put it in the place of another. Raises LocationFull."""
        if replaced is not None:
            self._detach(replaced)
        elif not self.room_for(binding.aor, 1):
            raise LocationFull("too many contacts are registered")
        self._attach(binding)
        self._changes.append(Saved(binding))

    def load(self, bindings: Iterable[Binding]) -> None:
        """Take what the database kept, at start; beyond the limits the rest is left out."""
        for binding in bindings:
            if self.room_for(binding.aor, 1):
                self._attach(binding)

    def remove(self, binding: Binding, reason: str = "unregistered") -> None:
        """Take a binding away."""
        self._detach(binding)
        self._changes.append(Removed(binding, reason))

    def get_timer(self) -> float | None:
        """When the next binding may expire."""
        return self._wheel.get_timer()

    def handle_timer(self, now: float) -> None:
        """Remove what has expired."""
        for binding in self._wheel.expire(now):
            binding.timer = None
            if binding.expires <= now:
                self.remove(binding, "expired")
            else:
                binding.timer = self._wheel.schedule(binding, binding.expires)

    def next_change(self) -> Change | None:
        """The oldest change not handed out yet."""
        return self._changes.popleft() if self._changes else None

    def _attach(self, binding: Binding) -> None:
        self._records.setdefault(binding.aor, []).append(binding)
        self._users.setdefault(binding.user, set()).add(binding.aor)
        self._size += 1
        binding.timer = self._wheel.schedule(binding, binding.expires)

    def _detach(self, binding: Binding) -> None:
        if binding.timer is not None:
            binding.timer.cancel()
            binding.timer = None
        record = self._records[binding.aor]
        record.remove(binding)
        self._size -= 1
        if record:
            return
        del self._records[binding.aor]
        aors = self._users[binding.user]
        aors.discard(binding.aor)
        if not aors:
            del self._users[binding.user]


def _preference(binding: Binding) -> tuple[float, float]:
    return (-binding.q, -binding.modified)
