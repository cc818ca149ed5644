"""The key of resume tokens: the pool's, so that each host can read them, else a random one of this home."""

from __future__ import annotations

import os
import secrets
from pathlib import Path
from typing import Final

from rtlib.secretfile import tighten, write

FILE: Final = "resume.key"
SIZE: Final = 32


def token_key(folder: Path, pool_key: str | None) -> bytes:
    """The secret that tokens are sealed with; made and kept in `folder` if the pool has none.

    Blocks. Raises OSError.
    """
    if pool_key is not None:
        return pool_key.encode()
    path = folder / FILE
    kept = _read(path)
    if kept is None:
        # A file of another size is what a full disk once left: tokens made with it are void anyway.
        kept = secrets.token_bytes(SIZE)
        write(path, [kept])
    return kept


def _read(path: Path) -> bytes | None:
    """What the file holds, if that is a key; its mode is made 0600."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    with os.fdopen(descriptor, "rb") as file:
        tighten(file.fileno())
        data = file.read(SIZE + 1)
    return data if len(data) == SIZE else None
