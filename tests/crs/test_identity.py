"""Identities and keys of clients."""

from __future__ import annotations

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from hypothesis import given
from hypothesis import strategies as st

from crs.identity import KEY_SALT, Identity, build, client_key, is_account, key_hint, parse, read


def test_split_at_the_last_at_sign() -> None:
    assert parse(b"urn:x@y:+46@acc_1") == Identity("urn:x@y:+46", "acc_1")
    assert build("sip:ä@b", "a") == "sip:ä@b@a".encode()


@pytest.mark.parametrize(
    "bad",
    [b"", b"@", b"+46", b"@acc", b"+46@", b"+46@a b", b"\xff@a", b"a b@c", b"+46@" + b"a" * 21, b"x\n@a"],
)
def test_what_is_no_identity(bad: bytes) -> None:
    with pytest.raises(ValueError, match="identity"):
        parse(bad)


@given(st.binary(max_size=300))
def test_any_bytes_are_an_identity_or_a_value_error(data: bytes) -> None:
    try:
        identity = parse(data)
    except ValueError:
        return
    claim = read(data)
    assert claim.client == identity
    assert build(*identity) + (f":{claim.hint}".encode() if claim.hint else b"") == data


def test_an_identity_says_which_key_it_is_if_that_fits() -> None:
    key = client_key(b"secret", "+46")
    psk_identity = build("+46", "acc", key)
    assert psk_identity == f"+46@acc:{key_hint(key)}".encode()
    assert read(psk_identity) == (Identity("+46", "acc"), key_hint(key))
    assert read(b"+46@acc").hint == ""
    assert key_hint(key) != key_hint(client_key(b"other", "+46"))
    longest = "+" * (255 - len("@acc:12345678"))
    assert len(build(longest, "acc", key)) == 255
    assert build(f"+{longest}", "acc", key) == f"+{longest}@acc".encode()
    for bad in (b"+46@acc:", b"+46@acc:1234567", b"+46@acc:123456789", b"+46@acc:1234567G", b"+46@acc:1:2"):
        with pytest.raises(ValueError, match="identity"):
            read(bad)


def test_an_account_does_not_end_with_a_newline() -> None:
    assert not is_account("acc\n")


@given(st.binary(min_size=1, max_size=64), st.text(min_size=1, max_size=40))
def test_the_key_is_hkdf(secret: bytes, uri: str) -> None:
    """As another implementation of RFC 5869 computes it."""
    try:
        info = uri.encode()
    except UnicodeEncodeError:
        return
    expected = HKDF(hashes.SHA256(), 32, KEY_SALT, info).derive(secret)
    assert client_key(secret, uri) == expected
