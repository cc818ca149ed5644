"""A reply as tab-separated values: a heading line, then a line for each row; for other programs."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from rtlib.command.render import cell, columns
from rtlib.command.report import Report


def tsv(rows: Iterable[msgspec.Struct], row: type[msgspec.Struct]) -> Report:
    """The rows, whose columns have the headings of the row type. A tab within a value is escaped."""
    shown = columns(row)
    lines = [[column.heading for column in shown.values()]]
    lines += [[cell(getattr(item, name)) for name in shown] for item in rows]
    return Report("".join("\t".join(line) + "\n" for line in lines))
