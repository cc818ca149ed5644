"""Long work in pieces: between two of them others are served."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final, TypeVar

T = TypeVar("T")

SIZE: Final = 250
"""Clients or calls that are looked at at a time, which takes about 2 ms."""


def batches(items: Sequence[T]) -> Iterator[Sequence[T]]:
    """The items, in pieces of at most SIZE."""
    return (items[start : start + SIZE] for start in range(0, len(items), SIZE))
