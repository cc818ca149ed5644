"""Applied updates on disk: `accounts/<ID>/<month>.applied`, unprotected, and the roster `listed.txt`.

What only reads memory is for the reactor; what touches the disk blocks and belongs into a thread. The
manual has operators save update files in these folders (4.16): whatever has another name is ignored.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

from twisted.logger import Logger

from crs.update import content, roster
from crs.update.applied import NOTHING, Applied, Updates
from crs.update.content import Buffer, Outline
from crs.update.error import ArchiveError, OlderUpdate, UpdateError, WrongAccount, WrongTime
from crs.update.month import Month
from crs.update.roster import Roster
from rtlib import secretfile

log = Logger()

SUFFIX: Final = ".applied"
ROSTER: Final = "listed.txt"
CLOCK_TOLERANCE: Final = timedelta(days=1)
"""How far the CMS's clock may be ahead of ours."""
_PART: Final = 2**20


class Archive:
    """The applied updates of all accounts. `directory` holds a folder for each account."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._accounts: dict[str, Updates] = {}

    def __getitem__(self, account: str) -> Updates:
        """What is applied in an account; nothing for one that has no updates."""
        return self._accounts.get(account, NOTHING)

    def load(self, accounts: Iterable[str]) -> None:
        """Read all that is applied in these accounts; blocks.

        Raises ArchiveError: who is let in depends on each file.
        """
        self.replace(self.read_all(accounts))

    def read_all(self, accounts: Iterable[str]) -> dict[str, Updates]:
        """What is on disk for these accounts; blocks. Raises ArchiveError."""
        return {account: self.read(account) for account in accounts}

    def replace(self, accounts: dict[str, Updates]) -> None:
        """From now on these count, and no others."""
        self._accounts = accounts

    def read(self, account: str) -> Updates:
        """What is on disk for one account; blocks. `put` makes it count. Raises ArchiveError."""
        folder = self._directory / account
        return Updates(
            {month: _open(_path(folder, month), account, month) for month in _months(folder)},
            _read_roster(folder / ROSTER),
        )

    def write(self, data: Buffer, account: str, now: datetime) -> Updates:
        """Store an unprotected update; blocks, and writers must take turns. `put` makes the result count.

        Raises UpdateError if the update is not acceptable, ArchiveError if it cannot be written.
        """
        outline = content.parse(data)
        before = self[account]
        if outline.head.account != account:
            raise WrongAccount(f"the update is for the account {outline.head.account}, not for {account}")
        _check_time(outline, now)
        same = before.get(outline.month)
        if same is not None and _same(data, same):
            return before
        _check_newer(outline, same)
        _check_newer(outline, before.in_force(Month.of(now)))
        return self._store(data, outline, before, Month.of(now))

    def put(self, account: str, updates: Updates) -> None:
        """From now on these count."""
        self._accounts[account] = updates

    def remove(self, account: str) -> None:
        """Forget an account; its files go with its folder."""
        self._accounts.pop(account, None)

    def _store(self, data: Buffer, outline: Outline, before: Updates, today: Month) -> Updates:
        """The roster first: after a crash it names, at worst, clients that are still listed."""
        folder = self._directory / outline.head.account
        force = max((each for each in {*before.applied, outline.month} if each <= today), default=None)
        gone = {
            month: old
            for month, old in before.applied.items()
            if month == outline.month or (force is not None and month < force)
        }
        listed = _extended(before.roster, gone.values())
        path = _path(folder, outline.month)
        try:
            if listed != before.roster:
                secretfile.write(folder / ROSTER, listed.lines())
            secretfile.write(path, (data,))
            for month in gone.keys() - {outline.month}:
                _path(folder, month).unlink(missing_ok=True)
            descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError as error:
            raise ArchiveError(f"{path}: {error.strerror or error}") from error
        kept = {month: old for month, old in before.applied.items() if month not in gone}
        return Updates(kept | {outline.month: Applied(outline, descriptor)}, listed)


def _check_time(outline: Outline, now: datetime) -> None:
    this = Month.of(now)
    if outline.month > this.next:
        raise WrongTime(
            f"the update is for {outline.month}; only those for {this} and {this.next} can be applied now"
        )
    if outline.created > now + CLOCK_TOLERANCE:
        raise WrongTime(
            f"the update was made at {_text(outline.created)}, which is still to come: is a clock wrong?"
        )


def _check_newer(outline: Outline, applied: Applied | None) -> None:
    """Compare with what is applied; equal is not newer. Raises OlderUpdate."""
    if applied is None:
        return
    old = applied.outline
    if outline.month < old.month:
        raise OlderUpdate(f"the update is for {outline.month}; the one for {old.month} is in force already")
    if outline.month == old.month and outline.created <= old.created:
        raise OlderUpdate(
            f"the update for {outline.month} was made at {_text(outline.created)}; "
            f"the one of {_text(old.created)} is applied already"
        )


def _same(data: Buffer, applied: Applied) -> bool:
    """Whether this is what is applied; compared piece by piece, in little memory."""
    if len(data) != applied.outline.size:
        return False
    view = memoryview(data)
    starts = range(0, len(data), _PART)
    return all(
        applied.read(start, len(view[start : start + _PART])) == view[start : start + _PART]
        for start in starts
    )


def _extended(listed: Roster, gone: Iterable[Applied]) -> Roster:
    for update in gone:
        listed = listed.extended(update.outline, update.outline.month)
    return listed


def _path(folder: Path, month: Month) -> Path:
    return folder / f"{month}{SUFFIX}"


def _months(folder: Path) -> Iterator[Month]:
    """The months for which there is a file with just the right name."""
    for path in folder.glob(f"*{SUFFIX}"):
        try:
            month = Month.parse(path.name.removesuffix(SUFFIX))
        except ValueError:
            continue
        if path.is_file():
            yield month


def _open(path: Path, account: str, month: Month) -> Applied:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            _tighten(descriptor, path)
            outline = _read_outline(descriptor)
            if (outline.head.account, outline.month) != (account, month):
                raise ArchiveError(f"{path}: it is for account {outline.head.account}, {outline.month}")
        except BaseException:
            os.close(descriptor)
            raise
    except (OSError, UpdateError) as error:
        raise ArchiveError(f"{path}: {error}") from error
    return Applied(outline, descriptor)


def _read_outline(descriptor: int) -> Outline:
    """The head only: the blobs stay on disk."""
    size = os.fstat(descriptor).st_size
    length = content.head_length(os.pread(descriptor, content.PREFIX.size, 0))
    return content.outline(os.pread(descriptor, length, content.PREFIX.size), size)


def _read_roster(path: Path) -> Roster:
    try:
        with path.open("rb") as file:
            _tighten(file.fileno(), path)
            return roster.parse(file)
    except FileNotFoundError:
        return Roster()
    except (OSError, ValueError, UpdateError) as error:
        raise ArchiveError(f"{path}: {error}") from error


def _tighten(descriptor: int, path: Path) -> None:
    """As for account.conf: the mode that a restored backup leaves (manual 4.15.2) is accepted once."""
    mode = secretfile.tighten(descriptor)
    if mode is not None:
        log.warn("{path} was readable by others (mode {mode:04o}); it is 0600 now", path=str(path), mode=mode)


def _text(when: datetime) -> str:
    return f"{when:%Y-%m-%dT%H:%M:%SZ}"
