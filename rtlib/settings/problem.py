"""What is wrong with a configuration file: every problem at once, each with line, key and reason."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path


@dataclass(frozen=True)
class Problem:
    """One thing to correct."""

    line: int | None
    """Counted from 1; None where no line can be named, as for a key that is missing."""
    where: str
    """The key or directive, empty where there is none."""
    reason: str

    def text(self, path: Path | str) -> str:
        """`FILE:LINE: key: reason`, without the parts that there are not."""
        place = f"{path}:{self.line}" if self.line is not None else str(path)
        return ": ".join(filter(None, [place, self.where, self.reason]))


class SettingsError(Exception):
    """A configuration file that cannot be used. Its text has one line for each problem."""

    def __init__(self, path: Path | str, problems: Sequence[Problem]) -> None:
        super().__init__(path, problems)
        self.path = Path(path)
        self.problems = sorted(problems, key=lambda problem: problem.line or 0)

    def __str__(self) -> str:
        return "\n".join(problem.text(self.path) for problem in self.problems)


def suggestion(word: str, allowed: Sequence[str]) -> str:
    """` (did you mean ...?)` for a mistyped word, or the words that are allowed."""
    folded = {name.lower(): name for name in allowed}
    near = [folded[name] for name in get_close_matches(word.lower(), folded, n=3, cutoff=0.7)]
    if near:
        return f" (did you mean {' or '.join(near)}?)"
    return f" (allowed: {', '.join(sorted(allowed))})" if allowed else ""
