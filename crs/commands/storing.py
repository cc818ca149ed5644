"""What a command says when the store cannot do what it asks."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from rtlib.command.registry import Unavailable


@contextmanager
def store_errors(what: str = "") -> Iterator[None]:
    """Make a StoreError the command's error; `what` says what was being done."""
    from rtlib.store import StoreError

    try:
        yield
    except StoreError as error:
        raise Unavailable(": ".join(filter(None, [what, str(error)]))) from error
