"""Timer values of RFC 3261 table 4, RFC 6026 (L and M) and RFC 4320, in seconds."""

from __future__ import annotations

from typing import Final, NamedTuple

T1: Final = 0.5
"""Estimate of the round trip time."""

T2: Final = 4.0
"""Longest interval between retransmissions of a non-INVITE request or an INVITE response."""

T4: Final = 5.0
"""How long a message may stay in the network."""

TIMER_C: Final = 180.0
"""A proxy's limit for an INVITE that rings (§16.6 step 11): it must be longer than three minutes."""

TRYING: Final = 0.2
"""After this time without a response of the user, an INVITE gets 100 Trying (§17.2.1)."""


class Timers(NamedTuple):
    """The durations of one layer, all derived from T1, T2 and T4. Zero on reliable transports where noted.

    A, E and G are the first retransmission intervals, on unreliable transports only; B, F and H are 64 T1;
    D, I, J and K absorb retransmissions and are zero on reliable transports; L and M are 64 T1 on all.
    """

    t1: float = T1
    t2: float = T2
    t4: float = T4

    @property
    def limit(self) -> float:
        """64 T1: timers B, F, H, J (unreliable), L and M."""
        return 64 * self.t1

    @property
    def d(self) -> float:
        """Timer D on unreliable transports: at least 32 s, and not less than the server's timer H."""
        return max(32.0 * self.t1 / T1, self.limit)

    @property
    def non_invite_trying(self) -> float:
        """When timer E has grown to T2: from then on other requests than INVITE get 100 (RFC 4320 §4.1)."""
        interval, elapsed = self.t1, 0.0
        while interval < self.t2:
            elapsed += interval
            interval *= 2
        return elapsed


DEFAULTS: Final = Timers()
