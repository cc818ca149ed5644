"""A call goes on to the next Genesis system when one does not answer, or says that it cannot."""

from __future__ import annotations

from typing import Any

import pytest

from haproxy.dispatcher.set import PrimaryChanged
from tests.haproxy.proxy.conftest import GENESIS_A, GENESIS_B, HOME, PHONE, Make, call


class TestFailover:
    """Guide 1.2.1, and DECISIONS: 4 s without any response, 5xx, transport errors."""

    def test_no_response_for_four_seconds(self, world: Any) -> None:
        world.systems()
        call(world)
        world.advance(3.9)
        assert world.reached() == [GENESIS_A]
        world.advance(0.3)
        assert world.reached() == [GENESIS_A, GENESIS_B]
        assert [event.current for event in world.events if isinstance(event, PrimaryChanged)] == [0]
        world.answer(GENESIS_B, 200)
        assert world.statuses(PHONE) == [200]

    def test_silence_is_no_silence_while_we_are_deaf_ourselves(self, world: Any) -> None:
        world.systems()
        deaf_until = world.now + 6.0
        world.assembly.dispatcher.deaf = lambda since: since <= deaf_until
        call(world)
        world.advance(7.9)
        assert set(world.reached()) == {GENESIS_A}
        world.answer(GENESIS_A, 200)
        assert world.statuses(PHONE) == [200]
        assert world.assembly.dispatcher.primary == 1

    def test_but_the_caller_does_not_wait_for_ever(self, world: Any) -> None:
        world.systems()
        world.assembly.dispatcher.deaf = lambda since: True
        call(world)
        world.advance(11.9)
        assert GENESIS_B not in world.reached()
        world.advance(0.3)
        assert world.reached()[-1] == GENESIS_B

    def test_transport_error_counts_at_once(self, world: Any) -> None:
        world.systems()
        call(world)
        world.fail(GENESIS_A)
        assert world.reached() == [GENESIS_A, GENESIS_B]
        world.sent.clear()
        call(world)
        assert world.reached() == [GENESIS_B]

    def test_server_failure_goes_on_but_keeps_the_system(self, world: Any) -> None:
        world.systems()
        call(world)
        world.answer(GENESIS_A, 500)
        assert world.reached() == [GENESIS_A, GENESIS_B]
        assert world.assembly.dispatcher.primary == 1

    @pytest.mark.parametrize("status", [404, 486, 603])
    def test_the_users_answer_is_final(self, world: Any, status: int) -> None:
        world.systems()
        call(world)
        world.answer(GENESIS_A, status)
        assert world.reached() == [GENESIS_A]
        assert world.statuses(PHONE) == [status]

    def test_ringing_is_a_response(self, world: Any) -> None:
        world.systems()
        call(world)
        world.answer(GENESIS_A, 180)
        world.advance(60)
        assert world.reached() == [GENESIS_A]

    @pytest.mark.parametrize("rings", [1, 60])
    def test_nothing_waits_for_long_after_the_call(self, world: Any, rings: float) -> None:
        world.systems()
        call(world)
        world.answer(GENESIS_A, 180)
        world.advance(rings)
        assert len(list(world.core.waiting)) == 1
        world.answer(GENESIS_A, 200)
        world.advance(4.2)
        assert not list(world.core.waiting)

    def test_a_system_that_registers_again_is_called_where_it_is_now(self, world: Any) -> None:
        for connection in (1, 2):
            data = world.request(
                "REGISTER", "sip:192.0.2.1", GENESIS_A, f"Contact: <sip:genesis_a@{GENESIS_A};transport=tcp>",
                to="<sip:genesis_a@192.0.2.1>", call="r",
            )  # fmt: skip
            world.receive(data, GENESIS_A, transport="tcp", connection=connection)
            call(world)
            assert (world.flows[-1].transport, world.flows[-1].connection) == ("tcp", connection)

    def test_all_fail(self, world: Any) -> None:
        world.systems()
        call(world)
        world.fail(GENESIS_A)
        world.fail(GENESIS_B)
        assert world.statuses(PHONE) == [503]

    def test_a_late_answer_of_the_first_is_not_lost(self, world: Any) -> None:
        world.systems()
        call(world)
        world.advance(4.2)
        world.answer(GENESIS_A, 200)
        assert world.statuses(PHONE) == [200]
        assert world.reached(b"CANCEL") == []
        world.answer(GENESIS_B, 180)
        assert world.reached(b"CANCEL") == [GENESIS_B]

    @pytest.mark.parametrize("dead", [True, False])
    def test_a_late_answer_of_the_first_while_the_next_is_silent(self, world: Any, dead: bool) -> None:
        world.systems()
        call(world)
        world.advance(4.2)
        assert world.reached() == [GENESIS_A, GENESIS_B]
        world.answer(GENESIS_A, 200)
        if dead:
            world.fail(GENESIS_B)
        world.advance(40)  # its alarm must not need the request any more, which is shed
        assert world.statuses(PHONE) == [200]

    def test_registering_again_brings_it_back(self, world: Any) -> None:
        world.systems()
        call(world)
        world.fail(GENESIS_A)
        world.advance(2.0)
        world.register("genesis_a", GENESIS_A)
        (system,) = world.assembly.dispatcher.destinations(1)
        assert system.state.value == "inactive"  # one sign of life is not enough
        world.advance(0.1)
        world.answer(GENESIS_A, 200, method=b"OPTIONS")
        assert system.state.value == "active"

    def test_without_probes_registering_is_enough(self, make_world: Make) -> None:
        world = make_world(enableAstFailover=False)
        world.systems()
        call(world)
        world.fail(GENESIS_A)
        world.register("genesis_a", GENESIS_A)
        assert [d.state.value for d in world.assembly.dispatcher.destinations(1)] == ["active"]

    def test_whoever_has_failed_meanwhile_is_not_tried(self, world: Any) -> None:
        world.systems()
        call(world)
        (backup,) = world.assembly.dispatcher.destinations(0)
        world.assembly.dispatcher.failed(backup, "gone", world.now)
        world.fail(GENESIS_A)
        assert world.reached() == [GENESIS_A]
        assert world.statuses(PHONE) == [503]

    def test_one_silent_call_says_nothing_where_others_are_answered(self, world: Any) -> None:
        world.systems()
        call(world)
        world.advance(2.0)
        call(world)
        world.answer(GENESIS_A, 486)
        world.advance(2.5)
        assert world.reached() == [GENESIS_A, GENESIS_B]
        (system,) = world.assembly.dispatcher.destinations(1)
        assert system.state.value == "active"

    def test_silence_to_what_is_no_call_has_the_system_asked(self, world: Any) -> None:
        """A stranger may know a request that Genesis does not answer."""
        world.systems()
        for _ in range(5):
            world.receive(world.request("MESSAGE", HOME, PHONE), PHONE)
        asked = world.reached(b"OPTIONS").count(GENESIS_A)
        world.advance(4.2)
        (system,) = world.assembly.dispatcher.destinations(1)
        assert system.state.value == "active"
        assert world.reached(b"OPTIONS").count(GENESIS_A) > asked

    def test_503_moves_the_call_on_and_has_the_system_asked(self, world: Any) -> None:
        world.systems()
        call(world)
        world.answer(GENESIS_A, 503)
        assert world.reached() == [GENESIS_A, GENESIS_B]
        world.advance(0.1)
        assert world.reached(b"OPTIONS") == [GENESIS_A]
        world.answer(GENESIS_A, 503, method=b"OPTIONS")
        world.advance(2.1)
        world.answer(GENESIS_A, 503, method=b"OPTIONS")
        (system,) = world.assembly.dispatcher.destinations(1)
        assert (system.state.value, system.reason) == ("inactive", "answered 503 to a probe")

    @pytest.mark.parametrize(("asked", "rest"), [("7", 7), ("20 (a minute);duration=9", 20), ("3600", 60)])
    def test_a_system_that_says_retry_after_gets_no_new_calls_so_long(
        self, make_world: Any, asked: str, rest: int
    ) -> None:
        world = make_world(enableAstFailover=False)
        world.systems()
        call(world)
        world.answer(GENESIS_A, 503, f"Retry-After: {asked}")
        assert world.reached() == [GENESIS_A, GENESIS_B]
        world.answer(GENESIS_B, 486)
        world.advance(rest - 0.1)
        assert self.asked_next(world) == GENESIS_B
        (system,) = world.assembly.dispatcher.destinations(1)
        assert system.state.value == "active"
        world.advance(0.1)
        assert self.asked_next(world) == GENESIS_A

    def asked_next(self, world: Any) -> str:
        """Who gets the next call, and is busy."""
        world.sent.clear()
        call(world)
        (place,) = world.reached()
        world.answer(place, 486)
        return str(place)

    def test_systems_that_all_ask_for_rest_get_calls_all_the_same(self, world: Any) -> None:
        """All or nothing would be worse than their own 503 (RFC 5390 section 5)."""
        world.systems()
        call(world)
        world.answer(GENESIS_A, 503, "Retry-After: 30")
        world.answer(GENESIS_B, 503, "Retry-After: 20")
        assert self.asked_next(world) == GENESIS_B
