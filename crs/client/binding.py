"""Keeps one leg bound to this client's address: bind packets, repeated until the relay confirms. Sans-IO.

A bind that is confirmed is refreshed, which also keeps the path through address translation open.
Every packet has a counter of its own, for the relay takes none twice.
"""

from __future__ import annotations

from typing import Final

from crs.relay import packet

FIRST_RETRY: Final = 0.1
"""Seconds until an unconfirmed bind is repeated; doubled each time."""

SLOWEST_RETRY: Final = 2.0
"""Seconds between repetitions at most."""

REFRESH: Final = 15.0
"""Seconds from a confirmed bind to the next: below the 30 s that common NATs keep a UDP path."""


class Binding:
    """One leg of a relay allocation, as its owner sees it."""

    def __init__(self, identifier: int, key: bytes, counter: int, now: float) -> None:
        """`key` authenticates both directions; binds count from above `counter`; the first is due at `now`.

        The counter must not be below that of an earlier owner of the leg: the UTC time in milliseconds
        serves a client that was restarted during a call.
        """
        self._identifier = identifier
        self._key = key
        self._counter = counter
        self._confirmed = counter
        self.bound = False
        """Whether the relay has confirmed any bind."""
        self._pause = FIRST_RETRY
        self._due = now

    def receive(self, data: bytes, now: float) -> bool:
        """Take a packet from the relay; True if the leg has just become bound."""
        control = packet.parse(data)
        if control is None or (control.type, control.identifier) != (packet.Type.bind_ack, self._identifier):
            return False
        if not self._confirmed < control.counter <= self._counter or not control.is_authentic(self._key):
            return False
        first, self.bound = not self.bound, True
        self._confirmed = control.counter
        self._pause = FIRST_RETRY
        self._due = now + REFRESH
        return first

    def get_timer(self) -> float:
        """When the next bind is due."""
        return self._due

    def to_send(self, now: float) -> list[bytes]:
        """The bind packet that is due by now, if any."""
        if now < self._due:
            return []
        self._counter += 1
        self._due = now + self._pause
        self._pause = min(2 * self._pause, SLOWEST_RETRY)
        return [packet.build(packet.Type.bind, self._identifier, self._counter, self._key)]
