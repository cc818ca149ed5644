"""Store, fetch and delete."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from crs.signaling import message
from crs.signaling.event import ItemChanged
from crs.signaling.message import ErrorCode, ItemKind
from crs.signaling.testing import MAX_STATE, WALL, Phone, World

INFO = message.ClientInfo(time=5.0, os="android", os_version="15", version="1.0")


def fetched(phone: Phone, kind: ItemKind, name: str = "") -> message.Fetched:
    phone.ask(message.Fetch, kind=kind, name=name)
    return phone.take(message.Fetched)


@pytest.mark.parametrize(
    ("item", "kind", "name", "object_"),
    [
        (INFO, ItemKind.info, "", "client_info"),
        (message.ClientToken(token=b"t"), ItemKind.token, "", "client_token"),
        (message.PushTokens(client_type="apns", tokens=["a"], created=1.0), ItemKind.push, "", "push_token"),
        (message.ClientData(name="n", data=b"d"), ItemKind.data, "n", "client_storage"),
        (message.TeamCode(name="red", settings="loud"), ItemKind.team_code, "red", "team_code"),
    ],
)
def test_an_item_from_store_to_delete(item: message.Item, kind: ItemKind, name: str, object_: str) -> None:
    world = World()
    phone, other = world.connect("+1").attach(), world.connect("+2").attach()
    phone.ask(message.Store, item=item)
    phone.take(message.Ok)
    world.advance(10)
    found = fetched(phone, kind, name)
    assert (found.item, found.saved) == (item, WALL)
    assert fetched(other, kind, name).item is None
    phone.ask(message.Delete, kind=kind, name=name)
    phone.take(message.Ok)
    gone = fetched(phone, kind, name)
    assert (gone.item, gone.saved) == (None, 0.0)
    changed = [(each.client.uri, each.what) for each in world.told(ItemChanged)]
    assert changed == [("+1", f"update {object_}"), ("+1", f"delete {object_}")]


def test_the_quota_is_named() -> None:
    world = World()
    phone = world.connect("+1").attach()
    for number in range(MAX_STATE + 1):
        phone.ask(message.Store, item=message.ClientData(name=str(number), data=b""))
    assert [type(each) for each in phone.inbox[:-1]] == [message.Ok] * MAX_STATE
    assert phone.inbox[-1].code is ErrorCode.quota


def test_a_store_that_fails() -> None:
    world = World(manual=True)
    phone = world.connect("+1")
    phone.ask(message.Attach, version="v")
    world.complete_all()
    phone.inbox.clear()
    phone.ask(message.Store, item=INFO)
    phone.ask(message.Fetch, kind=ItemKind.info)
    assert phone.silent()
    world.complete(fail=True)
    world.complete(fail=True)
    assert [each.code for each in phone.inbox] == [ErrorCode.unavailable] * 2
    assert not world.told(ItemChanged)


def test_what_is_stored_but_unreadable_is_an_error() -> None:
    world = World()
    phone = world.connect("+1").attach()
    world.storage.state[phone.client, ItemKind.info, ""] = b"garbage"
    phone.ask(message.Fetch, kind=ItemKind.info)
    assert phone.take(message.Error).code is ErrorCode.unavailable


@pytest.mark.parametrize(
    ("request_", "place"),
    [
        ({"type": "fetch", "kind": "info", "name": "n"}, "name"),
        ({"type": "delete", "kind": "data"}, "name"),
        ({"type": "fetch", "kind": "nonsense"}, "$.kind"),
        ({"type": "fetch", "kind": "data", "name": "with space"}, "$.name"),
        ({"type": "store", "item": {"kind": "nonsense"}}, "$.item.kind"),
        ({"type": "store", "item": {"kind": "data", "name": "", "data": b""}}, "$.item.name"),
        ({"type": "store", "item": {"kind": "token", "token": b""}}, "$.item.token"),
        (
            {"type": "store", "item": {"kind": "push", "client_type": "x", "tokens": [], "created": 1.0}},
            "tok",
        ),
        ({"type": "store", "item": {"kind": "info", "time": "now"}}, "$.item.time"),
    ],
)
def test_bad_requests_name_the_field(request_: dict[str, Any], place: str) -> None:
    world = World()
    phone = world.connect("+1").attach()
    phone.send(msgspec.msgpack.encode({"id": 1, **request_}))
    refused = phone.take(message.Error)
    assert (refused.id, refused.code) == (1, ErrorCode.bad_message)
    assert place in refused.reason
