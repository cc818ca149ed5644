"""What a client needs to reach its server: where that is, who the client is, and the key that proves it."""

from __future__ import annotations

import binascii
from base64 import b64decode
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from crs import identity
from crs.client.error import ClientError
from crs.provisioning import MAX_TEXT, Provisioning, ProvisioningError, decode
from rtlib import secretfile


class CredentialsError(ClientError):
    """A name, key or secret cannot be used; the text says why."""


class Server(NamedTuple):
    """Where a server's client port is."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True)
class Credentials:
    """One client's name and its TLS key of 32 bytes."""

    uri: str
    account: str
    key: bytes = field(repr=False)

    @classmethod
    def derived(cls, uri: str, account: str, secret: bytes) -> Credentials:
        """Of the account's shared secret, which is more than a client should have: it opens all others."""
        return cls(uri, account, identity.client_key(secret, uri))

    def __post_init__(self) -> None:
        if len(self.key) != identity.KEY_SIZE:
            raise CredentialsError(f"a client's key has {identity.KEY_SIZE} bytes, not {len(self.key)}")
        if not identity.is_account(self.account):
            raise CredentialsError(f"{self.account!r} is no valid account ID")
        try:
            identity.build(self.uri, self.account)
        except ValueError as error:
            raise CredentialsError(str(error)) from error

    @property
    def identity(self) -> bytes:
        """The PSK identity, as the TLS handshake carries it."""
        return identity.build(self.uri, self.account, self.key)


def read_base64(path: Path) -> bytes:
    """The bytes that a file holds in base64; white space counts for nothing. Raises CredentialsError."""
    try:
        return b64decode(b"".join(path.read_bytes().split()), validate=True)
    except OSError as error:
        raise CredentialsError(f"{path}: {error.strerror}") from error
    except binascii.Error as error:
        raise CredentialsError(f"{path}: not base64: {error}") from error


class Known(NamedTuple):
    """What a provisioning says."""

    server: Server
    credentials: Credentials
    end_to_end_secret: bytes | None


def provisioned(path: Path) -> Known:
    """The provisioning that a file holds. Raises CredentialsError."""
    try:
        with path.open(encoding="ascii") as file:
            return _known(file.read(MAX_TEXT + 1), str(path))
    except (OSError, UnicodeDecodeError) as error:
        raise CredentialsError(f"{path}: {getattr(error, 'strerror', None) or error}") from error


def keep_provisioning(text: str, path: Path, *, force: bool) -> Known:
    """Put a provisioning into a file, mode 0600. Raises CredentialsError, also if one is there already."""
    known = _known(text, "the provisioning")
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        secretfile.write(path, (text.strip().encode("ascii"), b"\n"), replace=force)
    except FileExistsError:
        raise CredentialsError(f"{path} is there already; --force replaces it") from None
    except OSError as error:
        raise CredentialsError(f"{path}: {error.strerror or error}") from error
    return known


def _known(text: str, where: str) -> Known:
    try:
        found: Provisioning = decode(text)
    except ProvisioningError as error:
        raise CredentialsError(f"{where}: {error}") from error
    server = Server(found.host, found.port)
    return Known(server, Credentials(found.uri, found.account, found.key), found.end_to_end_secret)
