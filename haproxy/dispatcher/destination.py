"""One Genesis system, and how evidence of its health becomes a state (guide 7.1.16, 7.1.17). Sans-IO."""

from __future__ import annotations

from collections import deque
from collections.abc import Hashable
from dataclasses import dataclass, field
from enum import Enum
from typing import NamedTuple

DOWN = 2
"""Failures in a row that make a destination inactive (`astDownThreshold`)."""

UP = 2
"""Signs of life in a row that make an inactive one active again (`astUpThreshold`)."""

HOLD_DOWN = 60.0
"""Seconds that a destination which falls again soon after it came back stays inactive (`astHoldDown`)."""

STEADY = 5.0
"""A destination that stays active for so many times the hold-down is not flapping any more."""

LONGEST = 16
"""The hold-down doubles with each fall, up to so many times its first length."""

REST = 60
"""Seconds for which a destination gets no calls at most, however long it asks for (Retry-After)."""

PARDONS = 3
"""Silences in a row that are put down to our own losses; one that is dead has to be found all the same."""

HISTORY = 32
"""Pieces of evidence that are kept of each destination."""

NEVER = float("-inf")


class State(Enum):
    """What is known of a destination."""

    ACTIVE = "active"
    PROBING = "probing"
    """It has failed, but not often enough: calls go there after all others of its set."""
    INACTIVE = "inactive"


class Evidence(NamedTuple):
    """Something that was seen of a destination."""

    when: float
    kind: str
    """OPTIONS, INFO, call, REGISTER, or timer."""
    outcome: str
    status: int
    """The final response; 0 where there was none."""
    rtt: float | None
    """Seconds until that response."""
    state: State
    """The state afterwards."""


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
    """Why it has that state."""
    failures: int = 0
    """Failures in a row, up to now."""
    pardons: int = 0
    """Silences since it was last heard that said nothing of it."""
    successes: int = 0
    """Signs of life in a row since it became inactive."""
    heard: float = NEVER
    """When it last showed a sign of life."""
    recovered: float = NEVER
    """When it last became active after it was inactive."""
    falls: int = 0
    """How often it fell soon after it had recovered, without being steady in between."""
    held_until: float = NEVER
    """Until then it stays inactive even if it answers."""
    rests_until: float = NEVER
    """Until then it has asked not to get calls."""
    gone: bool = False
    """It is in no set any more: what is heard of it does not matter."""
    calls: int = 0
    """Calls that it has answered, in whatever way."""
    failed_calls: int = 0
    """Calls that it did not answer at all, or could not be sent."""
    rtt: float | None = None
    """Seconds that its last answer to a probe took."""
    history: deque[Evidence] = field(default_factory=lambda: deque(maxlen=HISTORY))

    @property
    def usable(self) -> bool:
        """Whether calls may be sent there."""
        return self.state is not State.INACTIVE


@dataclass(frozen=True, slots=True)
class Rules:
    """How much evidence it takes to change a destination's state."""

    down: int = DOWN
    up: int = UP
    hold_down: float = HOLD_DOWN
    probing: bool = True
    """Whether somebody asks inactive destinations; else they are tried again after the hold-down."""

    def failed(self, destination: Destination, certain: bool) -> State:
        """The state after one more failure; `certain` where the network said that nobody is there."""
        destination.successes = 0
        destination.failures += 1
        if certain:
            destination.failures = max(destination.failures, self.down)
        down = destination.failures >= self.down or not destination.usable
        return State.INACTIVE if down else State.PROBING

    def answered(self, destination: Destination, now: float) -> State:
        """The state after one more sign of life."""
        destination.failures = 0
        destination.successes += 1
        if destination.usable or not self.probing:
            return State.ACTIVE
        return State.ACTIVE if self.is_well(destination) and now >= destination.held_until else State.INACTIVE

    def is_well(self, destination: Destination) -> bool:
        """Whether an inactive destination has answered often enough, and is but held down."""
        return destination.successes >= self.up

    def fell(self, destination: Destination, now: float) -> None:
        """It becomes inactive: hold it down if it does so again and again."""
        flaps = now - destination.recovered < STEADY * self.hold_down
        destination.falls = destination.falls + 1 if flaps else 0
        if destination.falls:
            times = min(LONGEST, 2 ** (destination.falls - 1))
            destination.held_until = now + times * self.hold_down
