"""Files of `directive argument...` lines, as crs.conf: `#` comments, optional `[HEADING]` lines.

A word starting with `#` begins a comment; a word in double quotes may hold spaces, `\"` and `\\\\`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, TypeVar

from pydantic import BaseModel, ValidationError

from rtlib.settings.explanation import Location, explain
from rtlib.settings.problem import Problem, SettingsError, suggestion
from rtlib.settings.source import read_text

Model = TypeVar("Model", bound=BaseModel)

_WORD: Final = re.compile(r'\s*(?:"((?:[^"\\]|\\.)*)"(?=\s|$)|(#.*)|([^\s"]\S*))')


@dataclass(frozen=True)
class Directive:
    """One directive's shape. Its types are those of the model's field.

    One argument fills the field with that word, several with a table of them by name, none with
    true; a repeatable one fills it with a list, in the order of the file.
    """

    name: str
    field: str = ""
    """The model's field. Empty: the line is checked for its shape and has no effect."""
    arguments: tuple[str, ...] = ("value",)
    optional: int = 0
    """How many of the last arguments may be absent."""
    rest: bool = False
    """The last argument takes all words that are left, as a list."""
    repeatable: bool = False

    @property
    def usage(self) -> str:
        """How the line is written."""
        required = len(self.arguments) - self.optional
        words = [f"<{name}>" if i < required else f"[{name}]" for i, name in enumerate(self.arguments)]
        return " ".join([self.name, *words]) + ("..." if self.rest else "")

    def value(self, words: Sequence[str]) -> Any:
        """What the arguments give the field. Raises ValueError, which says how the line is written."""
        count, least = len(self.arguments), len(self.arguments) - self.optional
        if len(words) < least or (len(words) > count and not self.rest):
            raise ValueError(f"is written: {self.usage}")
        if not self.arguments:
            return True
        values: list[Any] = list(words)
        if self.rest:
            values[count - 1 :] = [list(words[count - 1 :])]
        named = dict(zip(self.arguments, values, strict=False))
        return named if count > 1 else named.get(self.arguments[0])


@dataclass(frozen=True)
class Grammar:
    """The directives of a kind of file.

    `headings` maps each allowed heading to the directive that it stands for on the lines below
    it, so that a directive may also be written as a section; empty for a heading without meaning.
    """

    directives: tuple[Directive, ...]
    headings: Mapping[str, str] = field(default_factory=lambda: {"GLOBAL": "", "POOL": ""})

    def names(self) -> dict[str, Directive]:
        """The directives by name."""
        return {directive.name: directive for directive in self.directives}


def read(path: Path | str, model: type[Model], grammar: Grammar, *, optional: bool = False) -> Model:
    """The file as a `model`. A missing one gives the defaults if `optional`. Raises SettingsError."""
    return parse(read_text(Path(path), optional=optional), path, model, grammar)


def parse(text: str, path: Path | str, model: type[Model], grammar: Grammar) -> Model:
    """Like `read`, of a text. `path` is only named in the problems."""
    lines = _Lines(grammar)
    for number, line in enumerate(text.splitlines(), 1):
        lines.take(number, line)
    problems = list(lines.problems)
    try:
        result = model.model_validate(lines.values)
    except ValidationError as error:
        problems += [lines.problem(*item) for item in explain(error, model)]
    if problems:
        raise SettingsError(path, problems)
    return result


class _Lines:
    """The lines of one file, collected as values by field, each with its line number."""

    def __init__(self, grammar: Grammar) -> None:
        self.values: dict[str, Any] = {}
        self.problems: list[Problem] = []
        self._grammar = grammar
        self._names = grammar.names()
        self._line_of: dict[Location, int] = {}
        self._prefix: list[str] = []

    def take(self, number: int, line: str) -> None:
        """Add one line; what is wrong with it goes to `problems`."""
        where = ""
        try:
            words = list(_words(line))
            if not words:
                return
            where = words[0]
            if where.startswith("["):
                self._heading(line)
                return
            self._directive(number, [*self._prefix, *words])
        except ValueError as error:
            self.problems.append(Problem(number, where, str(error)))

    def problem(self, location: Location, reason: str) -> Problem:
        """A validation error of the model, as a problem of a line."""
        if not location:
            return Problem(None, "", reason)
        line = self._line_of.get(location[:2], self._line_of.get(location[:1]))
        names = [directive.name for directive in self._grammar.directives if directive.field == location[0]]
        argument = [part for part in location[1:] if isinstance(part, str)]
        return Problem(line, " ".join([names[0] if names else str(location[0]), *argument]), reason)

    def _heading(self, line: str) -> None:
        name = line.partition("#")[0].strip().strip("[]")
        headings = {heading.upper(): meaning for heading, meaning in self._grammar.headings.items()}
        if name.upper() not in headings:
            raise ValueError(f"unknown heading{suggestion(name, list(self._grammar.headings))}")
        self._prefix = list(filter(None, [headings[name.upper()]]))

    def _directive(self, number: int, words: list[str]) -> None:
        directive = self._names.get(words[0])
        if directive is None:
            raise ValueError(f"unknown directive{suggestion(words[0], list(self._names))}")
        value = directive.value(words[1:])
        if not directive.field:
            return
        if directive.repeatable:
            values = self.values.setdefault(directive.field, [])
            self._line_of[directive.field, len(values)] = number
            values.append(value)
            return
        if directive.field in self.values:
            raise ValueError(f"is given twice, first in line {self._line_of[(directive.field,)]}")
        self._line_of[(directive.field,)] = number
        if value is not None:
            self.values[directive.field] = value


def _words(line: str) -> Iterator[str]:
    """The words of a line. Raises ValueError for a quote that is not closed."""
    position, line = 0, line.rstrip()
    while position < len(line):
        match = _WORD.match(line, position)
        if match is None:
            raise ValueError("a quote is not closed, or something follows it without a space")
        quoted, comment, plain = match.groups()
        if comment is not None:
            return
        yield plain if quoted is None else re.sub(r"\\(.)", r"\1", quoted)
        position = match.end()
