from dataclasses import replace

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from crs.client.keying import KEY_LENGTHS, KeyingError, KeyOffer, Parties, Profile, accept

PARTIES = Parties("s1", "+4670111", "red", "+4670222", "blue")


def edited(payload: bytes, **entries: object) -> bytes:
    return msgspec.msgpack.encode(msgspec.msgpack.decode(payload) | entries)


@pytest.mark.parametrize("secret", [None, b"shared by both"])
@pytest.mark.parametrize("streams", [1, 8])
def test_both_sides_get_the_same_keys(secret: bytes | None, streams: int) -> None:
    offer = KeyOffer(PARTIES, streams, secret)
    answer, callee_keys = accept(PARTIES, offer.payload, streams, secret)
    caller_keys = offer.complete(answer)
    assert caller_keys == callee_keys
    assert [keys.profile for keys in caller_keys] == [Profile.aead_aes_256_gcm] * streams
    halves = [half for keys in caller_keys for half in (keys.caller, keys.callee)]
    assert len(set(halves)) == 2 * streams
    assert {len(half) for half in halves} == {44}


def test_keys_are_new_in_every_call() -> None:
    offer = KeyOffer(PARTIES, 1)
    first, second = accept(PARTIES, offer.payload, 1)[1], accept(PARTIES, offer.payload, 1)[1]
    assert first[0].caller != second[0].caller


@pytest.mark.parametrize(
    ("caller", "callee"), [(b"one", b"other"), (None, b"other"), (b"one", None), (b"", b"other")]
)
def test_another_secret_is_noticed(caller: bytes | None, callee: bytes | None) -> None:
    offer = KeyOffer(PARTIES, 1, caller)
    answer, _ = accept(PARTIES, offer.payload, 1, callee)
    with pytest.raises(KeyingError, match="another end-to-end secret"):
        offer.complete(answer)


@pytest.mark.parametrize("field", ["session", "caller", "caller_account", "callee", "callee_account"])
def test_payloads_fit_no_other_call(field: str) -> None:
    offer = KeyOffer(PARTIES, 1)
    answer, _ = accept(replace(PARTIES, **{field: "other"}), offer.payload, 1)
    with pytest.raises(KeyingError):
        offer.complete(answer)


def test_a_removed_profile_is_noticed() -> None:
    """Somebody on the way takes the better profile out of the offer: the transcripts differ."""
    offer = KeyOffer(PARTIES, 1)
    weakened = edited(offer.payload, profiles=["AES_CM_128_HMAC_SHA1_80"])
    answer, keys = accept(PARTIES, weakened, 1)
    assert keys[0].profile is Profile.aes_cm_128_hmac_sha1_80
    assert len(keys[0].caller) == KEY_LENGTHS[Profile.aes_cm_128_hmac_sha1_80] == 30
    with pytest.raises(KeyingError):
        offer.complete(answer)


def test_no_common_profile() -> None:
    payload = edited(KeyOffer(PARTIES, 1).payload, profiles=["NULL"])
    with pytest.raises(KeyingError, match="no common SRTP profile; offered are NULL"):
        accept(PARTIES, payload, 1)


def test_unknown_entries_and_profiles_are_ignored() -> None:
    offer = KeyOffer(PARTIES, 1)
    newer = edited(offer.payload, profiles=["FUTURE", *(profile.value for profile in KEY_LENGTHS)], extra=1)
    assert accept(PARTIES, newer, 1)[1][0].profile is Profile.aead_aes_256_gcm


def test_a_public_key_of_low_order_is_refused() -> None:
    payload = edited(KeyOffer(PARTIES, 1).payload, public=bytes(32))
    with pytest.raises(KeyingError, match="not acceptable"):
        accept(PARTIES, payload, 1)


@given(st.binary(max_size=100))
def test_garbage_is_a_keying_error(payload: bytes) -> None:
    with pytest.raises(KeyingError):
        accept(PARTIES, payload, 1)
    with pytest.raises(KeyingError):
        KeyOffer(PARTIES, 1).complete(payload)
