"""How the server finds out that a silent client has gone (manual 4.10).

Clients ping every 10 to 15 minutes. Who says nothing for a little longer than 20 is asked, by a
WebSocket ping or by TCP; who does not answer that either has gone.
"""

from __future__ import annotations

import socket
from collections.abc import Callable
from dataclasses import dataclass
from math import ceil
from typing import Final, Literal

from twisted.internet.interfaces import IDelayedCall, IReactorTime

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
    """Asks a client that has been silent; `gone()` is called if it stays silent.

    One timer for each connection, which is touched only when the client is heard after it was asked.
    """

    def __init__(
        self, clock: IReactorTime, policy: KeepAlive, ask: Callable[[], None], gone: Callable[[], None]
    ) -> None:
        self._clock = clock
        self._policy = policy
        self._ask = ask
        self._gone = gone
        self._heard = clock.seconds()
        self._asked = False
        self._timer: IDelayedCall | None = clock.callLater(policy.interval, self._silent)

    def heard(self) -> None:
        """The client has sent something, whatever it was."""
        self._heard = self._clock.seconds()
        if self._asked:
            self._asked = False
            self._rearm(self._policy.interval, self._silent)

    def stop(self) -> None:
        """Watch no longer."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _rearm(self, delay: float, call: Callable[[], None]) -> None:
        self.stop()
        self._timer = self._clock.callLater(delay, call)

    def _silent(self) -> None:
        """The interval is over since it began; perhaps not since the client was last heard."""
        self._timer = None
        left = self._heard + self._policy.interval - self._clock.seconds()
        if left > 0:
            self._rearm(left, self._silent)
            return
        self._asked = True
        self._rearm(self._policy.grace, self._unanswered)
        self._ask()

    def _unanswered(self) -> None:
        self._timer = None
        self._gone()


def probe(sock: socket.socket, policy: KeepAlive) -> None:
    """Have the kernel watch a connection (RFC 9293 section 3.8.4). Raises OSError."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, min(ceil(policy.interval), MAX_IDLE))
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, ceil(policy.grace / PROBES))
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, PROBES)
