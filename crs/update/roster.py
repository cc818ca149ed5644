"""Who was listed in earlier updates of an account: whoever is not any more was removed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

from crs.identity import is_uri
from crs.update.error import TooLarge
from crs.update.month import Month

MAX_CLIENTS: Final = 1_000_000
"""About 0.15 KiB of memory for each."""


class Roster:
    """Clients of updates that are no longer stored. Never changed; `extended` makes another."""

    def __init__(self, since: dict[str, Month] | None = None) -> None:
        self._since = since or {}

    def __len__(self) -> int:
        return len(self._since)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Roster) and self._since == other._since

    __hash__ = None  # type: ignore[assignment]  # rosters are compared, never keys

    def listed_by(self, uri: str, month: Month) -> bool:
        """Whether this client had been listed by the end of `month`."""
        since = self._since.get(uri)
        return since is not None and since <= month

    def extended(self, uris: Iterable[str], month: Month) -> Roster:
        """With these clients of an update for `month` as well. Raises TooLarge."""
        since = dict(self._since)
        for uri in uris:
            since[uri] = min(since.get(uri, month), month)
        if len(since) > MAX_CLIENTS:
            raise TooLarge(
                f"more than {MAX_CLIENTS:,} different clients have been listed over time; "
                "remove listed.txt from the account's folder to forget who was removed"
            )
        return Roster(since)

    def lines(self) -> Iterator[bytes]:
        """The roster as the lines of a file."""
        return (f"{month} {uri}\n".encode() for uri, month in self._since.items())


def parse(lines: Iterable[bytes]) -> Roster:
    """The roster of a file's lines. Raises ValueError, naming the line, and TooLarge."""
    since: dict[str, Month] = {}
    months: dict[str, Month] = {}
    for number, line in enumerate(lines, 1):
        if number > MAX_CLIENTS:
            raise TooLarge(f"more than {MAX_CLIENTS:,} lines")
        try:
            text, _, uri = line.decode().removesuffix("\n").partition(" ")
            # One object for all clients of a month.
            month = months.setdefault(text, Month.parse(text))
        except ValueError as error:
            raise ValueError(f"line {number}: {error}") from error
        if not is_uri(uri):
            raise ValueError(f"line {number}: no valid URI")
        since[uri] = month
    return Roster(since)
