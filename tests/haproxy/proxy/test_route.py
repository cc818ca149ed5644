"""Route and Record-Route."""

from hypothesis import given
from hypothesis import strategies as st

from haproxy.proxy.domain import Domains
from haproxy.proxy.route import Router, first_route, next_hop
from haproxy.proxy.side import Side, Sides
from haproxy.sip.message import Request

PRIVATE = Side("private", 0, "10.0.0.1", 5060, "10.0.0.1", 5060, "10.0.0.1")
PUBLIC = Side("public", 1, "10.0.1.1", 5060, "203.0.113.1", 5080, "203.0.113.1")


def router(key: bytes = b"key") -> Router:
    return Router(Sides([PRIVATE, PUBLIC]), Domains([("10.0.0.1", 5060), ("203.0.113.1", 5080)]), key)


def request(*routes: bytes, call_id: bytes = b"c") -> Request:
    names = [(b"Call-ID", call_id), (b"CSeq", b"1 BYE")]
    return Request.create(b"BYE", b"sip:x@peer.example", [*names, *((b"Route", route) for route in routes)])


def recorded(one: Router) -> list[bytes]:
    invite = request()
    one.record(invite, PUBLIC.local("udp"), PRIVATE.local("tcp"))
    return invite.values(b"record-route")


def test_both_of_a_pair_are_taken_and_name_the_way_out() -> None:
    own = recorded(router())
    assert b";transport=tcp" in own[0]
    for routes, side in ((own, PUBLIC), (own[::-1], PRIVATE)):
        bye = request(*routes, b"<sip:next.example;lr>")
        passage = router().take_own(bye)
        assert (passage.taken, passage.genuine, passage.side) == (True, True, side)
        assert bye.values(b"route") == [b"<sip:next.example;lr>"]


def test_a_preloaded_route_proves_nothing() -> None:
    passage = router().take_own(request(b"<sip:10.0.0.1;lr>"))
    assert (passage.taken, passage.genuine) == (True, False)


def test_tokens_are_of_one_call_and_one_key() -> None:
    own = recorded(router())
    assert not router().take_own(request(*own, call_id=b"another")).genuine
    assert not router(b"other").take_own(request(*own)).genuine


def test_foreign_routes_stay() -> None:
    bye = request(b"<sip:next.example;lr>")
    assert router().take_own(bye).taken is False
    assert next_hop(bye).host == b"next.example"
    assert bye.uri == b"sip:x@peer.example"


def test_a_strict_router_is_next() -> None:
    bye = request(b"<sip:strict.example>, <sip:last.example;lr>")
    assert next_hop(bye).host == b"strict.example"
    assert bye.uri == b"sip:strict.example"
    assert bye.values(b"route") == [b"<sip:last.example;lr>", b"<sip:x@peer.example>"]


def test_without_route() -> None:
    bye = request()
    assert first_route(bye) is None
    assert next_hop(bye).host == b"peer.example"


def test_the_usual_single_value_is_told_by_its_bytes() -> None:
    one = router()
    invite = request()
    one.record(invite, PUBLIC.local("tcp"), PUBLIC.local("tcp"))
    own = invite.values(b"record-route")[0]
    bye = request(own, b"<sip:next.example;lr>")
    assert one.take_own(bye) == (True, True, PUBLIC)
    assert bye.values(b"route") == [b"<sip:next.example;lr>"]
    spelled = own.replace(b";lr", b";LR").replace(b"<", b"< ")
    assert one.take_own(request(spelled)) == (True, True, PUBLIC)
    assert one.take_own(request(own[:-2] + b"x>")) == (True, False, PUBLIC)
    assert one.take_own(request(own + b", <sip:next.example;lr>")) == (True, True, PUBLIC)


def test_a_name_that_is_not_ours_any_more() -> None:
    domains = Domains([("10.0.0.1", 5060), ("203.0.113.1", 5080)])
    one = Router(Sides([PRIVATE, PUBLIC]), domains, b"key")
    invite = request()
    one.record(invite, PUBLIC.local("udp"), PUBLIC.local("udp"))
    own = invite.values(b"record-route")[0]
    assert one.take_own(request(own)).genuine
    domains.replace([("10.0.0.1", 5060)])
    assert not one.take_own(request(own)).taken


LINES = [
    start + more + b";k=" + token + b">"
    for start in (
        b"<sip:10.0.0.1:5060;lr",
        b"<sip:203.0.113.1:5080;transport=tcp;lr",
        b"<sip:next.example;lr",
    )
    for more in (b"", b";r2=on")
    for token in (recorded(router())[0][-13:-1], b"0123456789ab", b"")
]


@given(st.lists(st.sampled_from([*LINES, b", ".join(LINES[:2]), b"<sip:last.example>"]), max_size=4))
def test_what_is_told_by_its_bytes_is_what_is_parsed(routes: list[bytes]) -> None:
    one = router()
    plain = request(*routes)
    spelled = Request.create(
        b"BYE", b"sip:x@peer.example",
        [(b"Call-ID", b"c"), (b"CSeq", b"1 BYE"), *((b"ROUTE", route) for route in routes)],
    )  # fmt: skip
    assert one.take_own(plain) == one.take_own(spelled)
    assert plain.values(b"route") == spelled.values(b"route")
