"""What came with one batch is parsed first, and worked on when it is asked what to send."""

from __future__ import annotations

from typing import Any

import pytest

from haproxy.sip.flow import Flow
from rtlib.address import pack
from tests.haproxy.proxy.conftest import GENESIS_A, HOME, PHONE, Make, call


class TestStages:
    """What came with one batch is parsed first, and worked on when it is asked what to send."""

    def test_the_messages_of_a_batch_are_answered_together(self, world: Any) -> None:
        world.systems()
        flow = Flow("udp", 0, pack("192.0.2.50", 5060))
        for number in range(300):  # more than may wait
            invite = world.request("INVITE", HOME, PHONE, f"Contact: <sip:{number}@{PHONE}>")
            world.core.receive(invite, flow, world.now)
        sent = world.core.to_send(world.now)
        assert [data[:6] for data, _ in sent] == [b"INVITE"] * 300
        assert world.core.to_send(world.now) == []

    def test_a_retransmission_in_the_same_batch_is_absorbed(self, world: Any) -> None:
        world.systems()
        flow = Flow("udp", 0, pack("192.0.2.50", 5060))
        invite = world.request("INVITE", HOME, PHONE)
        for _ in range(2):
            world.core.receive(invite, flow, world.now)
        assert len(world.core.to_send(world.now)) == 1

    def test_a_defect_met_by_one_message_leaves_the_others(self, make_world: Make) -> None:
        class Defective:
            def pass_on(self, *_: object, **__: object) -> bytes:
                raise RuntimeError("defect")

        world = make_world(media=Defective())
        world.systems()
        flow = Flow("udp", 0, pack("192.0.2.50", 5060))
        sdp = world.request("INVITE", HOME, PHONE, "Content-Type: application/sdp", body=b"v=0\r\n")
        for data in (sdp, world.request("INVITE", HOME, PHONE)):
            world.core.receive(data, flow, world.now)
        with pytest.raises(RuntimeError, match="defect"):
            world.core.to_send(world.now)
        assert world.core.get_timer() <= world.now
        world.collect()
        assert world.forwarded(GENESIS_A).method == b"INVITE"

    def test_answered_requests_keep_only_what_names_them(self, world: Any) -> None:
        world.systems()
        call(world, call="the-call")
        world.answer(GENESIS_A, 200)
        of_call = [each for each in world.core.layer.transactions() if each.call_id == b"the-call"]
        assert [each.method for each in of_call] == [b"INVITE", b"INVITE"]
        assert all(not hasattr(each.request, "_lines") for each in of_call)
