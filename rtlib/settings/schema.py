"""The schema of settings: a pydantic model whose fields say what an operator must know about them."""

from __future__ import annotations

import types
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel, ConfigDict, Field
from pydantic.config import JsonDict
from pydantic.fields import FieldInfo


class Section(BaseModel):
    """A group of settings: immutable, and closed, so that a mistyped key is refused and not ignored."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True, validate_default=True)


def setting(
    default: Any,
    description: str,
    *,
    live: bool = False,
    secret: bool = False,
    unit: str = "",
    **constraints: Any,
) -> Any:
    """A field of a Section.

    `default` is `...` for a required one; a list or Section is given as its class or a callable.
    `live` says that a reload applies it without a restart; `secret` that its value is never shown.
    `constraints` are those of pydantic's Field: ge, le, pattern, min_length, alias ...
    """
    extra: JsonDict = {"live": live, "secret": secret, "unit": unit}
    given = {"default_factory": default} if callable(default) else {"default": default}
    return Field(**given, description=description, json_schema_extra=extra, **constraints)


@dataclass(frozen=True)
class Row:
    """One setting, as documents and sample files show it."""

    path: tuple[str, ...]
    """Its tables and its key as written in a file; a list of tables adds `[]` to the table's name."""
    kind: str
    """Its type and constraint in words."""
    default: object
    """REQUIRED where there is none."""
    description: str
    live: bool
    secret: bool
    unit: str


class _Required:
    def __repr__(self) -> str:
        return "(required)"


REQUIRED = _Required()


def rows(model: type[BaseModel], path: tuple[str, ...] = (), *, live: bool = False) -> Iterator[Row]:
    """Every setting of a schema in order, those of nested tables after their parent's own.

    `live`: a reload applies the whole table, and with it whatever is in there.
    """
    for name, field in model.model_fields.items():
        if section_of(field.annotation) is None:
            yield _row((*path, field.alias or name), field, live=live)
    for name, field in model.model_fields.items():
        section = section_of(field.annotation)
        if section is not None:
            suffix = "[]" if is_list(field.annotation) else ""
            inner = (*path, (field.alias or name) + suffix)
            yield from rows(section, inner, live=live or flag(field, "live"))


def section_of(annotation: Any) -> type[BaseModel] | None:
    """The nested model of an annotation: `M`, `M | None`, `list[M]`, `tuple[M, ...]`."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    found = [section_of(argument) for argument in get_args(annotation)]
    return next(filter(None, found), None)


def is_list(annotation: Any) -> bool:
    """Whether the annotation is a list or a tuple of something."""
    return get_origin(annotation) in {list, tuple}


def flag(field: FieldInfo, name: Literal["live", "secret"]) -> bool:
    """What `setting` was told of this field."""
    extra = field.json_schema_extra
    return isinstance(extra, dict) and bool(extra.get(name))


def _row(path: tuple[str, ...], field: FieldInfo, *, live: bool) -> Row:
    extra = field.json_schema_extra
    unit = str(extra.get("unit", "")) if isinstance(extra, dict) else ""
    default = REQUIRED if field.is_required() else field.get_default(call_default_factory=True)
    description = field.description or ""
    kind = _kind(field.annotation, field.metadata)
    live = live or flag(field, "live")
    return Row(path, kind, default, description, live, flag(field, "secret"), unit)


_NAMES = {
    str: "text",
    int: "whole number",
    float: "number",
    bool: "true or false",
    Path: "path",
    type(None): "nothing",
}

_LIMITS = (
    ("ge", "at least {}"),
    ("gt", "more than {}"),
    ("le", "at most {}"),
    ("lt", "less than {}"),
    ("min_length", "length at least {}"),
    ("max_length", "length at most {}"),
    ("pattern", "matching {}"),
)


@dataclass(frozen=True)
class Named:
    """Metadata of an Annotated type: its name for operators."""

    text: str


def _kind(annotation: Any, metadata: list[Any]) -> str:
    named = [item.text for item in metadata if isinstance(item, Named)]
    name = named[0] if named else _name(annotation)
    return ", ".join([name, *_limits(metadata)])


def _limits(metadata: list[Any]) -> Iterator[str]:
    """The constraints of a field, written directly or inside a Field of its Annotated type."""
    for item in metadata:
        for attribute, text in _LIMITS:
            value = getattr(item, attribute, None)
            if value is not None:
                yield text.format(value)
        yield from _limits(getattr(item, "metadata", None) or [])


def _name(annotation: Any) -> str:
    if get_origin(annotation) is Annotated:
        base, *metadata = get_args(annotation)
        return _kind(base, metadata)
    if is_list(annotation):
        return f"list of {_name(get_args(annotation)[0])}"
    if get_origin(annotation) is Literal:
        return " or ".join(map(str, get_args(annotation)))
    if get_origin(annotation) in {Union, types.UnionType}:
        return " or ".join(_name(item) for item in get_args(annotation) if item is not type(None))
    if isinstance(annotation, type) and issubclass(annotation, Enum):
        return " or ".join(str(member.value) for member in annotation)
    return _NAMES.get(annotation) or str(getattr(annotation, "__name__", annotation))
