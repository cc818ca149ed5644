"""Blacklisted clients: `accounts/<ID>/blacklist` with one URI on each line (manual 4.17).

All are read at start and kept in memory. A line that begins with `#` is a comment; the file is
written anew, without comments, whenever a command changes it.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Final

from crs.accounts import AccountError
from crs.identity import Identity, is_uri
from rtlib import secretfile

FILE: Final = "blacklist"
MAX_CLIENTS: Final = 100_000
"""For one account: whoever needs more has lost the account's secret, and a new one is the cure."""

REASON: Final = "blacklisted"
"""What a refused client and the trace are told."""


class Blacklists:
    """The blacklist of each account. `directory` holds the accounts' folders."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._lists: dict[str, frozenset[str]] = {}

    def __contains__(self, client: Identity) -> bool:
        return client.uri in self.of(client.account)

    def of(self, account: str) -> frozenset[str]:
        """The blacklisted URIs of an account."""
        return self._lists.get(account, frozenset())

    def load(self, accounts: Iterable[str]) -> None:
        """Read the lists of these accounts. Raises AccountError: a list that is missed would let them in."""
        self.replace(self.read(accounts))

    def read(self, accounts: Iterable[str]) -> dict[str, frozenset[str]]:
        """What is on disk for these accounts; blocks. Raises AccountError."""
        return {account: _read(self._path(account)) for account in accounts}

    def replace(self, lists: dict[str, frozenset[str]]) -> None:
        """From now on these are all lists."""
        self._lists = lists

    def write(self, account: str, uris: frozenset[str]) -> None:
        """Put an account's list on disk; blocks, so call it in a thread. Raises AccountError."""
        path = self._path(account)
        try:
            secretfile.write(path, (f"{uri}\n".encode() for uri in sorted(uris)))
        except OSError as error:
            raise AccountError(f"{path}: {error.strerror or error}") from error

    def set(self, account: str, uris: frozenset[str]) -> None:
        """From now on these are the account's blacklisted URIs."""
        self._lists[account] = uris

    def forget(self, account: str) -> None:
        """The account was deleted."""
        self._lists.pop(account, None)

    def _path(self, account: str) -> Path:
        return self._directory / account / FILE


def _read(path: Path) -> frozenset[str]:
    try:
        with path.open(encoding="utf-8") as file:
            lines = [line.strip() for line in file]
    except FileNotFoundError:
        return frozenset()
    except (OSError, UnicodeDecodeError) as error:
        raise AccountError(f"{path}: {error}") from error
    for number, line in enumerate(lines, 1):
        if line and not line.startswith("#") and not is_uri(line):
            raise AccountError(f"{path}:{number}: this is no URI: 1 to 255 printable characters, no spaces")
    return frozenset(line for line in lines if line and not line.startswith("#"))
