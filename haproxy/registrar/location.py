"""The location service: which contacts an address-of-record has now (RFC 3261 section 10). Sans-IO.

Times are seconds of the monotonic clock of `now`. An address-of-record is `user@host` with
the host in lower case; `address_of_record` makes it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Hashable, Iterable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

from rtlib.wheel import Reminders

CONTACTS = 10
"""Contacts that one address-of-record may have at a time, unless more are wanted."""

BINDINGS = 100_000
"""Contacts that all of them may have together."""

CHANGES = 400_000
"""Changes kept for whoever writes them to the database, before the oldest are given up."""

LOOK = 32
"""Seconds after which a binding is looked at for the first time, and at most twice as many: one that was
removed stays in memory until then. Spread, so that bindings that came together are not looked at together."""


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
    """When the last REGISTER came."""
    covered: float = 0.0
    """Until then it is covered by what was told last (`Saved`): half a life longer than that says."""
    said: int = 0
    """Tells whether another REGISTER says the same: a hash of what it said; 0 where nobody looks."""

    @property
    def user(self) -> bytes:
        """The user part of the address-of-record."""
        return self.aor.rpartition(b"@")[0]

    @property
    def lags(self) -> bool:
        """Whether it was refreshed since it was told."""
        return self.covered != self._cover()

    def is_of(self, call_id: bytes, cseq: int) -> bool:
        """Whether this REGISTER has made it what it is."""
        return self.call_id == call_id and self.cseq == cseq

    def told(self) -> None:
        """What it is now is told, or was read where it had been told."""
        self.covered = self._cover()

    def _cover(self) -> float:
        return self.expires + (self.expires - self.modified) / 2


class Saved(NamedTuple):
    """A binding is new, was changed, or was refreshed so far that what was told last does not cover it."""

    binding: Binding


class Removed(NamedTuple):
    """A binding is gone: unregistered, expired or flushed."""

    binding: Binding
    reason: str


Change = Saved | Removed


class LocationService:
    """All bindings, by address-of-record; expires them itself."""

    def __init__(self, contacts: int = CONTACTS, bindings: int = BINDINGS) -> None:
        self._contacts = contacts
        self._limit = bindings
        self._records: dict[bytes, tuple[Binding, ...]] = {}
        """What each address-of-record has, highest q first and newest first among equals."""
        self._reminders: Reminders[Binding] = Reminders(1.0)
        self._turn = 0
        self.changes: deque[Change] = deque(maxlen=CHANGES)
        """What `next_change` hands out."""
        self._size = 0

    def __len__(self) -> int:
        return self._size

    def __iter__(self) -> Iterator[Binding]:
        for record in list(self._records.values()):
            yield from record

    def bindings(self, aor: bytes) -> tuple[Binding, ...]:
        """What the address-of-record has, highest q first and newest first among equals."""
        return self._records.get(aor, ())

    def bindings_of(self, aors: Iterable[bytes]) -> tuple[Binding, ...]:
        """What several addresses-of-record have together, in the same order."""
        return in_order(binding for aor in aors for binding in self.bindings(aor))

    def room_for(self, aor: bytes, new: int) -> bool:
        """Whether so many new contacts fit under the limits."""
        return len(self._records.get(aor, ())) + new <= self._contacts and self._size + new <= self._limit

    def save(self, binding: Binding, replaced: Binding | None = None) -> None:
        """Add a binding, or put it in the place of another. Raises LocationFull."""
        if replaced is not None:
            self._detach(replaced)
        elif not self.room_for(binding.aor, 1):
            raise LocationFull("too many contacts are registered")
        self._attach(binding, binding.modified)
        self._tell(binding)

    def renew(
        self, binding: Binding, expires: float, call_id: bytes, cseq: int, now: float
    ) -> tuple[Binding, ...]:
        """Let a binding live longer, without any other change; what its address-of-record has now.

        That is told only where it would live longer than what was told last covers.
        """
        binding.expires = expires
        binding.call_id = call_id
        binding.cseq = cseq
        binding.modified = now
        record = self._records[binding.aor]
        if len(record) > 1:
            record = self._records[binding.aor] = in_order(record)
        if expires > binding.covered:
            self._tell(binding)
        return record

    def load(self, bindings: Iterable[Binding], now: float) -> None:
        """Take what the database kept, at start; beyond the limits the rest is left out."""
        for binding in bindings:
            if self.room_for(binding.aor, 1):
                self._attach(binding, now)

    def remove(self, binding: Binding, reason: str = "unregistered") -> None:
        """Take a binding away."""
        self._detach(binding)
        self.changes.append(Removed(binding, reason))

    def get_timer(self) -> float | None:
        """When the next binding may expire."""
        return self._reminders.get_timer()

    def handle_timer(self, now: float) -> None:
        """Remove what has expired."""
        for binding in self._reminders.due(now):
            if binding not in self._records.get(binding.aor, ()):
                continue
            if binding.expires <= now:
                self.remove(binding, "expired")
            else:
                self._look_again(binding, now)

    def next_change(self) -> Change | None:
        """The oldest change not handed out yet."""
        return self.changes.popleft() if self.changes else None

    def _tell(self, binding: Binding) -> None:
        binding.told()
        self.changes.append(Saved(binding))

    def _look_again(self, binding: Binding, now: float) -> None:
        self._turn = (self._turn + 1) % LOOK
        self._reminders.add(binding, min(binding.expires, now + LOOK + self._turn))

    def _attach(self, binding: Binding, now: float) -> None:
        record = self._records.get(binding.aor)
        self._records[binding.aor] = (binding,) if record is None else in_order((*record, binding))
        self._size += 1
        self._look_again(binding, now)

    def _detach(self, binding: Binding) -> None:
        left = tuple([each for each in self._records[binding.aor] if each is not binding])
        self._size -= 1
        if left:
            self._records[binding.aor] = left
        else:
            del self._records[binding.aor]


def in_order(bindings: Iterable[Binding]) -> tuple[Binding, ...]:
    """Highest q first, and newest first among equals."""
    return tuple(sorted(bindings, key=_preference))


def _preference(binding: Binding) -> tuple[float, float]:
    return (-binding.q, -binding.modified)
