"""What a reload would change, and whether it can be applied without a restart."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel

from rtlib.settings.schema import flag, is_list, section_of


def changes(old: BaseModel, new: BaseModel) -> tuple[list[str], list[str]]:
    """Keys whose values differ: those that a reload applies, and those that need a restart.

    Nested tables are compared key by key, lists of tables as a whole. Both are of the same model.
    """
    live: list[str] = []
    restart: list[str] = []
    for name, field in type(old).model_fields.items():
        before, after = getattr(old, name), getattr(new, name)
        key = field.alias or name
        if before == after:
            continue
        if _is_table(field.annotation, before, after):
            inner = changes(before, after)
            live += [f"{key}.{item}" for item in inner[0]]
            restart += [f"{key}.{item}" for item in inner[1]]
        else:
            (live if flag(field, "live") else restart).append(key)
    return live, restart


def _is_table(annotation: Any, before: object, after: object) -> bool:
    both = isinstance(before, BaseModel) and isinstance(after, BaseModel)
    return both and section_of(annotation) is not None and not is_list(annotation)
