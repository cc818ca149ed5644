"""A reply that has its own form and exit code, whatever the command line's options say: a health check."""

from __future__ import annotations

import msgspec


class Report(msgspec.Struct, frozen=True):
    """Lines to print as they are, and what the program exits with."""

    text: str
    exit_code: int = 0
