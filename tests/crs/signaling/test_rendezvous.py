"""Attachments, bad input and limits."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from crs.limits import LimitTable
from crs.signaling import message
from crs.signaling.event import AttachEvent, Offence
from crs.signaling.message import ErrorCode, RelayKind
from crs.signaling.testing import World


def test_attach_and_detach() -> None:
    world = World()
    phone = world.connect("+1")
    phone.ask(message.Attach, version="v1")
    attached = phone.take(message.Attached)
    assert (attached.uri, attached.account, attached.server) == ("+1", "a", "crs/test")
    phone.ask(message.Detach)
    phone.take(message.Ok)
    assert phone.closed is None
    assert [event.state for event in world.told(AttachEvent)] == ["registered", "unregistered"]


def test_the_newer_connection_wins() -> None:
    world = World()
    older = world.connect("+1").attach()
    newer = world.connect("+1").attach()
    assert older.take(message.Detached).reason == "superseded"
    assert older.closed == (4000, "superseded")
    world.disconnect(older)
    connection = world.machine.attachments.find(newer.client)
    assert connection is not None and connection.number == newer.number


def test_attached_only_once_it_is_durable() -> None:
    world = World(manual=True)
    phone = world.connect("+1")
    phone.ask(message.Attach, version="v")
    assert phone.silent()
    phone.ask(message.Post, message="m", to="+1", payload=b"")
    assert phone.take(message.Error).code is ErrorCode.not_attached
    world.complete(fail=True)
    assert phone.take(message.Error).code is ErrorCode.unavailable
    phone.ask(message.Attach, version="v")
    world.complete()
    phone.take(message.Attached)


def test_a_detach_overtakes_an_attach() -> None:
    world = World(manual=True)
    phone = world.connect("+1")
    phone.ask(message.Attach, version="v")
    phone.ask(message.Detach)
    assert phone.take(message.Error).id == 1
    phone.take(message.Ok)
    world.complete_all()
    assert phone.silent()
    assert world.machine.attachments.attached_count == 0


def test_a_denied_client_stays_connected() -> None:
    world = World()
    phone = world.connect("+1")
    world.denied[phone.client] = "on the blacklist"
    phone.ask(message.Attach, version="v")
    refused = phone.take(message.Error)
    assert (refused.code, refused.reason) == (ErrorCode.denied, "on the blacklist")
    world.advance(3600)
    assert phone.closed is None
    assert phone.client not in world.machine.directory
    del world.denied[phone.client]
    phone.attach()
    assert [event.state for event in world.told(AttachEvent)] == ["denied", "registered"]


def test_an_attached_client_is_denied() -> None:
    world = World(cleanup=5)
    phone = world.connect("+1").attach()
    world.machine.deny(phone.client, world.now)
    world.flush()
    assert phone.take(message.Detached).reason == "denied"
    assert [event.state for event in world.told(AttachEvent)] == ["registered", "unregistered", "denied"]
    world.advance(5.2)
    assert phone.closed == (4002, "not registered")


@pytest.mark.parametrize("cleanup", [0.0, 5.0])
def test_detach_cleanup_closes_who_is_not_registered_any_more(cleanup: float) -> None:
    world = World(cleanup=cleanup)
    never = world.connect("+2")
    back = world.connect("+3").attach()
    phone = world.connect("+1").attach()
    for each in (phone, back):
        each.ask(message.Detach)
        each.take(message.Ok)
    back.attach()
    if cleanup:
        world.advance(cleanup - 0.2)
        assert phone.closed is None
    world.advance(0.4)
    assert phone.closed == (4002, "not registered")
    assert (never.closed, back.closed) == (None, None)


def test_detach_cleanup_of_a_client_that_was_denied() -> None:
    world = World(cleanup=5)
    phone = world.connect("+1")
    world.denied[phone.client] = "on the blacklist"
    phone.ask(message.Attach, version="v")
    world.advance(3)
    phone.ask(message.Attach, version="v")
    world.advance(2.2)
    assert phone.closed == (4002, "not registered")
    gone = world.connect("+1")
    gone.ask(message.Attach, version="v")
    gone.hang_up_line()
    world.advance(10)


def test_an_error_names_the_field_and_the_request() -> None:
    world = World()
    phone = world.connect("+1").attach()
    phone.send(msgspec.msgpack.encode({"type": "invite", "id": 7, "session": "s", "to": 5}))
    refused = phone.take(message.Error)
    assert (refused.id, refused.code) == (7, ErrorCode.bad_message)
    assert "$.to" in refused.reason
    phone.send(msgspec.msgpack.encode({"type": "dance", "id": 8}))
    assert phone.take(message.Error).id == 8
    phone.send(b"\xc1")
    assert phone.take(message.Error).id is None
    assert len(world.told(Offence)) == 3


def test_unknown_fields_are_ignored() -> None:
    world = World()
    phone = world.connect("+1")
    phone.send(msgspec.msgpack.encode({"type": "attach", "id": 1, "version": "v", "colour": [1, {}]}))
    phone.take(message.Attached)


def test_too_many_requests() -> None:
    world = World()
    phone = world.connect("+1").attach()
    for _ in range(250):
        phone.ask(message.Hangup, session="s", caller="+1")
    codes = [received.code for received in phone.inbox]
    assert codes.count(ErrorCode.limit) == 51
    for _ in range(440):
        phone.ask(message.Hangup, session="s", caller="+1")
    world.advance(1)
    assert phone.closed is None
    for _ in range(50 + 9 + 6):
        phone.ask(message.Hangup, session="s", caller="+1")
    assert phone.closed == (1008, "too many requests")
    assert world.machine.attachments.find(phone.client) is None


def test_an_account_has_limits_of_its_own() -> None:
    limits = LimitTable([("requests-per-second", 1, "a"), ("sessions-per-client", 1, "a")])
    world = World(limits=limits)
    strict, free = world.connect("+1").attach(), world.connect("+1", "b").attach()
    for phone in (strict, free):
        for _ in range(10):
            phone.ask(message.Hangup, session="s", caller="+1")
    refused = [[each.code for each in phone.inbox].count(ErrorCode.limit) for phone in (strict, free)]
    assert refused == [7, 0]
    assert limits.reached["requests-per-second"] == 7
    world.connect("+2", "b").attach()
    strict.inbox.clear()
    for label in ("s1", "s2"):
        world.advance(2)
        strict.ask(message.Invite, session=label, to="+2", account="b", streams=[RelayKind.rtp])
    assert [type(each) for each in strict.inbox] == [message.Inviting, message.Error]
    assert strict.inbox[1].reason == "+1@a may have 1 calls at a time"
    assert limits.reached["sessions-per-client"] == 1


def test_all_connections_of_a_client_share_a_limit_and_the_next_one_as_well() -> None:
    limits = LimitTable([("requests-per-second", 1, None)])
    world = World(limits=limits)
    one, other = world.connect("+1").attach(), world.connect("+1")
    for _ in range(3):
        one.ask(message.Hangup, session="s", caller="+1")
    one.inbox.clear()
    for phone in (one, other):
        phone.ask(message.Attach, version="v")
        assert phone.take(message.Error).code is ErrorCode.limit
    for phone in (one, other):
        world.disconnect(phone)
    again = world.connect("+1")
    again.ask(message.Attach, version="v")
    assert again.take(message.Error).code is ErrorCode.limit
    assert limits.reached == {"requests-per-second": 3}
    world.advance(1)
    again.attach()


def test_all_connections_of_an_address_share_a_limit() -> None:
    limits = LimitTable([("requests-per-address", 2, None)])
    world = World(limits=limits)
    one, two = world.connect("+1").attach(), world.connect("+2").attach()
    elsewhere = world.connect("+3", host="192.0.2.2").attach()
    neighbours = [world.connect(f"+{n}", host=f"2001:db8::{n}").attach() for n in (4, 5)]
    for phone in (one, two, elsewhere, *neighbours):
        for number in range(4):
            phone.ask(message.Post, message=f"m{number}", to="+9", payload=b"")
    refused = [
        [each.code for each in phone.inbox].count(ErrorCode.limit)
        for phone in (one, two, elsewhere, *neighbours)
    ]
    assert refused == [0, 2, 0, 0, 2]
    assert limits.reached == {"requests-per-address": 4}
    world.advance(1)
    two.inbox.clear()
    two.ask(message.Post, message="m", to="+9", payload=b"")
    assert two.take(message.Error).code is ErrorCode.not_found


def test_invites_have_a_limit_of_their_own() -> None:
    world = World()
    world.connect("+2").attach()
    one = world.connect("+1").attach()
    for number in range(21):
        one.ask(message.Invite, session=f"s{number}", to="+2", streams=[RelayKind.rtp])
        one.ask(message.Hangup, session=f"s{number}", caller="+1")
    errors = [received.code for received in one.inbox if isinstance(received, message.Error)]
    assert errors == [ErrorCode.limit, ErrorCode.unknown_session]


@given(st.binary(max_size=200))
def test_any_bytes_get_one_error_or_one_reply(data: bytes) -> None:
    world = World()
    phone = world.connect("+1").attach()
    phone.send(data)
    assert len(phone.inbox) == 1


@given(st.lists(st.binary(max_size=8), max_size=6), st.integers(1, 39_000))
def test_deep_nesting_is_no_way_in(parts: list[bytes], depth: int) -> None:
    world = World()
    phone = world.connect("+1").attach()
    phone.send(b"\x82\xa4type\xa6attach\xa1x" + b"\x91" * depth + b"".join(parts))
    assert len(phone.inbox) == 1
