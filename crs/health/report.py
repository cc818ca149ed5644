"""What a health check has found, and its three forms."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from typing import Final

import msgspec

from rtlib.command.report import Report


class Verdict(StrEnum):
    """How a test ended."""

    ok = "ok"
    warning = "warning"
    error = "error"


class Format(StrEnum):
    """How the result is printed."""

    summary = "summary"
    """One word."""
    json = "json"
    tsv = "tsv"
    """A line for each test: its name, result and description, separated by tabs."""


EXIT_CODES: Final = {Verdict.ok: 0, Verdict.error: 1, Verdict.warning: 3}
"""Of the manual."""

_GRAVITY: Final = {Verdict.ok: 0, Verdict.warning: 1, Verdict.error: 2}


class Test(msgspec.Struct, frozen=True):
    """One test that was made."""

    __test__ = False
    """It is none of pytest's."""

    name: str
    result: Verdict
    description: str


class Health(msgspec.Struct, frozen=True):
    """The result of a health check."""

    summary: Verdict
    tests: tuple[Test, ...]


def report(tests: Sequence[Test], form: Format) -> Report:
    """The result as the operator wants it, with the exit code of the gravest test."""
    worst = max((test.result for test in tests), key=_GRAVITY.__getitem__)
    return Report(_text(Health(worst, tuple(tests)), form), EXIT_CODES[worst])


def _text(health: Health, form: Format) -> str:
    if form is Format.summary:
        return f"{health.summary}\n"
    if form is Format.tsv:
        return "".join(f"{test.name}\t{test.result}\t{_line(test.description)}\n" for test in health.tests)
    return msgspec.json.format(msgspec.json.encode(health), indent=2).decode() + "\n"


def _line(text: str) -> str:
    return " ".join(text.split())
