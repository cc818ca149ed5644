"""Names of next hops: order, failover, cache (RFC 3263)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from haproxy.dns.record import Naptr, Srv
from haproxy.sip.message import Request
from tests.haproxy.proxy.conftest import PHONE

FIRST, SECOND = "198.51.100.1:5060", "198.51.100.2:5070"
NAME = "sip:123@trunk.example"
ZONE: dict[str, list[Any]] = {
    "_sip._udp.trunk.example SRV": [Srv(1, 0, 5060, "one.example"), Srv(2, 0, 5070, "two.example")],
    "one.example A": ["198.51.100.1"],
    "two.example A": ["198.51.100.2"],
}
Make = Callable[..., Any]


@pytest.fixture
def trunk(make_world: Make) -> Any:
    """Somebody who may use the proxy to call elsewhere."""
    return make_world(proxyList=["192.0.2.50"])


def call(world: Any, uri: str = NAME, **names: Any) -> None:
    world.receive(world.request("INVITE", uri, PHONE, "Contact: <sip:x@192.0.2.50>", **names), PHONE)


def test_the_next_place_after_silence(trunk: Any) -> None:
    call(trunk)
    trunk.look_up(ZONE)
    assert trunk.reached() == [FIRST]
    branch = trunk.forwarded(FIRST).top_via.branch
    trunk.advance(4.5)
    assert trunk.reached() == [FIRST, SECOND]
    assert trunk.forwarded(SECOND).top_via.branch != branch
    trunk.answer(SECOND, 200)
    assert trunk.statuses(PHONE) == [200]


def test_the_next_place_after_503_and_the_best_answer_at_the_end(trunk: Any) -> None:
    call(trunk)
    trunk.look_up(ZONE)
    trunk.answer(FIRST, 503)
    assert trunk.reached() == [FIRST, SECOND]
    assert trunk.statuses(PHONE) == []
    trunk.answer(SECOND, 503)
    assert trunk.statuses(PHONE) == [500]


def test_one_place_that_cannot_be_reached(make_world: Make) -> None:
    """RFC 3261 sections 16.9 and 16.7 step 6: as if it had sent 503, which goes on as 500."""
    world = make_world(proxyList=["192.0.2.50"])
    call(world, "sip:a@198.51.100.1")
    world.fail("198.51.100.1:5060")
    assert world.statuses(PHONE) == [500]


def test_the_next_place_after_a_transport_error(trunk: Any) -> None:
    call(trunk)
    trunk.look_up(ZONE)
    trunk.fail(FIRST)
    assert trunk.reached() == [FIRST, SECOND]
    trunk.answer(SECOND, 486)
    assert trunk.statuses(PHONE) == [486]


@pytest.mark.parametrize("status", [404, 486, 500, 603])
def test_no_other_place_after_an_answer(trunk: Any, status: int) -> None:
    call(trunk)
    trunk.look_up(ZONE)
    trunk.answer(FIRST, status)
    trunk.advance(40)
    assert trunk.reached() == [FIRST]
    assert trunk.statuses(PHONE) == [status]


def test_a_late_answer_of_the_first_place_is_not_lost(trunk: Any) -> None:
    call(trunk)
    trunk.look_up(ZONE)
    trunk.advance(4.5)
    trunk.answer(FIRST, 200)
    assert trunk.statuses(PHONE) == [200]
    trunk.answer(SECOND, 180)
    assert b"CANCEL" in [m.method for m, where in trunk.sent if isinstance(m, Request) and where == SECOND]


def test_ringing_stays_where_it_rings(trunk: Any) -> None:
    call(trunk)
    trunk.look_up(ZONE)
    trunk.answer(FIRST, 180)
    trunk.advance(60)
    assert trunk.reached() == [FIRST]


def test_cancelled_while_a_place_is_silent(trunk: Any) -> None:
    call(trunk, branch=7, cseq=7)
    trunk.look_up(ZONE)
    trunk.receive(trunk.request("CANCEL", NAME, PHONE, branch=7, cseq=7, call="call-1"), PHONE)
    trunk.advance(40)
    assert trunk.reached() == [FIRST]
    assert trunk.statuses(PHONE)[-1] in {408, 487}


def test_other_requests_go_elsewhere_too(trunk: Any) -> None:
    trunk.receive(trunk.request("MESSAGE", NAME, PHONE), PHONE)
    trunk.look_up(ZONE)
    trunk.advance(4.5)
    assert trunk.reached(b"MESSAGE") == [FIRST, SECOND]
    trunk.answer(SECOND, 200, method=b"MESSAGE")
    assert trunk.statuses(PHONE) == [200]


def test_naptr_chooses_the_transport(trunk: Any) -> None:
    call(trunk)
    zone = {
        "trunk.example NAPTR": [Naptr(10, 1, "s", "SIP+D2T", "_sip._tcp.trunk.example")],
        "_sip._tcp.trunk.example SRV": [Srv(1, 1, 5062, "one.example")],
        "one.example A": ["198.51.100.1"],
    }
    assert trunk.look_up(zone) == ["trunk.example NAPTR", "_sip._tcp.trunk.example SRV", "one.example A"]
    sent = trunk.forwarded("198.51.100.1:5062")
    assert sent.top_via.transport == b"TCP"


def test_answers_are_cached_and_asked_for_once(trunk: Any) -> None:
    for number in range(3):
        call(trunk, call=f"c{number}")
    assert len(trunk.look_up(ZONE)) == 5
    assert len({m.call_id for m, where in trunk.sent if where == FIRST}) == 3
    call(trunk, call="later")
    assert trunk.look_up(ZONE) == []
    assert trunk.forwarded(FIRST).call_id == b"later"
    trunk.advance(61)
    call(trunk, call="much later")
    assert trunk.look_up(ZONE)


def test_old_answers_serve_while_no_name_server_does(trunk: Any) -> None:
    call(trunk)
    trunk.look_up(ZONE)
    trunk.answer(FIRST, 486)
    trunk.advance(100)
    call(trunk, call="later")
    trunk.look_up(None)
    assert trunk.forwarded(FIRST).call_id == b"later"


def test_no_name_server_at_all(trunk: Any) -> None:
    call(trunk)
    assert trunk.look_up(None) == ["trunk.example NAPTR"]
    assert trunk.statuses(PHONE) == [500]


def test_tls_is_refused_where_there_is_none(trunk: Any) -> None:
    for uri in ("sips:a@198.51.100.1", "sip:a@198.51.100.1;transport=tls", "sip:a@x;transport=sctp"):
        call(trunk, uri, call=uri)
        assert trunk.response(PHONE).status == 500
    assert trunk.reached() == []


def test_the_name_goes_along_to_be_proved_over_tls(make_world: Make) -> None:
    world = make_world(proxyList=["192.0.2.50"], enableTLS=True)
    call(world, "sips:a@trunk.example")
    world.flows.clear()
    world.look_up({"trunk.example A": ["198.51.100.1"]})
    assert [flow.domain for flow in world.flows if flow.transport == "tls"] == ["trunk.example"]
