"""A proxy that takes no new calls, and one whose transactions are flushed."""

from __future__ import annotations

from typing import Any

import pytest

GENESIS_A, PHONE, HOME = "192.0.2.11:5060", "192.0.2.50:5060", "sip:100@192.0.2.1"


def call(world: Any, method: str = "INVITE", **names: Any) -> None:
    world.receive(world.request(method, HOME, PHONE, "Contact: <sip:x@192.0.2.50>", **names), PHONE)


def up(world: Any) -> list[str]:
    """A call is up; its route set."""
    world.systems()
    call(world, call="the-call", cseq=1)
    world.answer(GENESIS_A, 200)
    answered = world.response(PHONE)
    return [f"Route: {value.decode()}" for value in reversed(answered.values(b"record-route"))]


def test_new_calls_are_refused_and_dialogs_go_on(world: Any) -> None:
    routes = up(world)
    to = world.response(PHONE).first(b"to").decode()
    world.core.refusal = "drained"
    assert len(world.core.calls) == 1
    call(world, call="another")
    refused = world.response(PHONE)
    assert (refused.status, refused.first(b"retry-after")) == (503, b"60")
    assert world.register("5000", PHONE).status == 200
    for method in ("INVITE", "BYE"):
        uri = f"sip:callee@{GENESIS_A}"
        world.receive(world.request(method, uri, PHONE, *routes, to=to, call="the-call"), PHONE)
        world.answer(GENESIS_A, 200, method=method.encode())
        assert world.response(PHONE).status == 200
    assert len(world.core.calls) == 0
    world.core.refusal = ""
    call(world, call="a third")
    assert world.forwarded(GENESIS_A).call_id == b"a third"


def test_a_repeated_200_brings_no_call_back(world: Any) -> None:
    routes = up(world)
    to = world.response(PHONE).first(b"to").decode()
    invite = world.forwarded(GENESIS_A)
    bye = world.request("BYE", f"sip:callee@{GENESIS_A}", PHONE, *routes, to=to, call="the-call")
    world.receive(bye, PHONE)
    world.answer(GENESIS_A, 200, method=b"BYE")
    before = len(world.sent)
    world.receive(bytes(invite.response(200, to_tag=b"t")), GENESIS_A)
    assert [message.status for message, _ in world.sent[before:]] == [200], "it is passed on all the same"
    assert len(world.core.calls) == 0


@pytest.mark.parametrize("call_id", [None, b"waits"])
def test_flushed_transactions_are_answered(world: Any, call_id: bytes | None) -> None:
    up(world)
    call(world, call="waits")
    before = len(world.core.layer)
    assert world.core.flush(call_id, world.now) == (before if call_id is None else 2)
    world.collect()
    assert world.response(PHONE).status == 503
    ringing = [each for each in world.core.layer.transactions() if each.call_id == b"waits"]
    assert [each.method for each in ringing] == [b"INVITE"], "its refusal is still to be acknowledged"
    assert len(world.core.layer) == (1 if call_id is None else before - 1)
    assert len(world.core.calls) == 1
    world.advance(200)  # what is left are probes
    assert {each.method for each in world.core.layer.transactions()} <= {b"OPTIONS"}


def test_a_late_answer_after_a_flush_does_no_harm(world: Any) -> None:
    up(world)
    call(world, call="waits")
    world.core.flush(None, world.now)
    world.collect()
    world.sent = [(m, w) for m, w in world.sent if w == GENESIS_A]
    world.answer(GENESIS_A, 200)
    assert [m for m, w in world.sent if w == PHONE] == []
