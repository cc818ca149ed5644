"""The text of a configuration file, or the reason why there is none."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from rtlib.settings.problem import Problem, SettingsError

MAX_BYTES: Final = 16 * 1024 * 1024
"""Room for 100,000 subscribers of genproxy, with a table of 100 bytes for each."""


def read_text(path: Path, *, optional: bool) -> str:
    """The file's text; empty when it is missing and `optional`. Raises SettingsError."""
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except FileNotFoundError:
        if optional:
            return ""
        raise _refused(path, "the file does not exist") from None
    except OSError as error:
        raise _refused(path, f"cannot be read: {error.strerror}") from None
    if len(data) > MAX_BYTES:
        raise _refused(path, f"is larger than {MAX_BYTES} bytes")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise SettingsError(path, [Problem(line, "", "is not UTF-8 text")]) from None


def _refused(path: Path, reason: str) -> SettingsError:
    return SettingsError(path, [Problem(None, "", reason)])
