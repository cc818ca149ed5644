"""Small configuration files that commands write: a directive and its value on each line, mode 0600.

Empty lines and lines that begin with `#` are comments; they are lost when a command writes the file.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from datetime import datetime
from pathlib import Path
from typing import Final, NamedTuple

from twisted.logger import Logger

from rtlib import secretfile

log = Logger()

MAX_FILE: Final = 1 << 20


class LineFileError(Exception):
    """A file cannot be read, used or written; the text says which and why."""


class Line(NamedTuple):
    """A line that is no comment."""

    number: int
    word: str
    """The directive."""
    value: str


def read(path: Path, directives: Collection[str]) -> list[Line]:
    """The lines of a file, which has these directives; blocks. Raises LineFileError."""
    try:
        _tighten(path)
        with path.open(encoding="utf-8") as file:
            text = file.read(MAX_FILE + 1)
    except (OSError, UnicodeDecodeError) as error:
        raise LineFileError(f"{path}: {getattr(error, 'strerror', None) or error}") from error
    if len(text) > MAX_FILE:
        raise LineFileError(f"{path}: is longer than {MAX_FILE} characters")
    lines = []
    for number, line in enumerate(text.splitlines(), 1):
        word, _, value = line.strip().partition(" ")
        if word and not word.startswith("#"):
            if word not in directives:
                allowed = ", ".join(sorted(directives))
                raise LineFileError(f"{path}:{number}: {word}: unknown directive (allowed: {allowed})")
            lines.append(Line(number, word, value.strip()))
    return lines


def write(path: Path, lines: Iterable[str]) -> None:
    """Put a file in place, whole and durable, in a folder that is made if need be. Blocks.

    Raises LineFileError.
    """
    try:
        if not path.parent.is_dir():
            path.parent.mkdir(mode=0o700)
            secretfile.synchronise(path.parent.parent)
        secretfile.write(path, (f"{line}\n".encode() for line in lines))
    except OSError as error:
        raise LineFileError(f"{path}: {error.strerror or error}") from error


def moment(when: datetime) -> str:
    """A time as these files have it, UTC."""
    return when.strftime("%Y-%m-%dT%H:%M:%SZ")


def _tighten(path: Path) -> None:
    """Accept the looser mode that a restored backup leaves (manual 4.15.2), but not for long."""
    mode = path.stat().st_mode & 0o777
    if mode & 0o077:
        path.chmod(secretfile.MODE)
        log.warn(
            "{path} was readable by others (mode {mode}); it is 0600 now", path=str(path), mode=f"{mode:04o}"
        )
