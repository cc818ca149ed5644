from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from haproxy.sip import header


def test_keys() -> None:
    assert header.key_of(b"v") == header.key_of(b"VIA") == header.key_of(b"vIa  ") == b"via"
    assert header.key_of(b"X-Own") == b"x-own"
    assert header.key_of(b"L\t") == b"content-length"
    assert header.key_of(b"") is header.key_of(b"a b") is header.key_of(b"a\n") is None


def test_split() -> None:
    assert header.split(b' a , "b,\\",c" ,, <d,e>;f') == [b"a", b'"b,\\",c"', b"<d,e>;f"]
    assert header.split(b"  ") == []
    assert header.cut_first(b"<a,b>, c ,d") == (b"<a,b>", b"c ,d")
    assert header.cut_first(b" a ") == (b"a", b"")


def test_parameters() -> None:
    assert header.parameters(b' ; A = b;c;D="x;\\"y" ') == {b"a": b"b", b"c": None, b"d": b'"x;\\"y"'}
    assert header.parameters(b";a=1;A=2") == {b"a": b"1"}
    assert header.parameters(b"") == {}
    for bad in (b"a", b";", b";;a", b";a=", b';a="', b";a b", b";a=1,b"):
        assert header.parameters(bad) is None


def test_unfold() -> None:
    assert header.unfold(b"a \r\n\t b\r\n c") == b"a b c"


@given(st.binary(max_size=30))
def test_quoting_comes_back(text: bytes) -> None:
    assert header.unquote(header.quote(text)) == text


@given(st.binary(max_size=60))
def test_anything_can_be_split(value: bytes) -> None:
    parts = header.split(value)
    assert (
        b"".join(parts).translate(None, b", \t\r\n\v\f") == value.translate(None, b", \t\r\n\v\f")
        or b'"' in value
    )
    first, rest = header.cut_first(value)
    assert len(first) + len(rest) <= len(value)
    header.parameters(value)
