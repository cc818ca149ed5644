"""The two dispatch sets: who is in them, who is up, which one is primary (guide 1.2.1, 7.1.16-7.1.23).

Sets have fixed numbers: 1 holds the systems that register with `dispatchPriUser`, 0 those
with `dispatchSecUser`. The role "primary" moves between the numbers.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Hashable, Iterator
from dataclasses import dataclass
from enum import Enum

PRIMARY_SET = 1
SECONDARY_SET = 0

LIMIT = 10
"""Destinations in one set (`dispatchLimit`)."""

SIZE = 8
"""All destinations together, as a power of two (`dispatchSize`)."""

HOLD_DOWN = 60.0
"""Seconds until an inactive destination is tried again where nothing probes it."""

EVENTS = 1000


class State(Enum):
    """What is known of a destination."""

    ACTIVE = "active"
    PROBING = "probing"
    """A probe has failed, calls still go there; the next failure makes it inactive."""
    INACTIVE = "inactive"


@dataclass(slots=True, eq=False)
class Destination:
    """One Genesis system, as it registered."""

    number: int
    user: bytes
    uri: bytes
    flow: Hashable | None = None
    state: State = State.ACTIVE
    since: float = 0.0
    """When it took that state, on the clock of `now`."""
    reason: str = "registered"

    @property
    def usable(self) -> bool:
        """Whether calls may be sent there."""
        return self.state is not State.INACTIVE


@dataclass(frozen=True, slots=True)
class DestinationChanged:
    """A destination came up, went down, joined or left."""

    number: int
    uri: bytes
    previous: str
    current: str
    reason: str


@dataclass(frozen=True, slots=True)
class PrimaryChanged:
    """Calls go to another set from now on."""

    previous: int
    current: int
    reason: str


Event = DestinationChanged | PrimaryChanged


class Dispatcher:
    """Both sets, and the choice between them."""

    def __init__(
        self,
        *,
        primary_user: bytes = b"genesis_a",
        secondary_user: bytes = b"genesis_b",
        limit: int = LIMIT,
        size: int = SIZE,
        persistent: bool = True,
        hold_down: float | None = None,
        preferred: int = PRIMARY_SET,
    ) -> None:
        # Longest first: the guide's own example has "genesis" and "genesis_b".
        users = [(primary_user, PRIMARY_SET), (secondary_user, SECONDARY_SET)]
        self._prefixes = sorted(users, key=lambda row: -len(row[0]))
        self._limit = limit
        self._total = 2**size
        self._persistent = persistent
        self._hold_down = hold_down
        self._preferred = preferred
        self._current = preferred
        self._sets: dict[int, list[Destination]] = {PRIMARY_SET: [], SECONDARY_SET: []}
        self._turn = {PRIMARY_SET: 0, SECONDARY_SET: 0}
        self._events: deque[Event] = deque(maxlen=EVENTS)
        self.refused = 0

    def set_of(self, user: bytes) -> int | None:
        """The number of the set that a registration of this user belongs to; None for ordinary users."""
        return next((number for prefix, number in self._prefixes if user.startswith(prefix)), None)

    @property
    def primary(self) -> int:
        """The number of the set that calls go to now."""
        return self._current

    @property
    def preferred(self) -> int:
        """The number of the set that is primary while it has a usable destination."""
        return self._preferred

    def destinations(self, number: int | None = None) -> list[Destination]:
        """Those of one set in order of registration; of both, the primary set first."""
        if number is not None:
            return list(self._sets[number])
        return [*self._sets[self._current], *self._sets[1 - self._current]]

    def members(self) -> Iterator[Destination]:
        """All destinations, in no particular order."""
        for destinations in self._sets.values():
            yield from destinations

    def find(self, uri: bytes) -> Destination | None:
        """The destination with this contact, in either set."""
        return next((d for d in self.destinations() if d.uri == uri), None)

    def has_room(self, user: bytes, uri: bytes) -> bool:
        """Whether `registered` would take it (`dispatchLimit`, `dispatchSize`)."""
        number = self.set_of(user)
        if number is None or any(d.uri == uri for d in self._sets[number]):
            return True
        members = self._sets[number]
        return len(members) < self._limit and sum(map(len, self._sets.values())) < self._total

    def registered(self, user: bytes, uri: bytes, flow: Hashable | None, now: float) -> Destination | None:
        """Take or refresh a member; to register is a sign of life. None when the set is full."""
        number = self.set_of(user)
        if number is None:
            return None
        known = next((d for d in self._sets[number] if d.uri == uri), None)
        if known is not None:
            known.flow = flow
            self._change(known, State.ACTIVE, "registered", now)
            return known
        if not self.has_room(user, uri):
            self.refused += 1
            return None
        return self._join(Destination(number, user, uri, flow, since=now))

    def unregistered(self, uri: bytes, user: bytes, reason: str) -> None:
        """Forget a member: it unregistered, or its registration expired."""
        number = self.set_of(user)
        gone = (
            next((d for d in self._sets.get(number, ()) if d.uri == uri), None)
            if number is not None
            else None
        )
        if gone is None:
            return
        self._sets[gone.number].remove(gone)
        self._events.append(DestinationChanged(gone.number, uri, gone.state.value, "removed", reason))
        self._choose(f"{uri.decode(errors='replace')} {reason}")

    def failed(self, destination: Destination, reason: str, now: float, certain: bool = True) -> None:
        """It did not answer. Without certainty (one lost probe) it is only watched more closely."""
        doubtful = not certain and destination.state is State.ACTIVE
        self._change(destination, State.PROBING if doubtful else State.INACTIVE, reason, now)

    def answered(self, destination: Destination, now: float) -> None:
        """It is alive."""
        if destination.state is not State.ACTIVE:
            self._change(destination, State.ACTIVE, "answered", now)

    def candidates(self, now: float) -> list[Destination]:
        """Where to send the next call, in the order to try; round robin within each set."""
        self._release(now)
        order = []
        for number in (self._current, 1 - self._current):
            usable = [d for d in self._sets[number] if d.usable]
            if usable:
                turn = self._turn[number] % len(usable)
                order += usable[turn:] + usable[:turn]
        if order:
            self._turn[order[0].number] += 1
        return order

    def set_primary(self, number: int, reason: str = "set by the operator") -> None:
        """Make a set the preferred one, in both failover modes. ValueError if it is not 0 or 1."""
        if number not in self._sets:
            raise ValueError(f"there is no dispatch set {number}: the sets are 0 and 1")
        self._preferred = number
        self._choose(reason, failure=False)

    def next_event(self) -> Event | None:
        """The oldest event not handed out yet."""
        return self._events.popleft() if self._events else None

    def _join(self, destination: Destination) -> Destination:
        self._sets[destination.number].append(destination)
        self._events.append(
            DestinationChanged(destination.number, destination.uri, "none", "active", "registered")
        )
        self._choose("registered", failure=False)
        return destination

    def _change(self, destination: Destination, state: State, reason: str, now: float) -> None:
        previous, destination.reason = destination.state, reason
        if previous is state:
            return
        destination.state, destination.since = state, now
        event = DestinationChanged(destination.number, destination.uri, previous.value, state.value, reason)
        self._events.append(event)
        self._choose(f"{destination.uri.decode(errors='replace')} {reason}")

    def _release(self, now: float) -> None:
        if self._hold_down is None:
            return
        for destination in self.destinations():
            if not destination.usable and now - destination.since >= self._hold_down:
                self._change(destination, State.ACTIVE, "held down long enough", now)

    def _choose(self, reason: str, failure: bool = True) -> None:
        """Move to the set that calls should go to; a move because of a failure lasts, if that is wanted.

        At start the secondary systems may register first: that is no failure of the primary.
        """
        up = {number: any(d.usable for d in members) for number, members in self._sets.items()}
        order = (self._preferred, 1 - self._preferred, self._current)
        target = next((number for number in order if up[number]), self._current)
        if target == self._current:
            return
        self._events.append(PrimaryChanged(self._current, target, reason))
        self._current = target
        if failure and self._persistent:
            self._preferred = target
