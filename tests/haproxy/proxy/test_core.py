"""What the proxy does with whole calls: routing rules, CANCEL, dialogs, refusals."""

from __future__ import annotations

from typing import Any

import pytest

from haproxy.proxy.event import Offence, Resolve
from haproxy.sip.message import Request
from tests.haproxy.proxy.conftest import GENESIS_A, GENESIS_B, HOME, OUTSIDE, PHONE, Make, call


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
