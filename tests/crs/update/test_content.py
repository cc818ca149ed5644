"""The content of an update: round trips, bounds, and what an authentic but hostile CMS might put in."""

import struct
import tracemalloc
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from crs.signaling.message import MAX_PAYLOAD
from crs.update import content
from crs.update.content import Head, TeamCode, build, parse
from crs.update.error import Damaged, InvalidContent, NotAnUpdate, TooLarge, UnknownVersion, UpdateError

HEAD = Head(account="demo", month="2026-10", created=1_790_000_000_123)
BLOBS = {"+461": b"one", "+462": b"", "+463": b"three"}

uris = st.text(st.characters(codec="utf-8", categories=("L", "N", "P", "S")), min_size=1, max_size=40)
codes = uris.filter(lambda text: "," not in text)
heads = st.builds(
    Head,
    account=st.from_regex(r"[A-Za-z0-9_-]{1,20}", fullmatch=True),
    month=st.builds("{:04}-{:02}".format, st.integers(1970, 9999), st.integers(1, 12)),
    created=st.integers(0, content.MAX_CREATED),
    listed_only=st.booleans(),
    team_codes=st.lists(
        st.builds(TeamCode, codes, st.lists(codes, max_size=4).map(tuple)),
        max_size=4,
        unique_by=lambda team: team.code,
    ).map(tuple),
    domain_token=st.text(st.characters(codec="utf-8", categories=("L", "N", "P", "S")), max_size=40),
    connected_domains=st.lists(st.from_regex(r"[a-z]{1,20}", fullmatch=True), max_size=3).map(tuple),
)
blobs = st.dictionaries(uris, st.binary(max_size=200), max_size=20)


@given(heads, blobs)
def test_what_is_built_is_parsed(head: Head, given_blobs: dict[str, bytes]) -> None:
    data = build(head, given_blobs)
    outline = parse(data)
    assert outline.head == head
    assert list(outline) == list(given_blobs)
    assert (len(outline), outline.size) == (len(given_blobs), len(data))
    for uri, blob in given_blobs.items():
        span = outline.span(uri)
        assert uri in outline and span is not None
        assert data[span[0] : sum(span)] == blob


def test_times() -> None:
    outline = parse(build(HEAD, {}))
    assert outline.created == datetime(2026, 9, 21, 14, 13, 20, 123000, UTC)
    assert str(outline.month) == "2026-10"
    assert content.when(content.MAX_CREATED).year == 9999


def test_who_is_not_listed() -> None:
    outline = parse(build(HEAD, BLOBS))
    assert "+464" not in outline and outline.span("+464") is None


def test_a_blob_fits_into_one_message_of_the_client_protocol() -> None:
    assert content.MAX_BLOB == MAX_PAYLOAD


def test_unknown_entries_are_ignored() -> None:
    """Of a newer CMS, in the head, in a client and in a team."""
    head = {
        "account": "a",
        "month": "2026-10",
        "created": 1,
        "later": [1, {"x": b"y"}],
        "clients": [["+461", 2, "more"]],
        "team_codes": [{"code": "red", "members": [], "colour": "red"}],
    }
    outline = parse(raw(head, b"xy"))
    assert list(outline) == ["+461"] and outline.head.team_codes == (TeamCode("red", ()),)


@given(st.binary(max_size=300))
def test_noise_is_refused(noise: bytes) -> None:
    for data in (noise, content.MAGIC + noise, content.PREFIX.pack(content.MAGIC, 1, len(noise)) + noise):
        with pytest.raises(UpdateError):
            parse(data)


def test_every_truncation_and_extension_is_refused() -> None:
    data = build(HEAD, BLOBS)
    for size in range(len(data)):
        with pytest.raises(UpdateError):
            parse(data[:size])
    with pytest.raises(InvalidContent, match="its head speaks of"):
        parse(data + b"\0")


def test_the_prefix() -> None:
    data = build(HEAD, BLOBS)
    with pytest.raises(NotAnUpdate):
        parse(b"crs-upx" + data[7:])
    with pytest.raises(UnknownVersion, match="version 2; this program knows 1"):
        parse(data[:7] + b"\2" + data[8:])
    with pytest.raises(Damaged, match="cut off"):
        parse(data[:11])
    with pytest.raises(TooLarge, match="at most 16,777,216"):
        parse(data[:8] + struct.pack(">I", content.MAX_HEAD + 1) + data[12:])


def raw(head: Any, blob_area: bytes = b"") -> bytes:
    encoded = msgspec.msgpack.encode(head)
    return content.PREFIX.pack(content.MAGIC, content.VERSION, len(encoded)) + encoded + blob_area


BASE = {"account": "a", "month": "2026-10", "created": 1}


@pytest.mark.parametrize(
    ("entries", "reason"),
    [
        ({"account": "a b"}, "account 'a b' is not valid"),
        ({"account": ""}, "account '' is not valid"),
        ({"month": "2026-13"}, "is not a month"),
        ({"month": 202610}, "Expected `str`, got `int` - at `$.month`"),
        ({"created": -1}, "at `$.created`"),
        ({"created": content.MAX_CREATED + 1}, "at `$.created`"),
        ({"created": 1.5}, "at `$.created`"),
        ({"listed_only": 1}, "at `$.listed_only`"),
        ({"clients": [["", 0]]}, "at `$.clients[0][0]`"),
        ({"clients": [["+46 1", 0]]}, "client '+46 1' is not valid"),
        ({"clients": [["+46\n", 0]]}, r"client '+46\n' is not valid"),
        ({"clients": [["x" * 256, 0]]}, "length <= 255"),
        ({"clients": [["+461"]]}, "at `$.clients[0]`"),
        ({"clients": [["+461", -1]]}, "at `$.clients[0][1]`"),
        ({"clients": [["+461", content.MAX_BLOB + 1]]}, "at `$.clients[0][1]`"),
        ({"clients": [["+461", 0], ["+462", 0], ["+461", 0]]}, "lists +461 twice"),
        ({"clients": [["+461", 1]]}, "its head speaks of"),
        ({"team_codes": [{"code": "a,b", "members": []}]}, "team code 'a,b' is not valid"),
        ({"team_codes": [{"code": "x" * 65, "members": []}]}, "length <= 64"),
        ({"team_codes": [{"code": "a", "members": ["+46,1"]}]}, "member of team a '+46,1' is not valid"),
        ({"team_codes": [{"code": "a", "members": []}] * 2}, "team code a twice"),
        ({"domain_token": "a\x1b[2J"}, "cannot be printed"),
        ({"domain_token": "x" * 1025}, "length <= 1024"),
        ({"connected_domains": ["a@b"]}, "connected domain 'a@b' is not valid"),
        ({"connected_domains": ["a"] * 1001}, "length <= 1000"),
    ],
)
def test_impossible_content_is_refused_by_entry(entries: dict[str, Any], reason: str) -> None:
    with pytest.raises(InvalidContent) as caught:
        parse(raw(BASE | entries))
    assert reason in str(caught.value)
    assert str(caught.value).isprintable()


@pytest.mark.parametrize("missing", list(BASE))
def test_required_entries(missing: str) -> None:
    with pytest.raises(InvalidContent, match=missing):
        parse(raw({key: value for key, value in BASE.items() if key != missing}))


def peak(action: Callable[[], object]) -> int:
    """Bytes that it has in use at most."""
    tracemalloc.start()
    try:
        action()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("count", [content.MAX_CLIENTS + 1, 3_000_000, 2**32 - 1])
def test_a_huge_count_of_clients_is_refused_before_it_is_read(count: int) -> None:
    """Whether the clients are there or the count is a lie."""
    entry = msgspec.msgpack.encode(["a", 0])
    clients = b"\xdd" + struct.pack(">I", count) + entry * min(count, 3_000_000)
    encoded = msgspec.msgpack.encode(BASE)
    encoded = bytes((encoded[0] + 1,)) + encoded[1:] + msgspec.msgpack.encode("clients") + clients
    data = content.PREFIX.pack(content.MAGIC, content.VERSION, len(encoded)) + encoded

    def refused() -> None:
        with pytest.raises(InvalidContent, match="length <= 100000"):
            parse(data)

    assert peak(refused) < 20 * 2**20


def test_nesting_does_not_exhaust_the_stack() -> None:
    encoded = b"\x84" + msgspec.msgpack.encode(BASE)[1:] + b"\xa1x" + b"\x91" * 1_000_000
    with pytest.raises(InvalidContent):
        parse(content.PREFIX.pack(content.MAGIC, content.VERSION, len(encoded)) + encoded)


def test_the_largest_list_of_clients() -> None:
    outline = parse(build(HEAD, {f"+4670{number:07}": b"" for number in range(content.MAX_CLIENTS)}))
    assert len(outline) == content.MAX_CLIENTS and "+46700099999" in outline
    with pytest.raises(InvalidContent, match="length <= 100000"):
        build(HEAD, {str(number): b"" for number in range(content.MAX_CLIENTS + 1)})


def test_what_cannot_be_parsed_is_not_built() -> None:
    with pytest.raises(InvalidContent, match="at `"):
        build(HEAD, {"+461": bytes(content.MAX_BLOB + 1)})
    with pytest.raises(InvalidContent, match="is not a month"):
        build(msgspec.structs.replace(HEAD, month="soon"), {})
