"""Words of requests and replies, as RESP and the scripts have them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtlib.store import Append, Put, resp


def test_a_request_is_an_array_of_bulk_strings() -> None:
    assert resp.encode((b"GET", b"a\r\n")) == b"*2\r\n$3\r\nGET\r\n$3\r\na\r\n\r\n"


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_times_are_exact(time: float) -> None:
    assert float(resp.seconds(time)) == time


@pytest.mark.parametrize("time", [float("nan"), float("inf")])
def test_a_time_that_is_none(time: float) -> None:
    with pytest.raises(ValueError, match="no time"):
        resp.seconds(time)


@given(st.binary(), st.none() | st.floats(0, 4e9))
def test_a_value_lives_until_it_expires(value: bytes, expires: float | None) -> None:
    words = resp.pack([Put("k", value, expires)])
    assert words[:3] == [b"1", b"put", b"k"]
    assert resp.value(words[3]) == value
    assert resp.living(words[3], 4.1e9 if expires is None else expires - 1) == value
    if expires is not None:
        assert resp.living(words[3], expires) is None


def test_what_a_write_carries() -> None:
    assert resp.pack([]) == [b"0"]
    assert resp.pack([Append("q", "é", b"v", 2.5)]) == [b"1", b"append", b"q", "é".encode(), b"2.5 v", b"2.5"]
    with pytest.raises(TypeError):
        resp.pack([Put("k", {})])  # type: ignore[arg-type]  # that is the point
    with pytest.raises(AttributeError):
        resp.pack([Put(3, b"")])  # type: ignore[arg-type]  # that is the point


def test_what_a_write_came_to() -> None:
    assert resp.results(b"-,t,f,-17,0") == [None, True, False, -17, 0]
    assert resp.results(b"") == []
    assert resp.results(b"!") is None


def test_a_status_is_text_or_bytes() -> None:
    assert resp.pair("3 1") == resp.pair(b"3 1") == (3, 1)


@pytest.mark.parametrize("reply", [None, 5, [b"x"]])
def test_a_reply_of_another_type(reply: resp.Reply) -> None:
    with pytest.raises(TypeError, match="a string was expected"):
        resp.items(reply)


@pytest.mark.parametrize(
    ("prefix", "after", "bounds"),
    [
        ("", "", (b"[", b"(\xff")),
        ("a/", "", (b"[a/", b"(a/\xff")),
        ("a/", "a", (b"[a/", b"(a/\xff")),
        ("a/", "a/é", (b"(a/\xc3\xa9", b"(a/\xff")),
    ],
)
def test_bounds(prefix: str, after: str, bounds: tuple[bytes, bytes]) -> None:
    assert resp.bounds(prefix, after) == bounds
