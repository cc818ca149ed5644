"""A client's provisioning as text."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crs.provisioning import Provisioning, ProvisioningError, decode, encode, join, split

KEY = bytes(range(32))
TEXT = encode(Provisioning("192.0.2.1", 5223, "+461", "demo", KEY))

hosts = st.one_of(
    st.ip_addresses(v=4).map(str),
    st.ip_addresses(v=6).map(str),
    st.just("crs.example.net"),
    st.just("localhost"),
)
uris = st.text(st.characters(codec="utf-8", categories=("L", "N", "P", "S")), min_size=1, max_size=255)
provisionings = st.builds(
    Provisioning,
    hosts,
    st.integers(1, 65535),
    uris,
    st.from_regex(r"[A-Za-z0-9_-]{1,20}", fullmatch=True),
    st.binary(min_size=32, max_size=32),
    st.none() | st.binary(min_size=1, max_size=256),
)


@given(provisionings)
def test_what_is_encoded_is_decoded(value: Provisioning) -> None:
    text = encode(value)
    assert text.isascii() and text.isprintable() and " " not in text
    assert decode(f" \n{text}\r\n") == value


@given(st.text(max_size=200))
def test_noise_is_refused(noise: str) -> None:
    place, _, fragment = TEXT.partition("#")
    for text in (
        noise,
        place + "#" + noise,
        "crs://" + noise + "#" + fragment,
        TEXT[: len(TEXT) // 2] + noise,
    ):
        try:
            value = decode(text)
        except ProvisioningError as error:
            assert str(error).isprintable()
        else:
            assert decode(encode(value)) == value


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "this is no provisioning"),
        ("https://example.net/", "this is no provisioning"),
        ("crs://192.0.2.1/demo#v=1&key=x", "this is no provisioning"),
        ("crs://192.0.2.1/demo/%2B461", "incomplete"),
        ("crs://192.0.2.1/demo/%2B461#v=1", "has no key"),
        (TEXT.replace("v=1", "v=2"), "another version; this program knows 1"),
        (TEXT.replace("v=1&", ""), "incomplete"),
        (TEXT + "&", "malformed"),
        (TEXT + "&x", "malformed"),
        (TEXT + "&key=AA", "twice"),
        (TEXT + "&e2e=", "1 to 256 bytes"),
        (TEXT + "&e2e=A", "e2e is not base64"),
        (TEXT[:-3], "a client's key has 32 bytes"),
        (TEXT[:-1] + "*", "key is not base64"),
        (TEXT.replace("demo", "de.mo"), "'de.mo' is no valid account ID"),
        (TEXT.replace("%2B461", "%FF"), "not UTF-8"),
        (TEXT.replace("%2B461", "%2B46%0A1"), "is no valid URI"),
        (TEXT.replace("%2B461", ""), "is no valid URI"),
        (TEXT.replace(":5223", ":0"), "is not HOST:PORT"),
        (TEXT.replace(":5223", ":65536"), "is not HOST:PORT"),
        (TEXT.replace("192.0.2.1", "a b"), "is not HOST:PORT"),
        (TEXT.replace("192.0.2.1", "2001:db8::1"), "needs brackets"),
        (TEXT + "&x=" + "y" * 9000, "at most 8192 characters"),
    ],
)
def test_wrong_texts_are_refused_by_reason(text: str, reason: str) -> None:
    with pytest.raises(ProvisioningError) as caught:
        decode(text)
    assert reason in str(caught.value)


def test_unknown_entries_are_ignored() -> None:
    assert decode(TEXT + "&later=1") == decode(TEXT)


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        ("192.0.2.1", "192.0.2.1", 5223),
        ("192.0.2.1:1", "192.0.2.1", 1),
        ("[2001:db8::1]", "2001:db8::1", 5223),
        ("[2001:db8::1]:65535", "2001:db8::1", 65535),
        ("crs.example.net:99", "crs.example.net", 99),
    ],
)
def test_servers(text: str, host: str, port: int) -> None:
    assert split(text) == (host, port)
    assert split(join(host, port)) == (host, port)


@pytest.mark.parametrize(
    "text", ["", ":1", "a:", "a:b", "a:-1", "a:123456", "a:²", "[::1", "::1", "[fe80::1%eth0]", "a..b", "-a"]
)
def test_no_servers(text: str) -> None:
    with pytest.raises(ProvisioningError):
        split(text)


def test_secrets_are_not_shown() -> None:
    value = Provisioning("192.0.2.1", 5223, "+461", "demo", KEY, b"s3cr3t")
    assert "key" not in repr(value) and "s3cr3t" not in repr(value)
    with pytest.raises(ProvisioningError) as caught:
        decode("crs://192.0.2.1/demo/%2B461#v=1&key=s3cr3t*")
    assert "s3cr3t" not in str(caught.value)
