"""How the server finds out that a silent client has gone (manual 4.10).

Clients ping every 10 to 15 minutes. Who says nothing for a little longer than 20 is asked, by a
WebSocket ping or by TCP; who does not answer that either has gone.
"""

from __future__ import annotations

import socket
from dataclasses import dataclass
from math import ceil
from typing import Final, Literal

INTERVAL: Final = 1230.0
"""Seconds: "a little over 20 minutes"."""
GRACE: Final = 30.0
"""Seconds that a client has to answer."""
PROBES: Final = 3
"""TCP probes without an answer after which the kernel ends the connection, within GRACE."""

MAX_IDLE: Final = 32767
"""Seconds; the most that Linux takes for TCP_KEEPIDLE."""


@dataclass(frozen=True)
class KeepAlive:
    """How one client is watched; times in seconds."""

    method: Literal["tcp", "ws"] = "ws"
    interval: float = INTERVAL
    grace: float = GRACE


class Watch:
    """Tells when a client that has been silent is to be asked, and when it has gone. Sans-IO."""

    __slots__ = ("_asked", "_heard", "_policy")

    def __init__(self, policy: KeepAlive, now: float) -> None:
        """The first look is due after the policy's interval."""
        self._policy = policy
        self._heard = now
        self._asked = False

    def heard(self, now: float) -> float | None:
        """The client has sent something, whatever it was; when to look now, if that has changed."""
        self._heard = now
        if not self._asked:
            return None
        self._asked = False
        return now + self._policy.interval

    def look(self, now: float) -> tuple[bool, float] | None:
        """Whether to ask, and when to look next; None if the client has gone.

        The time for a look is not moved each time that the client is heard: most looks find that it was.
        """
        if self._asked:
            return None
        due = self._heard + self._policy.interval
        if now < due:
            return False, due
        self._asked = True
        return True, now + self._policy.grace


def probe(sock: socket.socket, policy: KeepAlive) -> None:
    """Have the kernel watch a connection (RFC 9293 section 3.8.4). Raises OSError."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, min(ceil(policy.interval), MAX_IDLE))
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, ceil(policy.grace / PROBES))
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, PROBES)
