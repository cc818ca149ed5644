"""Genesis systems are asked whether they live, and what their answers mean (guide 7.1.16 to 7.1.19)."""

from __future__ import annotations

from typing import Any

import pytest

from tests.haproxy.proxy.conftest import GENESIS_A, GENESIS_B, Make, call


class TestProbes:
    """Guide 7.1.16 to 7.1.19."""

    def test_asked_and_answered(self, world: Any) -> None:
        world.systems()
        world.advance(31)
        assert sorted(world.reached(b"OPTIONS")) == [GENESIS_A, GENESIS_B]
        probe = world.forwarded(GENESIS_A, b"OPTIONS")
        assert probe.first(b"user-agent") == b"Genesis Proxy"

    def test_two_lost_probes_make_it_inactive(self, world: Any) -> None:
        world.systems()
        while not world.reached(b"OPTIONS"):
            world.advance(0.5)
        place = world.reached(b"OPTIONS")[0]
        destination = next(d for d in world.assembly.dispatcher.members if place in d.uri.decode())
        world.advance(4.5)
        assert destination.state.value == "probing"
        world.advance(7)
        assert destination.state.value == "inactive"

    @pytest.mark.parametrize(("status", "state"), [(200, "active"), (404, "active"), (503, "probing")])
    def test_what_answers_mean(self, make_world: Make, status: int, state: str) -> None:
        world = make_world(astPingMethod="INFO")
        world.register("genesis_a", GENESIS_A)
        world.advance(20)
        world.answer(GENESIS_A, status, method=b"INFO")
        assert world.assembly.dispatcher.destinations(1)[0].state.value == state

    def test_it_comes_back_by_a_probe(self, world: Any) -> None:
        world.register("genesis_a", GENESIS_A)
        call(world)
        world.fail(GENESIS_A)
        for _ in range(2):
            world.sent.clear()
            world.advance(2.1)
            world.answer(GENESIS_A, 200, method=b"OPTIONS")
        assert world.assembly.dispatcher.destinations(1)[0].state.value == "active"

    def test_nonsense_is_a_failure_with_a_reason(self, world: Any) -> None:
        world.register("genesis_a", GENESIS_A)
        (system,) = world.assembly.dispatcher.members
        world.advance(16)
        for _ in range(2):
            assert world.reached(b"OPTIONS") == [GENESIS_A]
            world.sent.clear()
            world.receive(b"\x80\x00 what is this\r\n\r\n", GENESIS_A)
            world.advance(6.1)
        assert system.state.value == "inactive"
        assert system.reason.startswith("answered a probe with what is no SIP: ")

    def test_an_answer_after_nonsense_counts(self, world: Any) -> None:
        world.register("genesis_a", GENESIS_A)
        world.advance(16)
        world.receive(b"nonsense\r\n\r\n", GENESIS_A)
        world.answer(GENESIS_A, 200, method=b"OPTIONS")
        world.advance(5)
        (system,) = world.assembly.dispatcher.members
        assert system.state.value == "active"

    def test_a_dead_flow_has_whoever_is_there_asked(self, world: Any) -> None:
        world.systems()
        world.fail(GENESIS_A)  # nothing is on its way there, but the network says so all the same
        assert world.reached(b"OPTIONS") == [GENESIS_A]
        world.fail(GENESIS_A)
        (system,) = world.assembly.dispatcher.destinations(1)
        assert (system.state.value, system.usable) == ("inactive", False)

    def test_switched_off(self, make_world: Make) -> None:
        world = make_world(enableAstFailover=False)
        world.systems()
        world.advance(100)
        assert world.reached(b"OPTIONS") == []
