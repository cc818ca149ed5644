"""How many requests a client, or an address, may send: token buckets."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Hashable
from typing import Final, Generic, Protocol, TypeVar
from weakref import WeakValueDictionary

from crs.limits import Limits
from rtlib.bucket import TokenBucket

BURST: Final = 4
"""Requests at once, in relation to those per second."""

KEPT: Final = 10.0
"""Seconds for which what was used counts without a connection: who comes back is none the richer for it."""

REFUSALS_PER_SECOND: Final = 5.0
REFUSALS_BURST: Final = 500.0


class ClientAllowance:
    """What all connections of a client may ask for. Most clients never need but the first bucket."""

    __slots__ = ("__weakref__", "_invites", "_patience", "limits", "requests")

    def __init__(self, limits: Limits, now: float) -> None:
        self.limits = limits
        self.requests = TokenBucket(limits.requests_per_second, BURST * limits.requests_per_second, now)
        self._invites: TokenBucket | None = None
        self._patience: TokenBucket | None = None

    def invite(self, now: float) -> bool:
        """Whether it may invite somebody: the one thing that it can push to another who has not agreed."""
        if self._invites is None:
            rate = self.limits.invites_per_second
            self._invites = TokenBucket(rate, BURST * rate, now)
        return self._invites.take(now)

    def forgive(self, now: float) -> bool:
        """Whether one more request over a limit is still answered, rather than the connection closed."""
        if self._patience is None:
            self._patience = TokenBucket(REFUSALS_PER_SECOND, REFUSALS_BURST, now)
        return self._patience.take(now)


class AddressAllowance:
    """What all connections of an address may ask for."""

    __slots__ = ("__weakref__", "limits", "requests")

    def __init__(self, limits: Limits, now: float) -> None:
        self.limits = limits
        self.requests = TokenBucket(limits.requests_per_address, BURST * limits.requests_per_address, now)


class _Allowance(Protocol):
    limits: Limits


Key = TypeVar("Key", bound=Hashable)
Value = TypeVar("Value", bound=_Allowance)


class Allowances(Generic[Key, Value]):
    """One for each client or address, as long as a connection has it, and a little longer."""

    def __init__(self, make: Callable[[Limits, float], Value]) -> None:
        self._make = make
        self._values: WeakValueDictionary[Key, Value] = WeakValueDictionary()
        self._left: deque[tuple[float, Value]] = deque()

    def get(self, key: Key, limits: Limits, now: float) -> Value:
        """That of a new connection; the others keep theirs if the limits have changed meanwhile."""
        self._expire(now)
        value = self._values.get(key)
        if value is None or value.limits is not limits:
            value = self._values[key] = self._make(limits, now)
        return value

    def leave(self, value: Value, now: float) -> None:
        """A connection that had this one is gone."""
        self._left.append((now, value))
        self._expire(now)

    def _expire(self, now: float) -> None:
        while self._left and self._left[0][0] < now - KEPT:
            self._left.popleft()
