"""Of `health-check account`: whether the account's monthly update is up to date."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Final

from crs.health.report import Test, Verdict
from crs.update.archive import Archive
from crs.update.error import ArchiveError
from crs.update.month import Month

NAME: Final = "update files"


def check(accounts: Path, account: str, now: datetime) -> Test:
    """Look at what is applied; `accounts` is the folder of all accounts. Blocks."""
    try:
        updates = Archive(accounts).read(account)
    except ArchiveError as error:
        return Test(NAME, Verdict.error, str(error))
    month = Month.of(now)
    if updates.get(month) is not None:
        coming = "is applied as well" if updates.get(month.next) is not None else "is not there yet"
        return Test(NAME, Verdict.ok, f"the update for {month} is applied, that for {month.next} {coming}")
    if updates.applied:
        return Test(NAME, Verdict.warning, f"there is no update for {month}: older ones have expired")
    return Test(NAME, Verdict.ok, "updates are not in use: every client with a key is admitted")
