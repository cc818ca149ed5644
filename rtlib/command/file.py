"""A file that a caller hands to a command: the open file itself, not its path (SCM_RIGHTS, unix(7)).

The daemon needs no right to the path, a file of any size costs the command socket nothing, and the
command reads it where it may block.
"""

from __future__ import annotations

import os
import shutil
import stat
import tempfile
import weakref
from pathlib import Path

from rtlib.command.error import BadArgument


class File:
    """An open file; it is closed with the last reference to it."""

    def __init__(self, name: str, descriptor: int) -> None:
        """`name` is what the caller calls it, for messages. Owns the descriptor from now on."""
        self.name = name
        self.descriptor = descriptor
        weakref.finalize(self, os.close, descriptor)

    @classmethod
    def open(cls, path: Path) -> File:
        """Open a file to hand it over; what can be read once only, such as a pipe, is copied before.

        Raises OSError.
        """
        name = os.fsencode(path).decode(errors="backslashreplace")
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        if stat.S_ISREG(os.fstat(descriptor).st_mode):
            return cls(name, descriptor)
        with os.fdopen(descriptor, "rb") as source, tempfile.TemporaryFile() as copy:
            shutil.copyfileobj(source, copy)
            copy.flush()
            return cls(name, os.dup(copy.fileno()))

    @property
    def size(self) -> int:
        """Bytes that it has now."""
        return os.fstat(self.descriptor).st_size

    def read(self, limit: int) -> bytes:
        """Its first `limit` bytes; blocks. Raises OSError; BadArgument for what is no regular file."""
        if not stat.S_ISREG(os.fstat(self.descriptor).st_mode):
            raise BadArgument(f"{self.name}: not a regular file")
        parts: list[bytes] = []
        size = 0
        # One read is at most 2 GiB and may give less than is there.
        while part := os.pread(self.descriptor, limit - size, size):
            parts.append(part)
            size += len(part)
        return parts[0] if len(parts) == 1 else b"".join(parts)
