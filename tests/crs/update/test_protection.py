"""Protection of update files: round trips, and every kind of damage by its own name."""

import hashlib
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crs.update import protection
from crs.update.content import MAX_CONTENT
from crs.update.error import (
    Damaged,
    NotAnUpdate,
    TooLarge,
    UnknownVersion,
    UpdateError,
    WrongAccount,
    WrongKey,
)
from crs.update.protection import protect, read_header, unprotect

SECRET = bytes(range(16))
SALT = bytes(range(32, 64))
CONTENT = b"the content of an update"
FILE = protect(CONTENT, "demo", SECRET, SALT)
HEADER = read_header(FILE)


@given(
    st.binary(max_size=5000),
    st.from_regex(r"[A-Za-z0-9_-]{1,20}", fullmatch=True),
    st.binary(min_size=1, max_size=64),
)
def test_what_is_protected_is_unprotected(content: bytes, account: str, secret: bytes) -> None:
    data = protect(content, account, secret, SALT)
    assert read_header(data).account == account
    assert unprotect(data, account, [secret]) == content
    assert unprotect(memoryview(data), account, [b"newer", secret]) == content
    assert len(content) < 8 or content not in data


def test_a_salt_makes_another_file() -> None:
    other = protect(CONTENT, "demo", SECRET, bytes(32))
    assert other[HEADER.size :] != FILE[HEADER.size :]
    assert read_header(other).key_check != HEADER.key_check


REGIONS = {
    "magic": (range(7), NotAnUpdate, "no update file"),
    "version": (range(7, 8), UnknownVersion, "this program knows 1"),
    "header": (range(8, HEADER.size), Damaged, "its header is not as it was made"),
    "content": (range(HEADER.size, len(FILE)), Damaged, "its content is not as it was made"),
}


@pytest.mark.parametrize("region", REGIONS)
def test_every_flipped_bit_is_found(region: str) -> None:
    places, error, reason = REGIONS[region]
    for place in places:
        for bit in range(8):
            changed = bytearray(FILE)
            changed[place] ^= 1 << bit
            with pytest.raises(error, match=reason):
                unprotect(bytes(changed), "demo", [SECRET])


def test_the_regions_are_the_whole_file() -> None:
    assert [place for places, _, _ in REGIONS.values() for place in places] == list(range(len(FILE)))


def test_every_truncation_is_found() -> None:
    for size in range(7):
        with pytest.raises(NotAnUpdate):
            unprotect(FILE[:size], "demo", [SECRET])
    for size in range(7, len(FILE)):
        with pytest.raises(Damaged):
            unprotect(FILE[:size], "demo", [SECRET])


def test_an_extension_is_found() -> None:
    with pytest.raises(Damaged, match=f"has {len(FILE) + 1} bytes instead of {len(FILE)}"):
        unprotect(FILE + b"\0", "demo", [SECRET])


def test_the_wrong_account() -> None:
    with pytest.raises(WrongAccount, match="is for the account demo, not for other"):
        unprotect(FILE, "other", [SECRET])


@pytest.mark.parametrize("secrets", [[], [b""], [SECRET[:-1]], [SECRET + b"\0", bytes(16)]])
def test_the_wrong_key(secrets: list[bytes]) -> None:
    with pytest.raises(WrongKey, match="another shared secret than that of account demo"):
        unprotect(FILE, "demo", secrets)


def resealed(header: bytes) -> bytes:
    """A header that somebody made by hand, with a right checksum."""
    return header + hashlib.sha256(header).digest()[:8]


def test_a_header_with_a_right_checksum_does_not_pass_for_authentic() -> None:
    """Another account of the same secret, or another length with the bytes to match."""
    renamed = resealed(FILE[:80] + b"\5other")
    with pytest.raises(WrongKey):
        unprotect(renamed + FILE[HEADER.size :], "other", [SECRET])
    longer = resealed(FILE[:8] + struct.pack(">Q", len(CONTENT) + 1) + FILE[16 : HEADER.size - 8])
    with pytest.raises(Damaged, match="its content"):
        unprotect(longer + FILE[HEADER.size :] + b"\0", "demo", [SECRET])


@pytest.mark.parametrize("name", [b"", b"a b", b"\xff", b"x" * 21, b"x" * 255])
def test_a_header_without_a_valid_account(name: bytes) -> None:
    header = resealed(FILE[:80] + bytes((len(name),)) + name)
    with pytest.raises(Damaged, match="names no valid account"):
        read_header(header)


def test_a_huge_length_is_refused_by_the_header() -> None:
    header = resealed(FILE[:8] + struct.pack(">Q", MAX_CONTENT + 1) + FILE[16 : HEADER.size - 8])
    with pytest.raises(TooLarge, match="at most 268,435,456 are allowed"):
        read_header(header)


class Huge(bytes):
    """Says that it is over the bound; nothing of it may be read."""

    def __len__(self) -> int:
        return protection.MAX_FILE + 1


def test_a_file_over_the_bound_is_refused_first() -> None:
    with pytest.raises(TooLarge, match="at most 268,435,581"):
        unprotect(Huge(FILE), "demo", [SECRET])


@given(st.binary(max_size=400))
def test_noise_is_refused(noise: bytes) -> None:
    for data in (noise, FILE[:8] + noise, FILE[:80] + noise, FILE[: HEADER.size] + noise):
        with pytest.raises(UpdateError) as caught:
            unprotect(data, "demo", [SECRET])
        assert str(caught.value).isprintable()


def test_what_protect_refuses() -> None:
    with pytest.raises(ValueError, match="'a b' is no valid account ID"):
        protect(CONTENT, "a b", SECRET, SALT)
    with pytest.raises(ValueError, match="a salt has 32 bytes, not 31"):
        protect(CONTENT, "demo", SECRET, SALT[1:])


def test_secrets_are_not_in_messages() -> None:
    with pytest.raises(WrongKey) as caught:
        unprotect(FILE, "demo", [b"s3cr3t"])
    assert "s3cr3t" not in str(caught.value) and caught.value.__cause__ is None
