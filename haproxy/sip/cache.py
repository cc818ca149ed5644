"""What is kept of headers and URIs that come again and again: every such cache has a bound and a name.

Whoever sends can fill them with what never comes again: that costs the others the time to parse, and memory
up to the bound, which the metric `remembered` shows. Nothing else depends on what is in them.
"""

from __future__ import annotations

from collections.abc import Callable, Sized
from typing import Any, Final, TypeVar

K = TypeVar("K", bound=Sized)
R = TypeVar("R")

USUAL: Final = 8192
"""Values of one kind that are kept."""

LONGEST: Final = 256
"""Bytes; what is longer is parsed each time, so that nobody fills the caches with it."""

CACHES: Final[dict[str, Kept[Any, Any]]] = {}
"""By kind."""

_ABSENT: Final = object()


class Kept(dict[K, R]):
    """The results of a function by its argument: `kept[argument]`; what it raises is not kept.

    A dictionary, so that what is known costs a look-up and no call: half the time of `lru_cache`. When it
    holds half of what may be kept it becomes the past, and the past before it is forgotten; what is asked
    for again comes back from there.
    """

    __slots__ = ("_function", "_half", "_longest", "_past")

    def __init__(self, function: Callable[[K], R], most: int, longest: int) -> None:
        super().__init__()
        self._function = function
        self._longest = longest
        self._half = max(1, most // 2)
        self._past: dict[K, Any] = {}

    def __missing__(self, argument: K) -> R:
        if len(argument) > self._longest:
            return self._function(argument)
        result = self._past.pop(argument, _ABSENT)
        if result is _ABSENT:
            result = self._function(argument)
        if len(self) >= self._half:
            self._past = dict(self)
            self.clear()
        self[argument] = result
        return result  # type: ignore[no-any-return]  # of `_function` all the same

    @property
    def size(self) -> int:
        """How many results are kept."""
        return len(self) + len(self._past)


def kept(kind: str, function: Callable[[K], R], most: int = USUAL, longest: int = LONGEST) -> Kept[K, R]:
    """A cache with a name, under which its size is shown."""
    cache = CACHES[kind] = Kept(function, most, longest)
    return cache


def sizes() -> dict[str, float]:
    """How many values are kept, by kind."""
    return {kind: float(cache.size) for kind, cache in CACHES.items()}
