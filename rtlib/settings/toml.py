"""TOML files, as genproxy.toml: tables and lists of tables, every bad value with its line."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Final, TypeVar

from pydantic import BaseModel, ValidationError

from rtlib.settings.explanation import Location, explain, key_text
from rtlib.settings.problem import Problem, SettingsError
from rtlib.settings.source import read_text

Model = TypeVar("Model", bound=BaseModel)

_HEADER: Final = re.compile(r"\s*(\[\[?)([^\]]+)\]\]?\s*(?:#.*)?$")
_KEY: Final = re.compile(r"\s*([A-Za-z0-9_\-.\"' ]+?)\s*=\s*(.*)$")
_STRINGS: Final = re.compile(r'"(?:[^"\\]|\\.)*"|\'[^\']*\'')
_POSITION: Final = re.compile(r"\s*\(at line (\d+), column (\d+)\)$")
_HINTS: Final = {
    "Invalid value": "text stands in quotation marks, yes and no are true and false",
    r"Illegal character '\n'": "a quotation mark is missing",
}
"""What is meant by messages of tomllib that operators meet most."""
_LONG_QUOTES: Final = ('"""', "'''")


def read(path: Path | str, model: type[Model], *, optional: bool = False) -> Model:
    """The file as a `model`. A missing one gives the defaults if `optional`. Raises SettingsError."""
    return parse(read_text(Path(path), optional=optional), path, model)


def parse(text: str, path: Path | str, model: type[Model]) -> Model:
    """Like `read`, of a text. `path` is only named in the problems."""
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise SettingsError(path, [_syntax(str(error))]) from None
    try:
        # As JSON and strict: text is read by a type's own rules, but "5" is no number and 1 no truth.
        return model.model_validate_json(json.dumps(data, default=str), strict=True)
    except ValidationError as error:
        line_of = dict(locations(text))
        raise SettingsError(
            path,
            [
                Problem(_line(location, line_of), key_text(location), reason)
                for location, reason in explain(error, model)
            ],
        ) from None


def locations(text: str) -> Iterator[tuple[Location, int]]:
    """The line of each table, list item and key of a valid TOML text. Inline tables count as one value."""
    table: Location = ()
    items: dict[Location, int] = {}
    for number, line in _statements(text):
        header, key = _HEADER.match(line), _KEY.match(line)
        if header is not None:
            table = _indexed(_parts(header[2]), items, new=header[1] == "[[")
            yield table, number
        elif key is not None:
            yield (*table, *_parts(key[1])), number


def _indexed(parts: Location, items: dict[Location, int], *, new: bool) -> Location:
    """A table's location with the index of each list of tables on the way."""
    location: Location = ()
    for position, part in enumerate(parts, 1):
        location = (*location, part)
        if new and position == len(parts):
            items[location] = items.get(location, -1) + 1
        if location in items:
            location = (*location, items[location])
    return location


def _statements(text: str) -> Iterator[tuple[int, str]]:
    """The lines that begin a statement: not those inside a multi-line string or array."""
    quotes, depth = "", 0
    for number, line in enumerate(text.splitlines(), 1):
        starts = not quotes and depth == 0
        quotes, rest = _outside(line, quotes)
        if starts and _HEADER.match(line):
            yield number, line
            continue
        if starts:
            yield number, line
        depth = max(0, depth + sum(rest.count(c) for c in "[{") - sum(rest.count(c) for c in "]}"))


def _outside(line: str, quotes: str) -> tuple[str, str]:
    """The multi-line quotes open after a line, and the line without its strings and comment."""
    rest = ""
    while line:
        if quotes:
            _, closed, line = line.partition(quotes)
            quotes = "" if closed else quotes
            continue
        found = [(line.find(q), q) for q in _LONG_QUOTES if q in line]
        if not found:
            return "", rest + _STRINGS.sub("", line).partition("#")[0]
        position, quotes = min(found)
        rest += _STRINGS.sub("", line[:position])
        line = line[position + 3 :]
    return quotes, rest


def _parts(key: str) -> Location:
    return tuple(part.strip().strip("\"'") for part in key.split("."))


def _line(location: Location, line_of: dict[Location, int]) -> int | None:
    """The line of the nearest thing around a location that the text has."""
    for length in range(len(location), 0, -1):
        if location[:length] in line_of:
            return line_of[location[:length]]
    return None


def _syntax(message: str) -> Problem:
    match = _POSITION.search(message)
    line = int(match[1]) if match else None
    what = _POSITION.sub("", message)
    return Problem(line, "", "is not valid TOML: " + "; ".join(filter(None, [what, _HINTS.get(what)])))
