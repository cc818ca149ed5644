"""The CMS's folder of one account: `account.json`, `secret`, `clients.csv`; all of it private.

After a rotation `secret.former` has the secret before, which opens older update files.
"""

from __future__ import annotations

import binascii
import fcntl
import os
from base64 import b64decode, b64encode
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, Final

import msgspec
from msgspec import Meta

from crs.cms import clients
from crs.cms.clients import Client
from crs.cms.error import CmsError
from crs.identity import MAX_SECRET, is_account
from crs.provisioning import split
from crs.update.content import MAX_CLIENTS, MAX_DOMAINS, MAX_TOKEN
from rtlib import secretfile

FILE: Final = "account.json"
SECRET: Final = "secret"  # noqa: S105  # a file's name
FORMER: Final = "secret.former"
CLIENTS: Final = "clients.csv"
MAX_FILE: Final = 2**20


class Account(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the CMS knows about its account, but for secret and clients."""

    id: str
    server: str
    """HOST:PORT where clients connect."""
    listed_only: bool = False
    domain_token: Annotated[str, Meta(max_length=MAX_TOKEN)] = ""
    connected_domains: Annotated[tuple[str, ...], Meta(max_length=MAX_DOMAINS)] = ()
    issued: int = 0
    """Creation time of the latest update: a newer one must have a later time, whatever the clock says."""

    def __post_init__(self) -> None:
        if not is_account(self.id):
            raise ValueError(f"{self.id!a} is no valid account ID")
        split(self.server)
        if not self.domain_token.isprintable():
            raise ValueError("the domain token has characters that cannot be printed")
        for domain in self.connected_domains:
            if not is_account(domain):
                raise ValueError(f"{domain!a} is no valid account ID of a connected domain")


class Folder:
    """Reads and writes an account's files. What is written is on disk when a method returns."""

    def __init__(self, path: Path) -> None:
        self.path: Final = path

    def create(self, account: Account, secret: bytes) -> None:
        """Make the folder and the account's files in it. Raises CmsError."""
        with _failing(self.path):
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
        with self.locked(), _failing(self.path):
            if (self.path / FILE).exists():
                raise CmsError(f"{self.path}: there is an account already")
            secretfile.write(self.path / SECRET, (b64encode(secret), b"\n"))
            secretfile.write(self.path / CLIENTS, (clients.text(()).encode(),))
            self.write_account(account)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep other processes from changing the account meanwhile. Raises CmsError."""
        with _failing(self.path):
            descriptor = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            self._lock(descriptor)
            yield
        finally:
            os.close(descriptor)

    def account(self) -> Account:
        """The account's settings. Raises CmsError."""
        path = self.path / FILE
        try:
            return msgspec.json.decode(_read(path), type=Account)
        except FileNotFoundError as error:
            raise CmsError(f"{self.path}: there is no account here; crs-cms create makes one") from error
        except OSError as error:
            raise CmsError(f"{path}: {error.strerror}") from error
        except msgspec.MsgspecError as error:
            raise CmsError(f"{path}: {error}") from error

    def secret(self) -> bytes:
        """The account's shared secret. Raises CmsError."""
        return read_secret(self.path / SECRET)

    def secrets(self) -> list[bytes]:
        """The account's secret, and the former one if there is one. Raises CmsError."""
        former = self.path / FORMER
        return [self.secret(), *([read_secret(former)] if former.exists() else [])]

    def write_secret(self, secret: bytes) -> None:
        """Replace the secret, which becomes the former one. Raises CmsError."""
        before = self.secret()
        with _failing(self.path):
            secretfile.write(self.path / FORMER, (b64encode(before), b"\n"))
            secretfile.write(self.path / SECRET, (b64encode(secret), b"\n"))

    def clients(self) -> dict[str, Client]:
        """The account's clients by their URIs. Raises CmsError."""
        return {client.uri: client for client in clients.read(self.path / CLIENTS)}

    def write_account(self, account: Account) -> None:
        """Replace the settings. Raises CmsError."""
        data = msgspec.json.format(msgspec.json.encode(account), indent=2)
        with _failing(self.path / FILE):
            secretfile.write(self.path / FILE, (data, b"\n"))

    def write_clients(self, kept: dict[str, Client]) -> None:
        """Replace the clients. Raises CmsError."""
        if len(kept) > MAX_CLIENTS:
            raise CmsError(f"an update lists at most {MAX_CLIENTS:,} clients, not {len(kept):,}")
        with _failing(self.path / CLIENTS):
            secretfile.write(self.path / CLIENTS, (clients.text(kept.values()).encode(),))

    def _lock(self, descriptor: int) -> None:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise CmsError(f"{self.path}: another crs-cms is changing this account") from error


def checked(values: Mapping[str, Any]) -> Account:
    """The account with these settings. Raises CmsError."""
    try:
        return msgspec.convert(values, Account)
    except msgspec.MsgspecError as error:
        raise CmsError(str(error)) from error


def read_secret(path: Path) -> bytes:
    """The secret that a file holds in base64, as `crs-cli create account -s` takes it.

    Raises CmsError, without the secret in its text.
    """
    with _failing(path):
        text = b"".join(_read(path).split())
    try:
        secret = b64decode(text, validate=True)
    except binascii.Error:
        raise CmsError(f"{path}: not base64") from None
    if not secret:
        raise CmsError(f"{path}: holds no secret")
    if len(secret) > MAX_SECRET:
        raise CmsError(f"{path}: the shared secret has {len(secret)} bytes; at most {MAX_SECRET} are allowed")
    return secret


def _read(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(MAX_FILE)


@contextmanager
def _failing(path: Path) -> Iterator[None]:
    """Turn what the system says into a sentence with the file's name."""
    try:
        yield
    except OSError as error:
        raise CmsError(f"{error.filename or path}: {error.strerror or error}") from error
