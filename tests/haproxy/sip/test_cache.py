"""Caches with a bound and a name."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from haproxy.sip import cache, message, uri
from haproxy.sip.uri import UriError


@pytest.fixture
def calls() -> Iterator[list[str]]:
    yield []
    del cache.CACHES["doubled"]


def test_results_are_kept_up_to_the_bound_and_errors_are_not(calls: list[str]) -> None:
    def double(text: str) -> str:
        calls.append(text)
        if not text:
            raise ValueError
        return 2 * text

    kept = cache.kept("doubled", double, 4, longest=3)
    assert [kept[text] for text in "1212314512"] == [2 * text for text in "1212314512"]
    assert calls == list("123452"), "2 had to go, and 1 had not, which was asked for again"
    for text in ("", "long"):
        calls.clear()
        for _ in range(2):
            try:
                assert kept[text] == 2 * text
            except ValueError:
                assert not text
        assert calls == [text, text]
    assert 2 <= cache.sizes()["doubled"] <= 4


def test_what_a_message_leaves_behind() -> None:
    """By kind; a malformed URI leaves nothing."""
    data = (
        b"OPTIONS sip:test-cache@192.0.2.9 SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.9:999;branch=z9hG4bKcache\r\n"
        b"From: F <sip:test-cache-f@192.0.2.9>;tag=f\r\nTo: T <sip:test-cache-t@192.0.2.9>\r\nCall-ID: c\r\n"
        b"CSeq: 99991 OPTIONS\r\n\r\n"
    )
    before = cache.sizes()
    message.parse(data)
    message.parse(data)
    grown = {kind: size - before[kind] for kind, size in cache.sizes().items() if size != before[kind]}
    tags = {"From tags": 1, "To tags": 1}
    assert grown == {"start lines": 1, "URIs": 1, "Via": 1, "From and To": 2, **tags, "CSeq": 1}
    kept = cache.sizes()["URIs"]
    with pytest.raises(UriError):
        uri.parse(b"sip:")
    assert cache.sizes()["URIs"] == kept


def test_a_method_that_nobody_knows_leaves_no_layout() -> None:
    """Each of them would: the kinds of messages whose layouts are kept are few, and meant for phones."""
    lines = [
        *(b"Via: SIP/2.0/UDP 192.0.2.9;branch=z9hG4bKl", b"From: <sip:a@h>;tag=f", b"To: <sip:b@h>"),
        *(b"X-Cache: 1", b"Call-ID: c"),
    ]
    for method, known in ((b"FROBNICATE", False), (b"MESSAGE", True)):
        pieces = [method + b" sip:b@h SIP/2.0", *lines, b"CSeq: 1 " + method, b"", b""]
        parsed = message.parse(b"\r\n".join(pieces))
        assert (parsed._layout in message._layouts.known[len(pieces)].get(method, [])) == known
