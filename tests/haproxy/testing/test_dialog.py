"""Dialog state from a recorded INVITE and its 2xx, both ends (RFC 3261 §12)."""

import pytest

from haproxy.sip.message import Request, Response
from haproxy.testing.dialog import Dialog, DialogError

ROUTES = (b"<sip:192.0.2.9;lr>", b"<sip:192.0.2.8;lr>")


def invite(routes: tuple[bytes, ...] = ROUTES) -> Request:
    return Request.create(
        b"INVITE",
        b"sip:bob@b.test",
        [
            *((b"Record-Route", route) for route in routes),
            (b"Via", b"SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK1"),
            (b"From", b"<sip:alice@a.test>;tag=a1"),
            (b"To", b"<sip:bob@b.test>"),
            (b"Call-ID", b"c1"),
            (b"CSeq", b"7 INVITE"),
            (b"Contact", b"<sip:alice@192.0.2.1:5070>"),
        ],
    )


def accepted(request: Request, contact: bytes = b"<sip:bob@192.0.2.2:5080>") -> Response:
    response = request.response(200, to_tag=b"b1")
    response.append(b"Contact", contact)
    return response


def test_the_caller_visits_the_recorded_routes_from_its_side() -> None:
    request = invite()
    bye = Dialog.of_caller(request, accepted(request)).request(b"BYE")
    assert (bye.uri, bye.cseq) == (b"sip:bob@192.0.2.2:5080", (8, b"BYE"))
    assert bye.all(b"route") == list(ROUTES[::-1])
    assert (bye.from_tag, bye.to_tag, bye.call_id) == (b"a1", b"b1", b"c1")


def test_the_callee_visits_them_from_the_other_side() -> None:
    request = invite()
    dialog = Dialog.of_callee(request, accepted(request))
    bye = dialog.request(b"BYE")
    assert (bye.uri, bye.all(b"route")) == (b"sip:alice@192.0.2.1:5070", list(ROUTES))
    assert (bye.from_tag, bye.to_tag) == (b"b1", b"a1")
    assert dialog.next_hop.host == b"192.0.2.9"


def test_an_ack_has_the_number_of_its_invite() -> None:
    request = invite()
    ack = Dialog.of_caller(request, accepted(request)).ack(7)
    assert (ack.method, ack.cseq) == (b"ACK", (7, b"ACK"))


def test_without_routes_the_contact_is_the_next_hop() -> None:
    request = invite(routes=())
    dialog = Dialog.of_caller(request, accepted(request))
    assert (dialog.next_hop.host, dialog.next_hop.port) == (b"192.0.2.2", 5080)
    assert dialog.request(b"BYE").all(b"route") == []


def test_a_strict_router_gets_itself_as_request_uri() -> None:
    request = invite(routes=(b"<sip:192.0.2.7>", b"<sip:192.0.2.8;lr>"))
    bye = Dialog.of_callee(request, accepted(request)).request(b"BYE")
    assert bye.uri == b"sip:192.0.2.7"
    assert bye.all(b"route") == [b"<sip:192.0.2.8;lr>", b"<sip:alice@192.0.2.1:5070>"]


def test_each_end_knows_the_other_ends_requests() -> None:
    request = invite()
    response = accepted(request)
    caller, callee = Dialog.of_caller(request, response), Dialog.of_callee(request, response)
    assert caller.matches(callee.request(b"BYE"))
    assert not caller.matches(caller.request(b"BYE"))


def test_no_contact_makes_no_dialog() -> None:
    request = invite()
    with pytest.raises(DialogError, match="no Contact"):
        Dialog.of_caller(request, request.response(200, to_tag=b"b1"))
