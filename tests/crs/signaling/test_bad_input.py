"""Every request with wrong, missing and unknown entries, in any order: the error names the entry."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, get_args

import msgspec
import pytest
from msgspec import inspect

from crs.signaling import message
from crs.signaling.message import ErrorCode
from crs.signaling.testing import Phone, World

REQUESTS: list[type[message.Request]] = list(get_args(message.ClientMessage))
TEXTS = ("a", "+2", "123456", "2026-11", "a b", "x" * 64)


def example(kind: inspect.Type) -> Any:
    """A value of a type, as it goes over the wire."""
    match kind:
        case inspect.BoolType():
            return False
        case inspect.IntType():
            return max(kind.ge or 0, 1)
        case inspect.FloatType():
            return 1.0
        case inspect.StrType():
            return next(text for text in TEXTS if re.search(kind.pattern or "", text))
        case inspect.BytesType():
            return bytes(kind.min_length or 1)
        case inspect.EnumType():
            return next(iter(kind.cls)).value
        case inspect.ListType():
            return [example(kind.item_type)] * max(kind.min_length or 0, 1)
        case inspect.StructType():
            tag = {kind.tag_field: kind.tag} if kind.tag_field is not None else {}
            return tag | {field.encode_name: example(field.type) for field in kind.fields}
        case inspect.UnionType():
            return example(kind.types[0])
        case _:
            raise AssertionError(kind)


def wrong(kind: inspect.Type) -> Iterator[Any]:
    """Values that a type does not have."""
    match kind:
        case inspect.UnionType():
            yield []
        case inspect.BoolType():
            yield from (1, "yes", None)
        case inspect.IntType():
            yield from ("1", 1.5, None, 2**64 - 1, -(2**63))
        case inspect.FloatType():
            yield from ("1", None)
        case inspect.StrType():
            yield from (1, b"bytes", None, ["a"])
            if kind.max_length is not None or kind.pattern is not None:
                yield "x" * 40_000 if kind.max_length is None else "x" * (kind.max_length + 1)
            if kind.min_length or re.search(kind.pattern or "", "") is None:
                yield ""
        case inspect.BytesType():
            yield from (1, "\xff", None)
            if kind.max_length is not None:
                yield bytes(kind.max_length + 1)
        case inspect.EnumType():
            yield from ("no such value", 1, None)
        case inspect.ListType():
            yield from ({}, 1, None)
            if kind.max_length is not None:
                yield [example(kind.item_type)] * (kind.max_length + 1)
            if kind.min_length:
                yield []
            for item in wrong(kind.item_type):
                yield [item]
        case inspect.StructType():
            yield from (1, [], {}, None)


def valid(request: type[message.Request]) -> dict[str, Any]:
    """A request with all its entries, as it goes over the wire."""
    value: dict[str, Any] = example(inspect.type_info(request))
    return value


def lives(phone: Phone) -> bool:
    """Whether the connection is still served, and nothing was said meanwhile."""
    assert phone.silent() and phone.closed is None
    phone.world.advance(1)
    phone.inbox.clear()
    phone.ask(message.Fetch, kind=message.ItemKind.info)
    return phone.take(message.Fetched).item is None and phone.silent()


@pytest.fixture
def phone() -> Phone:
    return World().connect("+1").attach()


@pytest.mark.parametrize("request_type", REQUESTS, ids=lambda request: request.__name__)
def test_an_entry_that_is_wrong_or_missing_is_named(
    phone: Phone, request_type: type[message.Request]
) -> None:
    described = inspect.type_info(request_type)
    assert isinstance(described, inspect.StructType)
    cases: list[tuple[str, dict[str, Any]]] = []
    for field in described.fields:
        name = field.encode_name
        cases += [(name, valid(request_type) | {name: value}) for value in wrong(field.type)]
        if field.required:
            cases.append((name, {key: value for key, value in valid(request_type).items() if key != name}))
    assert cases
    for name, case in cases:
        phone.send(msgspec.msgpack.encode(case))
        error = phone.take(message.Error)
        assert error.code in (ErrorCode.bad_message, ErrorCode.too_large)
        assert f"$.{name}" in error.reason or f"`{name}`" in error.reason, (case, error)
        assert error.id == (None if name == "id" else 1)
        assert lives(phone)


@pytest.mark.parametrize("request_type", REQUESTS, ids=lambda request: request.__name__)
def test_unknown_entries_are_ignored_and_a_repeated_id_is_answered_again(
    phone: Phone, request_type: type[message.Request]
) -> None:
    """Whatever the request, in a state that has no calls, groups or items: one reply each time."""
    for _ in range(2):
        phone.send(msgspec.msgpack.encode(valid(request_type) | {"later": {"version": 2}}))
        replies = [each for each in phone.inbox if isinstance(each, message.Reply | message.Error)]
        assert [reply.id for reply in replies] == [1]
        if isinstance(replies[0], message.Error):
            assert "later" not in replies[0].reason
        phone.inbox.clear()


@pytest.mark.parametrize("request_type", REQUESTS, ids=lambda request: request.__name__)
def test_nothing_but_attach_and_detach_before_the_attach(request_type: type[message.Request]) -> None:
    stranger = World().connect("+1")
    stranger.send(msgspec.msgpack.encode(valid(request_type)))
    if request_type in (message.Attach, message.Detach):
        assert not isinstance(stranger.inbox[0], message.Error)
    else:
        assert stranger.take(message.Error).code is ErrorCode.not_attached
        assert stranger.silent()


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xc1",
        b"\x80",
        b"\x81\xa4type",
        b"text",
        msgspec.msgpack.encode([1, 2]),
        msgspec.msgpack.encode({"type": "no-such-request", "id": 1}),
        msgspec.msgpack.encode({"type": "ok", "id": 1}),
        msgspec.msgpack.encode({"id": 1}),
        b"\x91" * 2000,
        b"\xdf\xff\xff\xff\xff",
    ],
)
def test_what_is_no_request(phone: Phone, data: bytes) -> None:
    phone.send(data)
    assert phone.take(message.Error).code is ErrorCode.bad_message
    assert lives(phone)
