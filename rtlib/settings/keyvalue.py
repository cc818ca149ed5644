"""Files of `KEY=value` lines, as crs-relay.conf, with `#` comments. Keys are the fields' aliases or names."""

from __future__ import annotations

from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from rtlib.settings.explanation import explain, key_text
from rtlib.settings.problem import Problem, SettingsError
from rtlib.settings.source import read_text

Model = TypeVar("Model", bound=BaseModel)


def read(path: Path | str, model: type[Model], *, optional: bool = False) -> Model:
    """The file as a `model`. A missing one gives the defaults if `optional`. Raises SettingsError."""
    return parse(read_text(Path(path), optional=optional), path, model)


def parse(text: str, path: Path | str, model: type[Model]) -> Model:
    """Like `read`, of a text. `path` is only named in the problems."""
    values: dict[str, Any] = {}
    line_of: dict[str, int] = {}
    problems: list[Problem] = []
    for number, line in enumerate(text.splitlines(), 1):
        try:
            item = _pair(line)
            if item is None:
                continue
            key, value = item
            if key in values:
                raise ValueError(f"{key} is given twice, first in line {line_of[key]}")
        except ValueError as error:
            problems.append(Problem(number, "", str(error)))
            continue
        values[key], line_of[key] = value, number
    try:
        result = model.model_validate(values)
    except ValidationError as error:
        for location, reason in explain(error, model):
            key = key_text(location)
            problems.append(Problem(line_of.get(key), key, reason))
    if problems:
        raise SettingsError(path, problems)
    return result


def _pair(line: str) -> tuple[str, str] | None:
    """Key and value; None for an empty line. Raises ValueError."""
    content = line.strip()
    if not content or content.startswith("#"):
        return None
    key, separator, value = content.partition("=")
    if not separator or not key.strip():
        raise ValueError(f"{content!r} is not KEY=value")
    return key.strip(), value.partition(" #")[0].strip().strip('"')
