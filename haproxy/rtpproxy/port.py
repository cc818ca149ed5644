"""Port pairs from `rtpPortMin..rtpPortMax`: RTP on the even port, RTCP on the next (RFC 3550 section 11)."""

from __future__ import annotations

import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from rtlib.listen import ListenError
from rtlib.media.forwarder import Classify, Forwarder

ATTEMPTS = 64
"""Pairs to try that other programs may hold before giving up; bounds the time of one call set-up."""


class PortsExhausted(Exception):
    """No port pair is free in the range."""


@dataclass(frozen=True, slots=True)
class PortPair:
    """Two open ports of one host: handles of the forwarder, and the even number."""

    host: str
    number: int
    rtp: int
    rtcp: int


class PortPool:
    """Opens and closes pairs, going round the range: a number rests as long as it can."""

    def __init__(
        self,
        forwarder: Forwarder,
        *,
        bind: Callable[[str, int], socket.socket],
        low: int,
        high: int,
        start: int = 0,
        hosts: Mapping[str, str] | None = None,
    ) -> None:
        """`bind` raises OSError or ListenError; `hosts` maps addresses that parties are shown to our own."""
        self._hosts = dict(hosts or {})
        self._forwarder = forwarder
        self._bind = bind
        self._first = low + low % 2
        self._pairs = max(0, (high - self._first + 1) // 2)
        self._next = start % self._pairs if self._pairs else 0
        self._used: set[tuple[str, int]] = set()
        self.exhausted = 0

    @property
    def in_use(self) -> int:
        """Pairs that are open."""
        return len(self._used)

    def has(self, host: str, number: int) -> bool:
        """Whether a pair with this even number is open on a host, or shown as on that host."""
        return (self._hosts.get(host, host), number) in self._used

    def open(self, host: str) -> PortPair:
        """Bind a free pair. Raises PortsExhausted."""
        attempts = 0
        for _ in range(self._pairs):
            number = self._first + 2 * self._next
            self._next = (self._next + 1) % self._pairs
            if (host, number) in self._used:
                continue
            pair = self._try(host, number)
            if pair is not None:
                return pair
            attempts += 1
            if attempts == ATTEMPTS:
                break
        self.exhausted += 1
        raise PortsExhausted(f"no RTP port pair is free on {host}")

    def close(self, pair: PortPair) -> None:
        """Give a pair back."""
        self._forwarder.close(pair.rtp)
        self._forwarder.close(pair.rtcp)
        self._used.discard((pair.host, pair.number))

    def _try(self, host: str, number: int) -> PortPair | None:
        try:
            rtp = self._bind(host, number)
        except (OSError, ListenError):
            return None
        try:
            rtcp = self._bind(host, number + 1)
        except (OSError, ListenError):
            rtp.close()
            return None
        self._used.add((host, number))
        opened = (self._forwarder.open(sock, Classify.PORT) for sock in (rtp, rtcp))
        return PortPair(host, number, *opened)
