"""The reference documents made from the schemas: docs/settings.md and docs/commands.md."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Iterator
from itertools import groupby
from typing import Any, get_args, get_origin

import msgspec
from pydantic import BaseModel

from rtlib.command.render import columns
from rtlib.command.signature import Parameter, Spec, plain
from rtlib.settings.directives import Grammar
from rtlib.settings.schema import REQUIRED, Row, rows


def settings(title: str, model: type[BaseModel], intro: str = "") -> str:
    """A Markdown section about a file of `KEY=value` lines or tables."""
    parts = [f"## {title}", intro]
    for table, group in groupby(rows(model), key=lambda row: row.path[:-1]):
        if table:
            parts.append(f"### {_table_name(table)}")
        parts.append(_markdown(("key", "meaning", "value", "default", "reload"), map(_setting, group)))
    return _document(parts)


def directives(title: str, model: type[BaseModel], grammar: Grammar, intro: str = "") -> str:
    """A Markdown section about a file of directives."""
    by_name = {row.path[0]: row for row in rows(model) if len(row.path) == 1}
    lines: list[tuple[str, ...]] = []
    for directive in grammar.directives:
        field = model.model_fields.get(directive.field)
        if field is None:
            lines.append((f"`{directive.usage}`", "accepted; it has no effect", "", "", ""))
            continue
        row = by_name.get(field.alias or directive.field)
        cells = _setting(row) if row is not None else ("", field.description or "", "", "", "")
        repeat = "; may be repeated" if directive.repeatable else ""
        lines.append((f"`{directive.usage}`", cells[1].rstrip(".") + repeat, *cells[2:]))
    table = _markdown(("directive", "meaning", "value", "default", "reload"), lines)
    return _document([f"## {title}", intro, table])


def commands(program: str, specs: Iterable[Spec], intro: str = "") -> str:
    """A Markdown section about the commands of a program."""
    parts = [f"## {program}", intro]
    for spec in sorted(specs, key=lambda spec: spec.name):
        parts += [f"### {program} {spec.name}", *_command(program, spec)]
    return _document(parts)


def _setting(row: Row) -> tuple[str, ...]:
    default = "required" if row.default is REQUIRED else _default(row)
    reload = "at once" if row.live else "restart"
    unit = f", in {row.unit}" if row.unit else ""
    return f"`{row.path[-1]}`", row.description, row.kind + unit, default, reload


def _default(row: Row) -> str:
    value = getattr(row.default, "value", row.default)
    if row.secret or value in (None, "", [], ()):
        return ""
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    if isinstance(value, list | tuple):
        return "`" + ", ".join(map(str, value)) + "`"
    return f"`{value}`"


def _table_name(path: tuple[str, ...]) -> str:
    name = ".".join(part.removesuffix("[]") for part in path)
    return f"[[{name}]]" if path[-1].endswith("[]") else f"[{name}]"


def _command(program: str, spec: Spec) -> Iterator[str]:
    yield f"    {program} {spec.usage}"
    yield spec.help
    if spec.description:
        yield spec.description
    if spec.parameters:
        yield _markdown(("parameter", "meaning", "default"), map(_parameter, spec.parameters))
    yield f"Reply: {_reply(spec)}"
    row = _row_type(spec.reply)
    if row is not None:
        shown = columns(row).values()
        yield _markdown(("column", "meaning"), [(column.heading, column.description) for column in shown])
    place = "It runs without the daemon." if spec.local else f"It needs the role {spec.role.name}."
    yield f"{place} Example: `{spec.example}`"


def _parameter(parameter: Parameter) -> tuple[str, ...]:
    names = ", ".join(f"`{name}`" for name in parameter.flags or (parameter.label.upper(),))
    value = getattr(parameter.default, "value", parameter.default)
    default = "required" if value is inspect.Parameter.empty else "" if value is None else f"`{value}`"
    return names, parameter.help, default


def _reply(spec: Spec) -> str:
    if spec.stream:
        return "a line for each event, until ctrl-c."
    if _row_type(spec.reply) is None:
        return "text." if plain(spec.reply) is not type(None) else "none."
    return "a table." if get_origin(plain(spec.reply)) is list else "one value per line."


def _row_type(reply: Any) -> type[msgspec.Struct] | None:
    base = plain(reply)
    if get_origin(base) is list:
        base = plain(get_args(base)[0])
    return base if isinstance(base, type) and issubclass(base, msgspec.Struct) else None


def _markdown(heading: tuple[str, ...], lines: Iterable[tuple[str, ...]]) -> str:
    table = [heading, tuple("---" for _ in heading), *lines]
    return "\n".join(f"| {' | '.join(map(_cell, line))} |" for line in table)


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


def _document(parts: Iterable[str]) -> str:
    return "\n\n".join(filter(None, parts)) + "\n"
