"""Who a client is, and the key that proves it.

A client's PSK identity is `URI@account:hint`, split at the last `@`. Its key is derived from
the account's shared secret by HKDF-SHA256 (RFC 5869), so that nothing is looked up during
a TLS handshake and one leaked client key opens no other client. The hint says which key it is
while an account has two secrets; it may be left out.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from typing import Final, NamedTuple

KEY_SIZE: Final = 32
"""Bytes of a client's key."""

HINT_LABEL: Final = b"crs key hint v1"
HINT_SIZE: Final = 4
"""Bytes; twice as many hexadecimal digits in an identity."""

MAX_PSK_IDENTITY: Final = 255
"""Bytes."""

MAX_SECRET: Final = 1024
"""Bytes of an account's shared secret."""

KEY_SALT: Final = b"crs client key v1"
MAX_URI: Final = 255

_TEST_CLIENT: Final = re.compile(r"urn:x-crs:client:test-[0-9]+-[A-Za-z0-9_-]+", re.ASCII)
_HINT: Final = re.compile(rf"[0-9a-f]{{{2 * HINT_SIZE}}}", re.ASCII)
_ACCOUNT: Final = re.compile(r"[A-Za-z0-9_-]{1,20}")


class Identity(NamedTuple):
    """One client: its URI, usually a mobile number, within its account."""

    uri: str
    account: str

    def __str__(self) -> str:
        return f"{self.uri}@{self.account}"


class Claim(NamedTuple):
    """What a client's TLS handshake carries: who it is, and which key it holds."""

    client: Identity
    hint: str
    """Empty where there is none."""


def is_account(text: str) -> bool:
    """Whether `text` may be an account ID: a-z, A-Z, 0-9, - and _, at most 20 of them (manual 5.4)."""
    return _ACCOUNT.fullmatch(text) is not None


def is_uri(text: str) -> bool:
    """Whether `text` may be a client's URI: 1 to 255 printable characters without spaces."""
    return 0 < len(text) <= MAX_URI and text.isprintable() and " " not in text


def is_test_client(uri: str) -> bool:
    """Whether this is a client of `health-check account`: it is neither listed nor counted (manual 5.4)."""
    return _TEST_CLIENT.fullmatch(uri) is not None


def parse(psk_identity: bytes) -> Identity:
    """The client of a PSK identity. Raises ValueError, saying what is wrong."""
    return read(psk_identity).client


def read(psk_identity: bytes) -> Claim:
    """`URI@account:hint` or `URI@account`. Raises ValueError, saying what is wrong."""
    try:
        uri, separator, rest = psk_identity.decode().rpartition("@")
    except UnicodeDecodeError as error:
        raise ValueError("the identity is not UTF-8") from error
    if not separator:
        raise ValueError("the identity has no @")
    account, colon, hint = rest.partition(":")
    if colon and not _HINT.fullmatch(hint):
        raise ValueError("the identity has no valid key hint after its account")
    if not is_account(account):
        raise ValueError("the identity has no valid account after its last @")
    if not is_uri(uri):
        raise ValueError("the identity has no valid URI before its last @")
    return Claim(Identity(uri, account), hint)


def build(uri: str, account: str, key: bytes | None = None) -> bytes:
    """The PSK identity of a client, with a hint of its key if that fits.

    Raises ValueError where `parse` would.
    """
    identity = f"{uri}@{account}".encode()
    parse(identity)
    if key is None:
        return identity
    hinted = b"%b:%b" % (identity, key_hint(key).encode())
    return hinted if len(hinted) <= MAX_PSK_IDENTITY else identity


def key_hint(key: bytes) -> str:
    """What tells a client's key from another one of the same client, and tells nothing else of it."""
    return hmac.digest(key, HINT_LABEL, hashlib.sha256)[:HINT_SIZE].hex()


def client_key(secret: bytes, uri: str) -> bytes:
    """The 32-byte TLS key of the client `uri` in the account whose shared secret this is."""
    extracted = hmac.digest(KEY_SALT, secret, hashlib.sha256)
    # One block of HKDF-Expand is exactly the 32 bytes needed (RFC 5869 section 2.3).
    return hmac.digest(extracted, uri.encode() + b"\x01", hashlib.sha256)
