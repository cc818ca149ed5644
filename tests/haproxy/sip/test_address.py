from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from haproxy.sip import address
from haproxy.sip.address import AddressError, NameAddr


@pytest.mark.parametrize(
    ("text", "display", "uri", "params"),
    [
        (b"<sip:a@h>", b"", b"sip:a@h", {}),
        (b'"Al \\"x\\" <b>, c" <sip:a@h;lr>;tag=1', b'Al "x" <b>, c', b"sip:a@h;lr", {b"tag": b"1"}),
        (b"Al Bo <sip:a@h>; Q = 0.3;flag", b"Al Bo", b"sip:a@h", {b"q": b"0.3", b"flag": None}),
        (b"sip:a@h;tag=1", b"", b"sip:a@h", {b"tag": b"1"}),
        (b"Bell, Alexander <sip:a@h>", b"Bell, Alexander", b"sip:a@h", {}),
        (b'<sip:a@h>;x="a;b"', b"", b"sip:a@h", {b"x": b'"a;b"'}),
        (b"<tel:+1>", b"", b"tel:+1", {}),
    ],
)
def test_forms(text: bytes, display: bytes, uri: bytes, params: dict[bytes, bytes | None]) -> None:
    parsed = address.parse(text)
    assert (parsed.display, parsed.uri, parsed.params) == (display, uri, params)
    again = address.parse(bytes(parsed))
    assert (again.display, again.uri, again.params) == (display, uri, params)


@pytest.mark.parametrize(
    "text",
    [b"", b"<>", b"<sip:a@h", b'"x <sip:a@h>', b"a@h", b"<sip:a@h> x", b"<sip:a@h>;;", b"sip:a@h?x=y", b"*"],
)
def test_refused(text: bytes) -> None:
    with pytest.raises(AddressError):
        address.parse(text)


def test_params_one_by_one() -> None:
    parsed = NameAddr(b"sip:a@h", b";tag=T;ob;expires=60")
    assert (parsed.tag, parsed.param(b"ob"), parsed.param(b"expires"), parsed.param(b"q")) == (
        b"T",
        b"",
        b"60",
        None,
    )
    assert parsed.target.host == b"h"
    assert bytes(NameAddr(b"sip:a@h", display=b'a"b')) == b'"a\\"b" <sip:a@h>'


def test_lists() -> None:
    found = address.parse_list([b'"a, b" <sip:a@h,x>, sip:c@h;q=1', b"<sip:d@h>"])
    assert [each.uri for each in found] == [b"sip:a@h,x", b"sip:c@h", b"sip:d@h"]


@given(st.binary(max_size=40) | st.text('<>"\\;, sip:a@h=', max_size=30).map(str.encode))
def test_anything(data: bytes) -> None:
    with contextlib.suppress(AddressError):
        for parsed in address.parse_list([data]):
            again = address.parse(bytes(parsed))
            assert (again.uri, again.display, again.params) == (parsed.uri, parsed.display, parsed.params)
