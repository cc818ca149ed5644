"""What is known of one source of messages, and how much it may send (guide 7.1.15). Sans-IO."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Generic, TypeVar

from rtlib.wheel import Entry

Key = TypeVar("Key")

OPEN: Final = 0
"""On the allowList: nothing is looked at."""
SHUT: Final = 1
"""On the denyList."""
WATCHED: Final = 2
"""On no list: its messages are counted, and looked at."""
EXEMPT: Final = 3
"""On the proxyList: not counted, but looked at."""
BLOCKED: Final = 4
"""Nothing is taken from there until the block ends."""


@dataclass(frozen=True, slots=True)
class Limits:
    """How much a source may send. About 8 requests a second for 2 to 6 seconds, says the guide."""

    requests: int = 16
    """In one interval."""
    messages: int = 256
    """In one interval, responses included; what is more is dropped at once."""
    interval: float = 2.0
    """Seconds."""
    intervals: int = 2
    """That follow each other, with more than `requests` or `messages`, until a source is blocked."""
    block: float = 300.0
    """Seconds that it is blocked for; then its rate is looked at again."""


class Source:
    """One IP address, or the /64 of an IPv6 address that is not in our own network."""

    __slots__ = (
        "dropped",
        "ends",
        "hasty",
        "host",
        "kind",
        "measured",
        "messages",
        "pardoned",
        "reason",
        "requests",
        "since",
        "state",
        "streak",
        "timer",
        "until",
    )

    def __init__(self, host: str, state: int) -> None:
        self.host = host
        self.state = state
        self.ends = 0.0
        """When the interval ends that is being counted."""
        self.requests = 0
        self.messages = 0
        self.streak = 0
        """Intervals before this one, without a gap, with too much in them."""
        self.hasty = False
        """Whether there has been too much in this interval, and not from a Genesis system."""
        self.pardoned: bool | None = None
        """Whether it turned out to be a Genesis system; None: in this interval nobody has looked."""
        self.kind = ""
        """Why it is blocked; the rest is of the block, too."""
        self.reason = ""
        self.since = 0.0
        self.until = 0.0
        self.dropped = 0
        self.measured = False
        """Whether its rate is being looked at, in the last interval of the block."""
        self.timer: Entry[Source] | None = None

    def roll(self, now: float, limits: Limits) -> None:
        """Begin another interval."""
        follows = now < self.ends + limits.interval
        if follows and self.exceeds(limits) and not self.pardoned:
            self.streak += 1
        else:
            self.streak = 0
        self.ends = (self.ends if follows else now) + limits.interval
        self.requests = self.messages = 0
        self.hasty = False
        self.pardoned = None

    def exceeds(self, limits: Limits) -> bool:
        """Whether there has been too much in this interval."""
        return self.requests > limits.requests or self.messages > limits.messages

    def excess(self, limits: Limits) -> str:
        """What it has sent too much of, for people."""
        much = self.requests > limits.requests
        what = f"{limits.requests} requests" if much else f"{limits.messages} messages"
        return f"more than {what} in {limits.interval:g} s, {limits.intervals} times in a row"

    def free(self) -> None:
        """Watch it again, as if it were new."""
        self.state = WATCHED
        self.ends = self.since = self.until = 0.0
        self.requests = self.messages = self.streak = self.dropped = 0
        self.kind = self.reason = ""
        self.hasty = self.measured = False


class Table(Generic[Key]):
    """Keeps the most recent of what it is given: at least `size`, at most twice as many.

    Two generations: when the younger one is full, the older one is forgotten, but for what was asked for.
    """

    def __init__(self, size: int, forgotten: Callable[[int], None]) -> None:
        self._size = size
        self._forgotten = forgotten
        self.young: dict[Key, Source] = {}
        self._old: dict[Key, Source] = {}

    def __len__(self) -> int:
        return len(self.young) + len(self._old)

    def find(self, key: Key) -> Source | None:
        """What is kept for a key; it counts as young then."""
        found = self.young.get(key)
        if found is None:
            found = self._old.pop(key, None)
            if found is not None:
                self.put(key, found)
        return found

    def put(self, key: Key, source: Source) -> None:
        """Keep something."""
        if len(self.young) >= self._size:
            self._forgotten(len(self._old))
            self._old, self.young = self.young, {}
        self.young[key] = source

    def clear(self) -> None:
        """Forget everything."""
        self._old, self.young = {}, {}
