"""The updates that are applied in one account, and what they say about its clients."""

from __future__ import annotations

import enum
import os
import weakref
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from crs.identity import is_test_client
from crs.update.content import Outline
from crs.update.error import ArchiveError
from crs.update.month import Month
from crs.update.roster import Roster


class Standing(enum.Enum):
    """What the updates say about a client that has proved its key."""

    open = "no update is in force"
    listed = "listed"
    observed = "not listed, and the update lets such clients in"
    exempt = "a test client of health-check"
    removed = "was listed and is not any more"
    unlisted = "not listed, and the update turns such clients away"

    @property
    def admitted(self) -> bool:
        """Whether the client may attach."""
        return self not in {Standing.removed, Standing.unlisted}


class Applied:
    """One applied update: its outline in memory, its blobs on disk.

    Keeps its file open, so that it reads its own blobs even after a newer file has taken the name; the
    file is closed with the last reference.
    """

    def __init__(self, outline: Outline, descriptor: int) -> None:
        """Owns the descriptor from now on."""
        self.outline: Final = outline
        self._descriptor = descriptor
        weakref.finalize(self, os.close, descriptor)

    def __repr__(self) -> str:
        return f"Applied({self.outline.head.account} {self.outline.month}, {self.outline.created:%FT%TZ})"

    def __contains__(self, uri: str) -> bool:
        return uri in self.outline

    def blob(self, uri: str) -> bytes | None:
        """A client's blob; empty if there is nothing to offer it, None if it is not listed.

        Reads at most 32 KiB from disk, so it may block. Raises ArchiveError.
        """
        span = self.outline.span(uri)
        if span is None:
            return None
        return self.read(*span)

    def read(self, start: int, size: int) -> bytes:
        """A part of the content; blocks. Raises ArchiveError."""
        try:
            data = os.pread(self._descriptor, size, start)
        except OSError as error:
            raise ArchiveError(f"{self!r}: {error.strerror}") from error
        if len(data) != size:
            raise ArchiveError(f"{self!r}: its file has become shorter")
        return data


@dataclass(frozen=True)
class Updates:
    """What is applied in one account. Never changed: a new update makes another one."""

    applied: Mapping[Month, Applied] = field(default_factory=dict)
    roster: Roster = field(default_factory=Roster)
    """Who was listed in updates that have been replaced or have expired."""

    def get(self, month: Month) -> Applied | None:
        """The update for exactly this month."""
        return self.applied.get(month)

    def in_force(self, month: Month) -> Applied | None:
        """The update that counts in this month: its own, or the latest before it, which has expired."""
        latest = max((each for each in self.applied if each <= month), default=None)
        return None if latest is None else self.applied[latest]

    def standing(self, uri: str, month: Month) -> Standing:
        """How a client stands in this month."""
        if is_test_client(uri):
            return Standing.exempt
        update = self.in_force(month)
        if update is None:
            return Standing.open
        if uri in update:
            return Standing.listed
        if self._was_listed(uri, month):
            return Standing.removed
        return Standing.unlisted if update.outline.head.listed_only else Standing.observed

    def _was_listed(self, uri: str, month: Month) -> bool:
        earlier = (update for each, update in self.applied.items() if each <= month)
        return self.roster.listed_by(uri, month) or any(uri in update for update in earlier)


NOTHING: Final = Updates()
"""Of an account that has no updates."""
