"""Conference rooms: `accounts/<ID>/rooms` with a number and its owner's URI on each line (manual chapter 5).

All are read at start and kept in memory. A line that begins with `#` is a comment; the file is
written anew, without comments, whenever a command changes it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

from crs.accounts import AccountError
from crs.identity import is_uri
from crs.signaling.group import Room
from rtlib import secretfile

FILE: Final = "rooms"
MAX_ROOMS: Final = 100_000
"""For one account."""

_NUMBER: Final = re.compile(r"[0-9]{6}")


def is_number(text: str) -> bool:
    """Whether this can be the number of a room: six digits."""
    return _NUMBER.fullmatch(text) is not None


class Rooms:
    """The rooms of each account, number to owner. `directory` holds the accounts' folders."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._accounts: dict[str, Mapping[str, str]] = {}
        self._numbers: dict[str, dict[str, Room]] = {}

    def of(self, account: str) -> Mapping[str, str]:
        """The rooms of an account."""
        return self._accounts.get(account, {})

    def find(self, number: str) -> list[Room]:
        """The rooms of a number, in all accounts."""
        return list(self._numbers.get(number, {}).values())

    def load(self, accounts: Iterable[str]) -> None:
        """Read the rooms of these accounts. Raises AccountError."""
        self.replace(self.read(accounts))

    def read(self, accounts: Iterable[str]) -> dict[str, Mapping[str, str]]:
        """What is on disk for these accounts; blocks. Raises AccountError."""
        return {account: _read(self._path(account)) for account in accounts}

    def replace(self, accounts: Mapping[str, Mapping[str, str]]) -> None:
        """From now on these are all rooms."""
        self._accounts, self._numbers = {}, {}
        for account, rooms in accounts.items():
            self.set(account, rooms)

    def write(self, account: str, rooms: Mapping[str, str]) -> None:
        """Put an account's rooms on disk; blocks, so call it in a thread. Raises AccountError."""
        path = self._path(account)
        try:
            secretfile.write(path, (f"{number} {uri}\n".encode() for number, uri in sorted(rooms.items())))
        except OSError as error:
            raise AccountError(f"{path}: {error.strerror or error}") from error

    def set(self, account: str, rooms: Mapping[str, str]) -> None:
        """From now on these are the account's rooms."""
        self.forget(account)
        self._accounts[account] = rooms
        for number, owner in rooms.items():
            self._numbers.setdefault(number, {})[account] = Room(number, account, owner)

    def forget(self, account: str) -> None:
        """The account was deleted."""
        for number in self._accounts.pop(account, {}):
            rooms = self._numbers[number]
            del rooms[account]
            if not rooms:
                del self._numbers[number]

    def _path(self, account: str) -> Path:
        return self._directory / account / FILE


def _read(path: Path) -> dict[str, str]:
    try:
        with path.open(encoding="utf-8") as file:
            lines = [line.strip() for line in file]
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeDecodeError) as error:
        raise AccountError(f"{path}: {error}") from error
    rooms: dict[str, str] = {}
    for place, line in enumerate(lines, 1):
        if not line or line.startswith("#"):
            continue
        number, _, uri = line.partition(" ")
        if not is_number(number) or not is_uri(uri):
            raise AccountError(f"{path}:{place}: must be a number of six digits and its owner's URI")
        if number in rooms:
            raise AccountError(f"{path}:{place}: the room {number} is there already")
        rooms[number] = uri
    return rooms
