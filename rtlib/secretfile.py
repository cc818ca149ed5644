"""Files that hold secrets: mode 0600, and written so that a crash leaves the old file or the new one."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Final

MODE: Final = 0o600


def write(path: Path, parts: Iterable[bytes | memoryview], *, replace: bool = True) -> None:
    """Put a file in place, whole and durable. Raises OSError; FileExistsError if it may not be replaced.

    Blocks. Writers of one file must take turns.
    """
    temporary = path.with_name(f".{path.name}.tmp")
    temporary.unlink(missing_ok=True)
    try:
        _fill(temporary, parts)
        if replace:
            temporary.replace(path)
        else:
            path.hardlink_to(temporary)
    finally:
        temporary.unlink(missing_ok=True)
    synchronise(path.parent)


def synchronise(directory: Path) -> None:
    """Make what was renamed and removed in this directory durable. Raises OSError."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def tighten(descriptor: int) -> int | None:
    """Make an open file 0600; gives the mode that it had if others could read it. Raises OSError."""
    mode = os.fstat(descriptor).st_mode & 0o777
    if not mode & 0o077:
        return None
    os.fchmod(descriptor, MODE)
    return mode


def _fill(path: Path, parts: Iterable[bytes | memoryview]) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, MODE)
    with os.fdopen(descriptor, "wb") as file:
        file.writelines(parts)
        file.flush()
        os.fsync(file.fileno())
