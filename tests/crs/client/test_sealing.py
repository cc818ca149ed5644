from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crs.client.sealing import Route, SealError, seal, unseal

ROUTE = Route("m1", "+4670111", "red", "+4670222", "blue")


@given(st.text(max_size=200), st.none() | st.binary(max_size=40))
def test_a_text_comes_back(text: str, secret: bytes | None) -> None:
    assert unseal(seal(text, ROUTE, secret), ROUTE, secret) == text


def test_the_seal_hides_the_text_and_is_never_the_same() -> None:
    payload = seal("attack at dawn", ROUTE, b"secret")
    assert b"dawn" not in payload
    assert payload != seal("attack at dawn", ROUTE, b"secret")
    assert b"dawn" in seal("attack at dawn", ROUTE, None)


@pytest.mark.parametrize("field", ["message", "sender", "sender_account", "recipient", "recipient_account"])
def test_a_seal_fits_no_other_route(field: str) -> None:
    payload = seal("text", ROUTE, b"secret")
    with pytest.raises(SealError, match="altered"):
        unseal(payload, replace(ROUTE, **{field: "other"}), b"secret")


def test_a_message_to_a_group_is_bound_to_its_sender_only() -> None:
    payload = seal("to all", Route("m1", "+4670111", "red"), b"secret")
    for recipient in ("+4670222", "+4670333"):
        assert unseal(payload, replace(ROUTE, recipient=recipient), b"secret") == "to all"
    with pytest.raises(SealError, match="altered"):
        unseal(payload, replace(ROUTE, sender="+4670999"), b"secret")


def test_another_secret_does_not_open() -> None:
    with pytest.raises(SealError, match="another end-to-end secret"):
        unseal(seal("text", ROUTE, b"secret"), ROUTE, b"other")


def test_no_downgrade_to_plain_text() -> None:
    with pytest.raises(SealError, match="not encrypted"):
        unseal(seal("text", ROUTE, None), ROUTE, b"secret")
    with pytest.raises(SealError, match="no end-to-end secret"):
        unseal(seal("text", ROUTE, b"secret"), ROUTE, None)


@given(st.binary(max_size=100))
def test_garbage_is_a_seal_error(payload: bytes) -> None:
    with pytest.raises(SealError):
        unseal(payload, ROUTE, b"secret")


@given(st.integers(0), st.integers(1, 255))
def test_every_altered_byte_is_noticed(position: int, change: int) -> None:
    payload = bytearray(seal("a text", ROUTE, b"secret"))
    payload[position % len(payload)] ^= change
    with pytest.raises(SealError):
        unseal(bytes(payload), ROUTE, b"secret")
