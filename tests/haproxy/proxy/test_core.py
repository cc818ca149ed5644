"""What the proxy does with whole calls: routing rules, failover, CANCEL, dialogs, refusals."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from haproxy.dispatcher.set import PrimaryChanged
from haproxy.proxy.event import Offence, Resolve
from haproxy.sip.flow import Flow
from haproxy.sip.message import Request
from rtlib.address import pack

GENESIS_A = "192.0.2.11:5060"
GENESIS_B = "192.0.2.12:5060"
PHONE = "192.0.2.50:5060"
OUTSIDE = "198.51.100.7:5060"
HOME = "sip:100@192.0.2.1"

Make = Callable[..., Any]


def call(world: Any, source: str = PHONE, uri: str = HOME, *headers: str, **names: Any) -> None:
    contact = f"Contact: <sip:caller@{source}>"
    world.receive(world.request("INVITE", uri, source, contact, *headers, **names), source)


def in_dialog(world: Any, method: str, source: str, place: str) -> bytes:
    """The caller's next request, as the answered INVITE's route set says."""
    answered = world.response(source)
    routes = [f"Route: {value.decode()}" for value in reversed(answered.values(b"record-route"))]
    to = answered.first(b"to").decode()
    request = world.request(method, f"sip:callee@{place}", source, *routes, to=to, call="the-call", cseq=1)
    return bytes(request)


class TestRules:
    """Guide 1.2.4."""

    def test_genesis_calls_a_registered_user(self, world: Any) -> None:
        world.systems()
        world.register("5000", PHONE)
        call(world, GENESIS_A, "sip:5000@192.0.2.1")
        assert world.forwarded(PHONE).uri == b"sip:5000@192.0.2.50:5060"

    @pytest.mark.parametrize(("user", "status"), [("5001", 480), ("nobody", 404)])
    def test_genesis_calls_a_user_who_is_not_there(self, world: Any, user: str, status: int) -> None:
        world.systems()
        call(world, GENESIS_A, f"sip:{user}@192.0.2.1")
        assert world.response(GENESIS_A).status == status

    def test_genesis_calls_elsewhere(self, world: Any) -> None:
        world.systems()
        call(world, GENESIS_A, "sip:123@198.51.100.7", "Route: <sip:192.0.2.1;lr>")
        sent = world.forwarded(OUTSIDE)
        assert sent.uri == b"sip:123@198.51.100.7"
        assert b"route" not in sent

    def test_others_reach_genesis(self, world: Any) -> None:
        world.systems()
        call(world)
        assert world.forwarded(GENESIS_A).uri == HOME.encode()

    def test_others_do_not_get_elsewhere(self, world: Any) -> None:
        world.systems()
        call(world, PHONE, "sip:123@198.51.100.7")
        assert world.response(PHONE).status == 403
        assert world.reached() == []

    def test_listed_sources_get_elsewhere(self, make_world: Make) -> None:
        world = make_world(proxyList=["192.0.2.50"])
        call(world, PHONE, "sip:123@198.51.100.7")
        assert world.reached() == [OUTSIDE]

    def test_round_robin(self, world: Any) -> None:
        world.systems()
        world.register("genesis_a2", GENESIS_A)  # not a subscriber
        assert world.response(GENESIS_A).status == 403
        world.assembly.dispatcher.registered(b"genesis_a", b"sip:genesis_a@192.0.2.13", None, world.now)
        for _ in range(3):
            call(world)
        assert [where for message, where in world.sent if message.start_line.startswith(b"INVITE")] == [
            GENESIS_A,
            "192.0.2.13:5060",
            GENESIS_A,
        ]

    def test_no_genesis_at_all(self, world: Any) -> None:
        call(world)
        response = world.response(PHONE)
        assert response.status == 503
        assert b"retry-after" in response


class TestForwarding:
    """RFC 3261 section 16.6."""

    def test_edits(self, world: Any) -> None:
        world.systems()
        call(world, PHONE, HOME, "X-Odd:  kept   as is")
        sent = world.forwarded(GENESIS_A)
        assert sent.max_forwards == 69
        assert len(sent.values(b"via")) == 2
        assert sent.top_via.sent_by == b"192.0.2.1:5060"
        assert sent.first(b"record-route").startswith(b"<sip:192.0.2.1:5060;lr;k=")
        assert b"X-Odd:  kept   as is\r\n" in bytes(sent)

    def test_two_networks_get_a_record_route_each(self, make_world: Make) -> None:
        world = make_world(system={"publicIP": "203.0.113.1", "mappedIP": "10.0.0.1"})
        world.systems()
        world.receive(world.request("INVITE", HOME, OUTSIDE), OUTSIDE, side=1)
        first, second = world.forwarded(GENESIS_A).values(b"record-route")
        assert first.startswith(b"<sip:192.0.2.1:5060;lr;r2=on;")
        assert second.startswith(b"<sip:203.0.113.1:5060;lr;r2=on;")

    def test_response_goes_back_without_our_via(self, world: Any) -> None:
        world.systems()
        call(world)
        world.answer(GENESIS_A, 180)
        world.answer(GENESIS_A, 200)
        assert world.statuses(PHONE) == [180, 200]
        assert len(world.response(PHONE).values(b"via")) == 1

    def test_every_200_is_passed_on(self, world: Any) -> None:
        world.systems()
        call(world)
        world.answer(GENESIS_A, 200)
        world.sent = [(message, where) for message, where in world.sent if isinstance(message, Request)]
        world.answer(GENESIS_A, 200)
        assert world.statuses(PHONE) == [200]

    def test_a_name_is_asked_for(self, make_world: Make) -> None:
        world = make_world(proxyList=["192.0.2.50"])
        call(world, PHONE, "sip:123@trunk.example")
        assert isinstance(world.events[-1], Resolve)
        assert world.look_up({"trunk.example A": ["198.51.100.7"]}) == [
            "trunk.example NAPTR",
            "_sip._udp.trunk.example SRV",
            "_sip._tcp.trunk.example SRV",
            "trunk.example A",
        ]
        assert world.reached() == [OUTSIDE]

    def test_an_unknown_name_is_refused(self, make_world: Make) -> None:
        world = make_world(proxyList=["192.0.2.50"])
        call(world, PHONE, "sip:123@trunk.example")
        world.look_up({})
        assert world.response(PHONE).status == 500


class TestRefusals:
    """RFC 3261 section 16.3."""

    @pytest.mark.parametrize(
        ("uri", "headers", "names", "status"),
        [
            (HOME, [], {"hops": 0}, 483),
            (HOME, ["Proxy-Require: gin"], {}, 420),
            ("tel:+4930", [], {}, 416),
            (HOME, ["Route: <sip:192.0.2.1"], {}, 400),
            ("sips:1@198.51.100.7", [], {}, 500),
        ],
    )
    def test_refused(self, make_world: Make, uri: str, headers: list[str], names: Any, status: int) -> None:
        world = make_world(proxyList=["192.0.2.50"])
        world.systems()
        call(world, PHONE, uri, *headers, **names)
        assert world.response(PHONE).status == status

    def test_unsupported_names_the_extension(self, world: Any) -> None:
        call(world, PHONE, HOME, "Proxy-Require: gin, outbound")
        assert world.response(PHONE).first(b"unsupported") == b"gin, outbound"

    def test_a_loop_is_noticed_and_a_spiral_is_not(self, world: Any) -> None:
        world.systems()
        call(world)
        round_trip = world.forwarded(GENESIS_A)
        world.receive(bytes(round_trip), GENESIS_B)
        assert world.response(GENESIS_B).status == 482
        spiral = round_trip.copy()
        spiral.set_uri(b"sip:200@192.0.2.1")
        spiral.replace_first(b"Via", b"SIP/2.0/UDP 192.0.2.99;branch=z9hG4bKother")
        world.sent.clear()
        world.receive(bytes(spiral), "192.0.2.99:5060")
        assert world.reached() == [GENESIS_A]

    def test_malformed_is_an_offence(self, world: Any) -> None:
        world.receive(b"INVITE sip:x SIP/2.0\r\nnonsense\r\n\r\n", PHONE)
        assert [event.kind for event in world.events if isinstance(event, Offence)] == ["malformed"]

    @pytest.mark.parametrize("name", ["allowList", "proxyList"])
    def test_options_for_the_proxy(self, make_world: Make, name: str) -> None:
        world = make_world(**{name: ["192.0.2.50"]})
        world.receive(world.request("OPTIONS", "sip:192.0.2.1", PHONE), PHONE)
        assert world.response(PHONE).status == 200
        assert world.response(PHONE).first(b"server") == b"Genesis Proxy"

    @pytest.mark.parametrize("uri", ["sip:192.0.2.1", "sip:100@192.0.2.1", "sip:nm"])
    def test_options_from_anybody_else_get_no_answer(self, world: Any, uri: str) -> None:
        world.systems()
        world.receive(world.request("OPTIONS", uri, PHONE), PHONE)
        assert world.reached(b"OPTIONS") == []
        assert [place for _, place in world.sent if place == PHONE] == []
        assert [event.kind for event in world.events if isinstance(event, Offence)] == ["ignored"]

    def test_options_from_genesis(self, world: Any) -> None:
        world.systems()
        world.receive(world.request("OPTIONS", "sip:192.0.2.1", GENESIS_A), GENESIS_A)
        assert world.response(GENESIS_A).status == 200

    def test_in_a_dialog_that_we_know_nothing_of(self, world: Any) -> None:
        world.systems()
        route = "Route: <sip:192.0.2.1:5060;lr;k=000000000000>"
        world.receive(
            world.request("BYE", "sip:x@198.51.100.7", PHONE, route, to="<sip:x@192.0.2.1>;tag=t"), PHONE
        )
        assert world.response(PHONE).status == 481
        assert world.reached(b"BYE") == []


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


class TestCancel:
    """RFC 3261 sections 9 and 16.10."""

    def cancel(self, world: Any) -> None:
        world.receive(world.request("CANCEL", HOME, PHONE, branch="c", call="the-call", cseq=1), PHONE)

    def test_after_ringing(self, world: Any) -> None:
        world.systems()
        call(world, branch="c", call="the-call", cseq=1)
        world.answer(GENESIS_A, 180)
        self.cancel(world)
        assert world.reached(b"CANCEL") == [GENESIS_A]
        world.answer(GENESIS_A, 487)
        assert world.statuses(PHONE) == [180, 200, 487]

    def test_before_any_response(self, world: Any) -> None:
        world.systems()
        call(world, branch="c", call="the-call", cseq=1)
        self.cancel(world)
        assert world.reached(b"CANCEL") == []
        world.advance(4.2)
        assert world.statuses(PHONE) == [200, 487]
        assert world.reached() == [GENESIS_A]

    def test_of_nothing(self, world: Any) -> None:
        self.cancel(world)
        assert world.statuses(PHONE) == [481]


class TestForking:
    """RFC 3261 section 16.7."""

    def fork(self, world: Any) -> tuple[str, str]:
        world.systems()
        other = "192.0.2.51:5060"
        world.register("5000", PHONE)
        world.register("5000", other, call="reg-2")
        world.sent.clear()
        call(world, GENESIS_A, "sip:5000@192.0.2.1")
        assert sorted(world.reached()) == [PHONE, other]
        return PHONE, other

    def test_first_200_cancels_the_rest(self, world: Any) -> None:
        one, two = self.fork(world)
        world.answer(two, 180)
        world.answer(one, 200)
        assert world.reached(b"CANCEL") == [two]
        world.answer(two, 487)
        assert world.statuses(GENESIS_A) == [180, 200]

    def test_the_best_failure_is_told_when_all_are_there(self, world: Any) -> None:
        one, two = self.fork(world)
        world.answer(one, 500)
        assert world.statuses(GENESIS_A) == []
        world.answer(two, 486)
        assert world.statuses(GENESIS_A) == [486]

    def in_order(self, world: Any) -> tuple[str, str, str]:
        """Two phones that the user would rather use, and a third one."""
        world.systems()
        phones = PHONE, "192.0.2.51:5060", "192.0.2.52:5060"
        for number, (phone, q) in enumerate(zip(phones, ("1.0", "1", "0.3"), strict=True)):
            world.register("5000", phone, contact=f"<sip:5000@{phone}>;q={q}", call=f"reg-{number}")
        world.sent.clear()
        call(world, GENESIS_A, "sip:5000@192.0.2.1")
        assert sorted(world.reached()) == sorted(phones[:2])
        return phones

    @pytest.mark.parametrize("status", [404, 408, 486, 500, 503])
    def test_the_next_in_order_after_all_of_a_kind_have_failed(self, world: Any, status: int) -> None:
        one, two, three = self.in_order(world)
        world.answer(one, status)
        assert three not in world.reached()
        world.answer(two, 486)
        assert world.reached()[2:] == [three]
        world.answer(three, 200)
        assert world.statuses(GENESIS_A) == [200]

    def test_the_next_in_order_after_ringing_for_a_while(self, world: Any) -> None:
        one, two, three = self.in_order(world)
        world.answer(one, 180)
        world.answer(two, 180)
        world.advance(15)
        world.answer(one, 180)
        assert three not in world.reached()
        world.advance(6)
        assert world.reached()[2:] == [three]
        assert sorted(world.reached(b"CANCEL")) == sorted([one, two])
        world.answer(one, 487)
        world.answer(three, 180)
        world.advance(60)
        assert three not in world.reached(b"CANCEL"), "the last one rings on"
        world.answer(three, 200)
        assert world.statuses(GENESIS_A) == [180, 200]

    def test_6xx_ends_all_also_for_those_whose_turn_has_not_come(self, world: Any) -> None:
        one, two, three = self.in_order(world)
        world.answer(one, 603)
        world.answer(two, 487)
        assert world.statuses(GENESIS_A) == [603]
        assert three not in world.reached()

    def test_6xx_ends_all(self, world: Any) -> None:
        one, two = self.fork(world)
        world.answer(two, 180)
        world.answer(one, 603)
        assert world.reached(b"CANCEL") == [two]
        world.answer(two, 487)
        assert world.statuses(GENESIS_A) == [180, 603]

    def test_challenges_are_collected(self, world: Any) -> None:
        one, two = self.fork(world)
        world.answer(one, 401, 'WWW-Authenticate: Digest realm="one", nonce="1"')
        world.answer(two, 407, 'Proxy-Authenticate: Digest realm="two", nonce="2"')
        response = world.response(GENESIS_A)
        assert len(response.all(b"www-authenticate") + response.all(b"proxy-authenticate")) == 2


class TestDialog:
    """Requests inside of a call follow its route set; the token proves that it is ours."""

    def answered(self, world: Any) -> None:
        world.systems()
        call(world, call="the-call")
        world.answer(GENESIS_A, 200, "Contact: <sip:callee@192.0.2.11>")

    def test_ack_and_bye(self, world: Any) -> None:
        self.answered(world)
        world.receive(in_dialog(world, "ACK", PHONE, "192.0.2.11"), PHONE)
        ack = world.forwarded(GENESIS_A, b"ACK")
        assert b"route" not in ack
        assert ack.uri == b"sip:callee@192.0.2.11"
        world.receive(in_dialog(world, "BYE", PHONE, "192.0.2.11"), PHONE)
        world.answer(GENESIS_A, 200, method=b"BYE")
        assert world.response(PHONE).cseq_method == b"BYE"

    def test_a_strict_router_before_us(self, world: Any) -> None:
        self.answered(world)
        own = world.response(PHONE).values(b"record-route")[0].decode()
        bye = world.request(
            "BYE", own.strip("<>"), PHONE, "Route: <sip:callee@192.0.2.11>",
            to=world.response(PHONE).first(b"to").decode(), call="the-call",
        )  # fmt: skip
        world.receive(bye, PHONE)
        assert world.forwarded(GENESIS_A, b"BYE").uri == b"sip:callee@192.0.2.11"

    def test_a_stray_ack_is_dropped(self, world: Any) -> None:
        world.systems()
        ack = world.request("ACK", "sip:x@198.51.100.7", PHONE, to="<sip:x@192.0.2.1>;tag=t")
        world.receive(ack, PHONE)
        assert world.reached(b"ACK") == []


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
        destination = next(d for d in world.assembly.dispatcher.members() if place in d.uri.decode())
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
        (system,) = world.assembly.dispatcher.members()
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
        (system,) = world.assembly.dispatcher.members()
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
        of_call = [each for each in world.core.layer.transactions() if each.request.call_id == b"the-call"]
        assert [each.request.method for each in of_call] == [b"INVITE", b"INVITE"]
        assert all(not hasattr(each.request, "_lines") for each in of_call)
