"""The five verbs of a sans-IO machine: bytes and time go in, bytes and events come out.

A machine is a layer (all transactions of a proxy, all sessions of a node). It has no
clock, socket or loop: `now` is an argument, in seconds of a monotonic clock, and entropy
is a callable given to the constructor. `rtlib.driver` connects one to Twisted.
"""

from __future__ import annotations

from typing import Protocol, TypeVar

Source = TypeVar("Source")
"""Where bytes came from and go to: a socket address, a SIP flow, a connection id."""

Event_co = TypeVar("Event_co", covariant=True)
"""What the machine asks of, or tells, the service around it."""


class Machine(Protocol[Source, Event_co]):
    """What `rtlib.driver.Driver` needs of a machine; concrete machines add verbs of their own."""

    def receive(self, data: bytes, source: Source, now: float) -> None:
        """Take one message or datagram. Never raises for any input: bad input is answered or counted."""

    def to_send(self, now: float) -> list[tuple[bytes, Source]]:
        """Hand out, once, what has become due to be sent since the last call, in order."""

    def get_timer(self) -> float | None:
        """When `handle_timer` wants to be called, on the clock of `now`; None for never."""

    def handle_timer(self, now: float) -> None:
        """Let time pass: retransmit, give up, expire."""

    def next_event(self) -> Event_co | None:
        """Hand out the oldest event not handed out yet; None when there are no more."""
