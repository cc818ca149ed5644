"""What every packet forwarder offers: Python decides who may send where, the forwarder moves the packets.

Nothing here calls back per packet, so that a forwarder may be a thread that never takes the GIL.
A forwarder knows ports (bound UDP sockets, by handle) and on each the flows (what to do with one sender).
"""

from __future__ import annotations

import enum
import socket
from collections.abc import Callable, Sequence
from typing import NamedTuple, NewType, Protocol

from rtlib.address import Address

MAX_PACKET = 1500
"""Bytes; longer packets are dropped and counted: media never needs them and they would only fragment."""
RELAY_HEADER = 8
"""Bytes of a relay header: type, three zero bytes, identifier."""
OPAQUE = 0x10
"""First byte of opaque relay data. First bytes 0x01 to 0x0f are relay control packets."""
UNMATCHED_PER_DRAIN = 256
"""Packets without a flow that are handed up for one wake-up of a port; the rest are dropped and counted."""


PAUSE = 0.0005
"""Seconds that a forwarder waits between two drains under load: packets moved in batches cost a quarter."""
MAX_TARGETS = 256
"""Targets of one flow or audience."""


class Classify(enum.Enum):
    """How a port finds the flow of a packet."""

    PORT = "port"
    """All packets of the port are one flow, with key 0: one side of an RTP port pair."""
    RELAY = "relay"
    """One port for all: the key is the SSRC of RTP and RTCP, or the identifier of opaque relay data."""


class Target(NamedTuple):
    """One place to send a flow's packets to: the handle of the port to send from, and the receiver."""

    port: int
    address: Address


Audience = NewType("Audience", object)
"""Targets that many flows share; only the forwarder that made it can use it."""


class FlowCounters(NamedTuple):
    """A snapshot. `targets` are the flow's own, not its audience's. `tx` counts packets to all targets;
    `last_active` is monotonic, 0.0 for never.
    """

    source: Address | None
    targets: tuple[Target, ...]
    rx: int
    rx_bytes: int
    tx: int
    tx_bytes: int
    wrong_source: int
    last_active: float


class PortCounters(NamedTuple):
    """A snapshot. `unmatched` counts all packets that were to go up, `unmatched_dropped` those of them
    that did not.
    """

    received: int = 0
    received_bytes: int = 0
    sent: int = 0
    sent_bytes: int = 0
    too_short: int = 0
    too_long: int = 0
    no_destination: int = 0
    send_errors: int = 0
    unmatched: int = 0
    unmatched_dropped: int = 0


Unmatched = Callable[[int, list[tuple[bytes, Address]]], None]
"""Takes a port handle and the packets that nobody has decided about, at most `UNMATCHED_PER_DRAIN`."""

Unreachable = Callable[[int, Address, int], None]
"""Takes a port handle, the address that a packet was sent to, and the errno that sending or ICMP brought."""


class Forwarder(Protocol):
    """Moves packets between ports by flows. All methods are called from the reactor's thread and return
    at once.

    A packet goes up to `on_unmatched` if it matches no flow, if its flow has no source yet (`None`: the
    caller latches or waits for a bind packet, then calls `set_flow`), if it came from another source than
    the flow's, or if it is a relay control packet. A flow without targets counts its packets and drops
    them.
    """

    on_unmatched: Unmatched
    """Set before the first `open`; what it raises is logged."""
    on_error: Unreachable
    """The same for packets that cannot be sent and receivers that are gone; bounded, never per packet."""

    def open(self, sock: socket.socket, classify: Classify) -> int:
        """Take over a bound, non-blocking UDP socket and give its port handle, a positive number never
        used again.
        """

    def close(self, port: int) -> None:
        """Close the port's socket and forget its flows. KeyError for a handle that is not open, here and
        below.
        """

    def address(self, port: int) -> tuple[str, int]:
        """Host and port number that the socket is bound to."""

    def set_flow(
        self, port: int, key: int, source: Address | None, targets: Sequence[tuple[int, Address]]
    ) -> None:
        """Add a flow or change one, which keeps its counters. A target whose port is closed later is
        skipped. ValueError for more than MAX_TARGETS targets.
        """

    def audience(self) -> Audience:
        """Make an audience without targets, for `set_speaker`. It ends when nobody holds it."""

    def set_audience(self, audience: Audience, targets: Sequence[tuple[int, Address]]) -> None:
        """Change where the packets of all its speakers go. ValueError for more than MAX_TARGETS targets."""

    def set_speaker(self, port: int, key: int, source: Address | None, audience: Audience) -> None:
        """Like `set_flow`, for a flow whose packets go to all of an audience except to its own source."""

    def remove_flow(self, port: int, key: int) -> None:
        """Forget a flow; nothing happens if it is not there."""

    def flow(self, port: int, key: int) -> FlowCounters:
        """Read a flow's counters. KeyError if it is not there."""

    def port_counters(self, port: int) -> PortCounters:
        """Read a port's counters."""

    def send(self, port: int, data: bytes, address: Address) -> None:
        """Send one packet of the caller's own, such as the answer to a bind packet."""

    def stop(self) -> None:
        """Close all ports."""
