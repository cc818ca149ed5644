"""Protection of an update on its way from the CMS: AES-256-GCM (docs/update-files.md section 2).

Each file has its own key, nonce and key check, derived from the account's secret by HKDF-SHA256 (RFC
5869) with the file's random salt. The header travels in the clear, authenticated as associated data.
Its checksum tells accidental damage from a wrong key; the key check, which also commits the file to one
key, tells a wrong key before anything is decrypted.
"""

from __future__ import annotations

import hashlib
import hmac
import struct
from collections.abc import Sequence
from typing import Final, NamedTuple

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import GCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from crs.identity import is_account
from crs.update.content import MAX_CONTENT, Buffer
from crs.update.error import Damaged, NotAnUpdate, TooLarge, UnknownVersion, WrongAccount, WrongKey

MAGIC: Final = b"crs-upd"
VERSION: Final = 1
SALT_SIZE: Final = 32
CHECKSUM_SIZE: Final = 8
TAG_SIZE: Final = 16
INFO: Final = b"crs update file v1"

_PIECE: Final = 256 * 2**10
"""Bytes that are decrypted at a time: about 0.1 ms in which no other thread of Python runs."""

_KEY_SIZE, _NONCE_SIZE, _CHECK_SIZE = 32, 12, 32
_FIXED: Final = struct.Struct(f">7sBQ{SALT_SIZE}s{_CHECK_SIZE}sB")
"""Magic, version, length of the content, salt, key check, length of the account ID."""
MAX_HEADER: Final = _FIXED.size + 20 + CHECKSUM_SIZE
"""With the longest account ID."""
MAX_FILE: Final = MAX_CONTENT + MAX_HEADER + TAG_SIZE


class Header(NamedTuple):
    """What can be read without the key; nothing of it is proved until the file is unprotected."""

    account: str
    length: int
    """Bytes of the content."""
    salt: bytes
    key_check: bytes
    size: int
    """Bytes of the header itself."""


class _Keys(NamedTuple):
    key: bytes
    nonce: bytes
    check: bytes


def protect(content: bytes, account: str, secret: bytes, salt: bytes) -> bytes:
    """The protected file. `salt` is random and new for each file. Raises ValueError and TooLarge."""
    if not is_account(account):
        raise ValueError(f"{account!r} is no valid account ID")
    if len(salt) != SALT_SIZE:
        raise ValueError(f"a salt has {SALT_SIZE} bytes, not {len(salt)}")
    if len(content) > MAX_CONTENT:
        raise TooLarge(f"the update has {len(content):,} bytes; at most {MAX_CONTENT:,} are allowed")
    name = account.encode()
    keys = _derive(secret, salt, name)
    header = _FIXED.pack(MAGIC, VERSION, len(content), salt, keys.check, len(name)) + name
    header += _checksum(header)
    return header + AESGCM(keys.key).encrypt(keys.nonce, content, header)


def read_header(data: Buffer) -> Header:
    """The header of a protected file, of which `data` is at least the beginning. Raises UpdateError."""
    if bytes(data[: len(MAGIC)]) != MAGIC:
        raise NotAnUpdate("this is no update file")
    if len(data) > len(MAGIC) and data[len(MAGIC)] != VERSION:
        raise UnknownVersion(
            f"the update file has format version {data[len(MAGIC)]}; this program knows {VERSION}"
        )
    if len(data) < _FIXED.size:
        raise Damaged("the update file is damaged: it ends in its header")
    _, _, length, salt, check, name_size = _FIXED.unpack(data[: _FIXED.size])
    end = _FIXED.size + name_size
    size = end + CHECKSUM_SIZE
    if len(data) < size or _checksum(data[:end]) != data[end:size]:
        raise Damaged("the update file is damaged: its header is not as it was made")
    if length > MAX_CONTENT:
        raise TooLarge(f"the update file speaks of {length:,} bytes; at most {MAX_CONTENT:,} are allowed")
    return Header(_account(bytes(data[_FIXED.size : end])), length, salt, check, size)


def check_size(size: int) -> None:
    """Whether a protected file may have so many bytes. Raises TooLarge."""
    if size > MAX_FILE:
        raise TooLarge(f"the update file has {size:,} bytes; at most {MAX_FILE:,} are allowed")


def unprotect(data: Buffer, account: str, secrets: Sequence[bytes]) -> memoryview:
    """The content of a protected file for `account`, whose valid secrets are given; the newest comes first.

    Needs the memory of the content beside the file's. Raises UpdateError.
    """
    check_size(len(data))
    header = read_header(data)
    if header.account != account:
        raise WrongAccount(f"the update file is for the account {header.account}, not for {account}")
    expected = header.size + header.length + TAG_SIZE
    if len(data) != expected:
        raise Damaged(f"the update file is damaged: it has {len(data):,} bytes instead of {expected:,}")
    keys = _find(header, secrets)
    try:
        return _decrypted(memoryview(data), header, keys)
    except InvalidTag:
        raise Damaged("the update file is damaged: its content is not as it was made") from None


def _decrypted(data: memoryview, header: Header, keys: _Keys) -> memoryview:
    """The content, which is authentic once this returns. Raises InvalidTag."""
    decryptor = Cipher(AES(keys.key), GCM(keys.nonce, bytes(data[-TAG_SIZE:]))).decryptor()
    decryptor.authenticate_additional_data(data[: header.size])
    # update_into wants room for a part of a block more.
    content = memoryview(bytearray(header.length + TAG_SIZE))
    encrypted = data[header.size : -TAG_SIZE]
    for start in range(0, header.length, _PIECE):
        decryptor.update_into(encrypted[start : start + _PIECE], content[start:])
    decryptor.finalize()
    return content[: header.length]


def _find(header: Header, secrets: Sequence[bytes]) -> _Keys:
    for secret in secrets:
        keys = _derive(secret, header.salt, header.account.encode())
        if hmac.compare_digest(keys.check, header.key_check):
            return keys
    raise WrongKey(
        f"the update file was protected with another shared secret than that of account {header.account}"
    )


def _derive(secret: bytes, salt: bytes, account: bytes) -> _Keys:
    length = _KEY_SIZE + _NONCE_SIZE + _CHECK_SIZE
    info = INFO + bytes((len(account),)) + account
    okm = HKDF(SHA256(), length, salt, info).derive(secret)
    return _Keys(okm[:_KEY_SIZE], okm[_KEY_SIZE:-_CHECK_SIZE], okm[-_CHECK_SIZE:])


def _account(name: bytes) -> str:
    """The account ID of a header whose checksum is right. Raises Damaged."""
    text = name.decode("ascii", "replace")
    if not is_account(text):
        raise Damaged("the update file is damaged: its header names no valid account")
    return text


def _checksum(header: Buffer) -> bytes:
    return hashlib.sha256(header).digest()[:CHECKSUM_SIZE]
