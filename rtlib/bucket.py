"""A token bucket. Sans-IO."""

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
        # Compared in line: this runs twice for each message of a client.
        tokens = self._tokens
        if now > self._when:
            tokens += (now - self._when) * self._rate
            self._when = now
            tokens = min(tokens, self._burst)
        if tokens < 1.0:
            self._tokens = tokens
            return False
        self._tokens = tokens - 1.0
        return True

    def charge(self, cost: float) -> None:
        """Count more for what was allowed; a debt has to be made good before the next."""
        self._tokens -= cost
