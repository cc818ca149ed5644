"""A token bucket: how many requests a client may send."""

from __future__ import annotations


class TokenBucket:
    """Allows `burst` at once and `rate` per second in the long run."""

    __slots__ = ("_burst", "_rate", "_tokens", "_when")

    def __init__(self, rate: float, burst: float, now: float) -> None:
        self._rate = rate
        self._burst = burst
        self._tokens = burst
        self._when = now

    def take(self, now: float) -> bool:
        """Whether one more is allowed now; what is refused costs nothing."""
        elapsed = max(0.0, now - self._when)
        self._when = max(now, self._when)
        self._tokens = min(self._burst, self._tokens + elapsed * self._rate)
        if self._tokens < 1.0:
            return False
        self._tokens -= 1.0
        return True
