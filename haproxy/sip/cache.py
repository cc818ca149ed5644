"""What is kept of headers and URIs that come again and again: every such cache has a bound and a name.

Whoever sends can fill them with what never comes again: that costs the others the time to parse, and memory
up to the bound, which the metric `remembered` shows. Nothing else depends on what is in them.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import _lru_cache_wrapper, lru_cache
from typing import Any, Final, TypeVar

R = TypeVar("R")

USUAL: Final = 8192
"""Values of one kind that are kept, the longest unused forgotten first."""

CACHES: Final[dict[str, _lru_cache_wrapper[Any]]] = {}
"""By kind."""


def kept(kind: str, function: Callable[..., R], most: int = USUAL) -> _lru_cache_wrapper[R]:
    """The function with its last results kept; what it raises is not."""
    cache = CACHES[kind] = lru_cache(most)(function)
    return cache


def sizes() -> dict[str, float]:
    """How many values are kept, by kind."""
    return {kind: float(cache.cache_info().currsize) for kind, cache in CACHES.items()}
