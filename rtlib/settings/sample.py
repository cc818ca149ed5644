"""Sample configuration files made from a schema: every setting commented out, with its default."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Iterator
from itertools import groupby

from pydantic import BaseModel

from rtlib.settings.directives import Grammar
from rtlib.settings.schema import REQUIRED, Row, rows

_WIDTH = 98


def toml(model: type[BaseModel], heading: str = "") -> str:
    """A sample of a TOML file. A key without a default is shown without a value."""
    lines = _comment(heading)
    for table, group in groupby(rows(model), key=lambda row: row.path[:-1]):
        lines += ["", *_table(table)]
        for row in group:
            # Keys of a list of tables stay comments with their header, or an empty item would exist.
            lines += ["", *_comment(_about(row)), f"# {row.path[-1]} = {_toml_value(row.default)}".rstrip()]
    return "\n".join(lines).strip() + "\n"


def keyvalue(model: type[BaseModel], heading: str = "") -> str:
    """A sample of a KEY=value file."""
    lines = _comment(heading)
    for row in rows(model):
        lines += ["", *_comment(_about(row)), f"# {row.path[-1]}={_word(row.default)}"]
    return "\n".join(lines).strip() + "\n"


def directives(model: type[BaseModel], grammar: Grammar, heading: str = "") -> str:
    """A sample of a directive file, in the order of the grammar; directives without effect are left out."""
    by_name = {row.path[0]: row for row in rows(model) if len(row.path) == 1}
    lines = _comment(heading)
    for directive in grammar.directives:
        field = model.model_fields.get(directive.field)
        if field is None:
            continue
        row = by_name.get(field.alias or directive.field)
        about = _about(row) if row is not None else field.description or ""
        shown = _word(row.default) if row is not None and len(directive.arguments) == 1 else ""
        example = f"{directive.name} {shown}" if shown else directive.usage
        lines += ["", *_comment(about), f"# {example}"]
    return "\n".join(lines).strip() + "\n"


def _about(row: Row) -> str:
    unit = f" in {row.unit}" if row.unit else ""
    required = ", required" if row.default is REQUIRED else ""
    return f"{row.description} ({row.kind}{unit}{required})"


def _comment(text: str) -> list[str]:
    return [f"# {line}" for part in text.splitlines() for line in textwrap.wrap(part, _WIDTH)]


def _table(path: tuple[str, ...]) -> Iterator[str]:
    """The header of a table; a list's header is a comment, since each one adds an item."""
    if not path:
        return
    name = ".".join(part.removesuffix("[]") for part in path)
    yield f"# [[{name}]]" if path[-1].endswith("[]") else f"[{name}]"


def _toml_value(value: object) -> str:
    if value is REQUIRED or value is None:
        return ""
    if isinstance(value, bool | int | float):
        return json.dumps(value)
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(_toml_value, value)) + "]"
    return json.dumps(str(getattr(value, "value", value)), ensure_ascii=False)


def _word(value: object) -> str:
    if value is REQUIRED or value is None or value in ((), []):
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list | tuple):
        return " ".join(map(_word, value))
    text = str(getattr(value, "value", value))
    return f'"{text}"' if " " in text else text
