"""Accounts on disk: `accounts/<ID>/account.conf` with lines such as `secret <base64>`; DIRECTIVES has all.

All are read at start and kept in memory, so that a TLS handshake never waits for the disk. Files
are written whole, synchronised and renamed into place: after a crash there is the old or the new one.
"""

from __future__ import annotations

import base64
import binascii
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from twisted.logger import Logger

from crs import identity, linefile
from crs.identity import MAX_SECRET, Identity, client_key, is_account, key_hint
from crs.linefile import LineFileError, moment
from crs.update.applied import Standing
from crs.update.archive import Archive
from crs.update.month import Month
from rtlib import secretfile

log = Logger()

FILE: Final = "account.conf"
DIRECTIVES: Final = ("created", "former-secret", "secret", "statistics", "update-notification")
SWITCH: Final = {"enabled": True, "disabled": False}
WEAK: Final = 16
"""Bytes; a shorter secret is accepted, because others may have agreed on it, but warned about."""


class AccountError(Exception):
    """An account file cannot be used or written; the text says which and why."""


@dataclass(frozen=True)
class Former:
    """A secret that was replaced, and is accepted for a while yet."""

    secret: bytes = field(repr=False)
    until: datetime


@dataclass(frozen=True)
class Account:
    """One security domain: the shared secret that its clients' keys are derived from."""

    name: str
    secret: bytes = field(repr=False)
    created: datetime
    update_notification: bool = False
    """Whether attached clients are told of a new update at once (manual 5.4, `update-notification`)."""
    statistics: bool = False
    """Whether calls and messages of its clients are counted (manual 5.4, `stats`)."""
    former: Former | None = None
    """The secret before this one, while clients and CMS change to this one."""

    def secrets(self, now: datetime) -> tuple[bytes, ...]:
        """What is accepted now, the newest first."""
        former = self.former
        return (self.secret,) if former is None or former.until <= now else (self.secret, former.secret)

    def uses_former(self, psk_identity: bytes) -> bool:
        """Whether this client of the account has proved the key of the former secret, by its hint."""
        claim = identity.read(psk_identity)
        if self.former is None or not claim.hint:
            return False
        return claim.hint == key_hint(client_key(self.former.secret, claim.client.uri))


def decode_secret(text: str) -> bytes:
    """A shared secret in base64; white space in it counts for nothing (manual 4.2).

    Raises ValueError, without the secret in its text.
    """
    try:
        secret = base64.b64decode("".join(text.split()), validate=True)
    except (binascii.Error, ValueError):
        raise ValueError("the shared secret is not base64") from None
    if not secret:
        raise ValueError("the shared secret is empty")
    if len(secret) > MAX_SECRET:
        raise ValueError(f"the shared secret has {len(secret)} bytes; at most {MAX_SECRET} are allowed")
    return secret


def encode_secret(secret: bytes) -> str:
    """A shared secret as people hand it over."""
    return base64.b64encode(secret).decode()


class Accounts:
    """All accounts of this server. `directory` holds a folder for each; other files in it are ignored."""

    def __init__(self, directory: Path, wall: Callable[[], float] = time.time) -> None:
        """`wall` gives UTC seconds since 1970."""
        self._directory = directory
        self._wall = wall
        self._accounts: dict[str, Account] = {}
        self.updates: Final = Archive(directory)
        """Their monthly updates."""

    def __iter__(self) -> Iterator[Account]:
        return iter(sorted(self._accounts.values(), key=lambda account: account.name))

    def __contains__(self, name: str) -> bool:
        return name in self._accounts

    def __len__(self) -> int:
        return len(self._accounts)

    def path(self, name: str) -> Path:
        """The folder of an account's files."""
        return self._directory / name

    def now(self) -> datetime:
        """The time, by which updates come into force."""
        return datetime.fromtimestamp(self._wall(), UTC)

    def month(self) -> Month:
        """The current month."""
        return Month.of(self.now())

    def load(self) -> None:
        """Read all accounts and their updates.

        Raises AccountError, ArchiveError: a server that misses one would turn its clients away.
        """
        self.replace(self.read())
        self.updates.load(self._accounts)

    def read(self) -> dict[str, Account]:
        """What is on disk, by name; blocks. Raises AccountError."""
        try:
            folders = [entry for entry in self._directory.iterdir() if entry.is_dir()]
        except OSError as error:
            raise AccountError(f"{self._directory}: {error.strerror or error}") from error
        found = [entry for entry in folders if is_account(entry.name) and (entry / FILE).exists()]
        return {entry.name: _read(entry.name, entry / FILE) for entry in found}

    def replace(self, accounts: dict[str, Account]) -> None:
        """From now on these are all accounts."""
        self._accounts = accounts

    def write(self, account: Account) -> None:
        """Put an account on disk; blocks, so call it in a thread. Raises AccountError."""
        try:
            linefile.write(self.path(account.name) / FILE, _lines(account))
        except LineFileError as error:
            raise AccountError(str(error)) from error

    def erase(self, name: str) -> None:
        """Take an account off the disk; blocks, so call it in a thread. Raises AccountError."""
        folder = self.path(name)
        try:
            (folder / FILE).unlink(missing_ok=True)
            secretfile.synchronise(folder)
            shutil.rmtree(folder)
        except OSError as error:
            raise AccountError(f"{folder}: {error.strerror or error}") from error

    def get(self, name: str) -> Account | None:
        """The account of this name."""
        return self._accounts.get(name)

    def add(self, account: Account) -> None:
        """From now on its clients are known."""
        self._accounts[account.name] = account

    def remove(self, name: str) -> None:
        """From now on its clients are unknown."""
        self._accounts.pop(name, None)
        self.updates.remove(name)

    def standing(self, client: Identity) -> Standing:
        """What the account's updates say about a client now."""
        return self.updates[client.account].standing(client.uri, self.month())

    def are_connected(self, one: str, other: str) -> bool:
        """Whether clients of two accounts may reach each other.

        Those of one account may. Those of two may if the update in force of each names the other as a
        connected domain: neither CMS can open the other's domain. So an account without updates is alone.
        """
        if one == other:
            return True
        month = self.month()
        return other in self._connected(one, month) and one in self._connected(other, month)

    def _connected(self, account: str, month: Month) -> frozenset[str]:
        update = self.updates[account].in_force(month)
        return frozenset() if update is None else update.outline.domains

    def key(self, psk_identity: bytes) -> bytes | None:
        """The TLS key of a client, None for who is none of ours; a `rtlib.psk.KeyLookup`."""
        try:
            (uri, name), hint = identity.read(psk_identity)
        except ValueError:
            return None
        account = self._accounts.get(name)
        if account is None:
            return None
        if account.former is None:
            return client_key(account.secret, uri)
        keys = [client_key(secret, uri) for secret in account.secrets(self.now())]
        return next((key for key in keys if key_hint(key) == hint), keys[0])


def _read(name: str, path: Path) -> Account:
    try:
        lines = linefile.read(path, DIRECTIVES)
    except LineFileError as error:
        raise AccountError(str(error)) from error
    return _account(name, path, {line.word: line.value for line in lines})


def _account(name: str, path: Path, values: dict[str, str]) -> Account:
    try:
        secret = decode_secret(values["secret"])
        created = datetime.fromisoformat(values.get("created", "1970-01-01T00:00:00Z"))
        notification = _switch("update-notification", values)
        former = _former(values.get("former-secret", ""))
        statistics = _switch("statistics", values)
    except KeyError:
        raise AccountError(f"{path}: secret: is required") from None
    except ValueError as error:
        raise AccountError(f"{path}: {error}") from None
    if len(secret) < WEAK:
        log.warn("account {name}: the shared secret is shorter than 128 bits", name=name)
    return Account(name, secret, created.astimezone(UTC), notification, statistics, former)


def _former(value: str) -> Former | None:
    """`<base64> <time>`: the former secret, and until when it is accepted. Raises ValueError."""
    if not value:
        return None
    text, _, until = value.partition(" ")
    try:
        deadline = datetime.fromisoformat(until.strip())
    except ValueError:
        raise ValueError("former-secret: must have a time such as 2026-11-30T00:00:00Z behind it") from None
    return Former(decode_secret(text), deadline.astimezone(UTC))


def _switch(name: str, values: dict[str, str]) -> bool:
    """Whether this is switched on; by default it is not. Raises ValueError."""
    value = values.get(name, "disabled")
    if value not in SWITCH:
        raise ValueError(f"{name}: must be enabled or disabled")
    return SWITCH[value]


def _lines(account: Account) -> list[str]:
    lines = [f"secret {encode_secret(account.secret)}", f"created {moment(account.created)}"]
    if account.former is not None:
        lines.append(f"former-secret {encode_secret(account.former.secret)} {moment(account.former.until)}")
    if account.update_notification:
        lines.append("update-notification enabled")
    if account.statistics:
        lines.append("statistics enabled")
    return lines
