"""Replies as an operator reads them: tables, vertical lists, comma-separated trace lines, or JSON."""

from __future__ import annotations

import re
import types
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import Enum
from typing import (
    Annotated,
    Any,
    Final,
    Protocol,
    Union,
    get_args,
    get_origin,
    get_type_hints,
    runtime_checkable,
)

import msgspec

from rtlib.command.audit import MASK
from rtlib.command.signature import plain

_CONTROLS: Final = {
    code: ascii(chr(code))[1:-1]
    for code in [
        *range(0x20),
        *range(0x7F, 0xA0),
        *(0x200E, 0x200F, 0x2028, 0x2029),
        *range(0x202A, 0x202F),
        *range(0x2066, 0x206A),
    ]
}
"""What a peer has sent must not move the operator's cursor, nor turn the direction of writing."""

_LONG_WORD: Final = re.compile(r"(\S{80})\S{176,}")
MAX_SENTENCE: Final = 1000
"""Characters; of a word that makes a sentence long only the beginning is shown."""


@dataclass(frozen=True)
class Column:
    """In an Annotated field of a reply: the heading that it has, and what it means."""

    heading: str
    description: str = ""
    secret: bool = False
    """Shown in a table, for whom it is meant, and masked in JSON, which goes to programs and their logs."""
    optional: bool = False
    """Left out where there is no value for it: of a table in which no row has one, of a vertical list."""


def columns(row: type[msgspec.Struct]) -> dict[str, Column]:
    """The columns of a row type, by field name; the heading is the field's name where none is given."""
    hints = get_type_hints(row, include_extras=True)
    return {name: _column(name, hints[name]) for name in row.__struct_fields__}


def text(reply: Any, kind: Any) -> str:
    """The reply of a command whose reply type is `kind`: whole lines, or nothing."""
    base = plain(kind)
    if get_origin(base) is list and _is_row(get_args(base)[0]):
        return table(reply, get_args(base)[0])
    if isinstance(reply, list | tuple):
        return "".join(f"{cell(item)}\n" for item in reply)
    if isinstance(reply, msgspec.Struct):
        return vertical(reply)
    return "" if reply is None else _block(reply)


def table(rows: Sequence[msgspec.Struct], row: type[msgspec.Struct]) -> str:
    """A heading line, then a line for each row, in aligned columns."""
    shown = {
        name: column
        for name, column in columns(row).items()
        if not column.optional or any(getattr(item, name) is not None for item in rows)
    }
    lines = [[column.heading for column in shown.values()]]
    lines += [[cell(getattr(item, name)) for name in shown] for item in rows]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "".join(_aligned(line, widths) for line in lines)


def vertical(item: msgspec.Struct) -> str:
    """One line for each field: heading and value. A field that is a list of rows follows as a table."""
    shown = columns(type(item))
    hints = get_type_hints(type(item), include_extras=True)
    shown = {
        name: column
        for name, column in shown.items()
        if not ((column.optional or _is_table(hints[name])) and _absent(item, name))
    }
    tables = [name for name in shown if _is_table(hints[name])]
    width = max((len(column.heading) for name, column in shown.items() if name not in tables), default=0)
    lines = [
        f"{column.heading:<{width}}  {cell(getattr(item, name))}".rstrip() + "\n"
        for name, column in shown.items()
        if name not in tables
    ]
    blocks = [
        "\n".join(filter(None, [shown[name].heading, text(getattr(item, name), hints[name])]))
        for name in tables
    ]
    return "\n".join(["".join(lines)] * bool(lines) + blocks)


@runtime_checkable
class Drawn(Protocol):
    """A row of a stream that draws itself."""

    def draw(self) -> str:
        """One or more lines."""


def trace_line(item: Any) -> str:
    """A row of a stream: as it draws itself, or its fields, separated by a comma and a space."""
    if isinstance(item, Drawn):
        return _block(item.draw())
    if not isinstance(item, msgspec.Struct):
        return f"{cell(item)}\n"
    return ", ".join(cell(getattr(item, name)) for name in item.__struct_fields__) + "\n"


def json(reply: Any) -> str:
    """The reply as indented JSON, without its secrets."""
    reply = [_masked(item) for item in reply] if isinstance(reply, list) else _masked(reply)
    return msgspec.json.format(msgspec.json.encode(reply), indent=2).decode() + "\n"


def json_line(item: Any) -> str:
    """A row of a stream as one line of JSON."""
    return msgspec.json.encode(item).decode() + "\n"


def cell(value: object) -> str:
    """A value on one line, without control characters."""
    return _plain_text(value).translate(_CONTROLS)


def sentence(text: str) -> str:
    """What went wrong, on one line that can be read, whatever arguments it repeats."""
    line = _LONG_WORD.sub(r"\1...", cell(text.encode(errors="backslashreplace").decode()))
    return line if len(line) <= MAX_SENTENCE else line[:MAX_SENTENCE] + "..."


def _absent(item: msgspec.Struct, name: str) -> bool:
    return getattr(item, name) is None


def _masked(item: Any) -> Any:
    if not isinstance(item, msgspec.Struct):
        return item
    secret = [name for name, column in columns(type(item)).items() if column.secret]
    return msgspec.structs.replace(item, **dict.fromkeys(secret, MASK))


def _plain_text(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, datetime):
        return value.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    if isinstance(value, Enum):
        return str(value.value)
    if isinstance(value, list | tuple | set | frozenset):
        return ",".join(_plain_text(item) for item in value)
    return str(value)


def _block(reply: object) -> str:
    """Text of several lines keeps them."""
    return "".join(f"{cell(line)}\n" for line in _plain_text(reply).splitlines())


def _aligned(cells: Sequence[str], widths: Sequence[int]) -> str:
    return "  ".join(f"{item:<{width}}" for item, width in zip(cells, widths, strict=True)).rstrip() + "\n"


def _column(name: str, hint: Any) -> Column:
    notes = get_args(hint)[1:] if get_origin(hint) is Annotated else ()
    found: Iterator[Column] = (note for note in notes if isinstance(note, Column))
    return next(found, Column(name.upper().replace("_", " ")))


def _is_row(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, msgspec.Struct)


def _is_table(hint: Any) -> bool:
    base = plain(hint)
    if get_origin(base) in {Union, types.UnionType}:
        return False
    return get_origin(base) is list and _is_row(get_args(base)[0])
