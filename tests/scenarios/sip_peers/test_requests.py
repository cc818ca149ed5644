"""What the proxy makes of a request, what it leaves as it is (RFC 3261 section 16); SIPp is both sides."""

from __future__ import annotations

import re

import pytest

from haproxy.testing.kamailio import Kamailio, record_routing
from haproxy.testing.script import BRANCH, PROXY, ack, ack_of_2xx, bye, heard, pause, request, response
from haproxy.testing.sipp import Traced
from tests.scenarios.sip_peers.conftest import Peers, talk

pytestmark = pytest.mark.peer("sipp")

ANSWERS = [response(200), heard("ACK"), heard("BYE"), response(200, tagged=True)]
TALKS = [heard(100, optional=True), heard(200), ack_of_2xx(), bye(), heard(200)]


@pytest.mark.parametrize(
    ("uri", "header", "status"),
    [
        ("sip:far@192.0.2.7", "Max-Forwards: 0", 483),
        ("sip:far@192.0.2.7", "Proxy-Require: foo, bar", 420),
        ("tel:+4930", "Subject: a number", 416),
        ("sip:far@192.0.2.7;transport=smoke", "Subject: no such transport", 500),
    ],
)
def test_refused(peers: Peers, uri: str, header: str, status: int) -> None:
    caller = peers.caller(request("INVITE", uri, header), heard(status), ack(uri=uri))
    caller.finish()
    (answer,) = caller.heard(status)
    assert answer.message.all(b"unsupported") == ([b"foo, bar"] if status == 420 else [])


def test_100_within_200_ms_and_a_repeated_invite_goes_no_further(peers: Peers) -> None:
    """Section 17.2.1. It gets the last response again, for which SIPp must not look for repetitions."""
    callee = [heard("INVITE"), pause(0.4), response(180), pause(0.2), response(486), heard("ACK")]
    again = [heard(100), heard(180), request("INVITE"), heard(180), heard(486), ack()]
    caller, called = talk(peers, callee, [request("INVITE"), *again], arguments=["-nr"])
    sent, trying = caller.traffic()[0].when, caller.heard(100)[0].when
    assert trying - sent < 0.4, "0.2 and what SIPp and a busy machine take"
    assert len(called.heard("INVITE")) == 1


def test_a_method_nobody_knows_with_odd_headers_and_body(peers: Peers) -> None:
    """Section 7.3: what a proxy does not understand goes on bit for bit, and so does what comes back."""
    odd = (
        "X-Odd:   a   b ;c ",
        'sUbJeCt: "\\"<>,;\u00e4 \u65e5',
        "X-Odd: twice,  and , a list",
        "X-Empty:",
    )
    body = '{\n"key" :  (1,,\t2)\n}\n\n--\u00fc \n'
    callee = [heard("FROBNICATE"), response(299, *odd, body=body)]
    sends = request("FROBNICATE", f"sip:100@{PROXY}", *odd, body=body)
    caller, called = talk(peers, callee, [sends, heard(299)])
    for sent, got in (
        (caller.traffic()[0], called.traffic()[0]),
        (called.traffic()[1], caller.traffic()[-1]),
    ):
        assert strange(got) == strange(sent)
        assert len(strange(sent)[0]) == len(odd)


def strange(traced: Traced) -> tuple[list[bytes], bytes]:
    """The lines of headers that no RFC knows, as they stand, and the body."""
    head, _, body = traced.raw.partition(b"\r\n\r\n")
    return re.findall(rb"(?im)^(?:x-|subject)[^\r\n]*(?:\r\n[ \t][^\r\n]*)*", head), body


@pytest.mark.parametrize("rport", [False, True])
def test_responses_find_back_to_a_wrong_via(peers: Peers, rport: bool) -> None:
    """RFC 3261 section 18.2.1, RFC 3581: the host in its Via is not where the caller is, nor is the port."""
    port = "1" if rport else "[local_port]"
    via = f"Via: SIP/2.0/UDP 203.0.113.9:{port}{';rport' * rport};branch={BRANCH}xv"
    refused = [heard("INVITE"), response(486), heard("ACK")]
    steps = request("INVITE", f"sip:100@{PROXY}", via), heard(100, optional=True), heard(486)
    caller, _ = talk(peers, refused, [*steps, request("ACK", f"sip:100@{PROXY}", via, answered=True)])
    stamped = caller.heard(486)[0].message.top_via
    assert stamped.param(b"received") == caller.host.encode()
    assert stamped.param(b"rport") == (str(caller.port).encode() if rport else None)


@pytest.mark.peer("kamailio")
def test_a_loop_through_kamailio(peers: Peers) -> None:
    """Section 16.3 step 4, RFC 5393: Kamailio sends everything back; each round takes no longer than one."""
    proxy = (peers.proxy.host, peers.proxy.port)
    with Kamailio(peers.folder / "kamailio", record_routing(proxy, proxy)) as kamailio:
        uri = f"sip:far@{kamailio.host}"
        caller = peers.caller(request("INVITE", uri), heard(100, optional=True), heard(482), ack(uri=uri))
        caller.finish()


@pytest.mark.parametrize(
    "form", ["[::ffff:{}]:{}", "[::FFFF:{}]:{};transport=udp", "x.invalid:{1};maddr=[::ffff:{0}]"]
)
def test_an_ipv4_address_in_an_ipv6_reference(peers: Peers, form: str) -> None:
    """RFC 4291 section 2.5.5.2: it is that IPv4 address."""
    called = peers.callee(heard("MESSAGE"), response(200))
    uri = "sip:far@" + form.format(called.host, called.port)
    # A bracket begins one of SIPp's keywords.
    caller = peers.caller(request("MESSAGE", uri.replace("[", r"\x5b")), heard(200))
    caller.finish()
    assert called.heard("MESSAGE")[0].request.uri == uri.encode()


def test_a_strict_router_is_next(peers: Peers) -> None:
    """Section 16.6 step 6: it wants itself in the Request-URI, and the real one as the last Route."""
    callee = [heard("INVITE"), response(486), heard("ACK")]
    route = f"Route: <sip:100@{PROXY}>, <sip:192.0.2.78;lr>"
    uri = "sip:end@192.0.2.77"
    _, called = talk(
        peers, callee, [request("INVITE", uri, route), heard(100, optional=True), heard(486), ack(uri=uri)]
    )
    got = called.heard("INVITE")[0].request
    assert got.uri == f"sip:far@{called.host}:{called.port}".encode()
    assert got.values(b"route") == [b"<sip:192.0.2.78;lr>", b"<sip:end@192.0.2.77>"]


def test_a_loose_router_is_next(peers: Peers) -> None:
    """Section 16.6 step 7."""
    callee = [heard("INVITE"), response(486), heard("ACK")]
    uri = "sip:end@192.0.2.77"
    steps = request("INVITE", uri, f"Route: <sip:100@{PROXY};lr>"), heard(100, optional=True), heard(486)
    _, called = talk(peers, callee, [*steps, ack(uri=uri)])
    got = called.heard("INVITE")[0].request
    assert got.uri == uri.encode()
    assert got.values(b"route") == [f"<sip:far@{called.host}:{called.port};lr>".encode()]


def test_a_strict_router_before_us(peers: Peers) -> None:
    """Section 16.4: what it sends has our Record-Route as Request-URI, and the real one as the last Route."""
    recorded = heard(200, take=("recorded", "Record-Route", "sip:[^>]*"))
    headers = f"Route: <sip:100@{PROXY}>", f"To: <sip:100@{PROXY}>[peer_tag_param]"
    bye_to_us = request("BYE", "[$recorded]", *headers, number=2)
    steps = [request("INVITE"), heard(100, optional=True), recorded, ack_of_2xx(), bye_to_us, heard(200)]
    _, called = talk(peers, [heard("INVITE"), *ANSWERS], steps)
    got = called.heard("BYE")[0].request
    assert got.uri == f"sip:far@{called.host}:{called.port}".encode()
    assert got.values(b"route") == []


def test_calls_go_along_the_recorded_route(peers: Peers) -> None:
    """Sections 12.2.1.1 and 16.12: ACK and BYE come the same way, and their Route is used up."""
    _, called = talk(peers, [heard("INVITE"), *ANSWERS], [request("INVITE"), *TALKS])
    for method in ("ACK", "BYE"):
        message = called.heard(method)[0].request
        assert message.values(b"route") == []
        assert message.uri.startswith(f"sip:far@{called.host}:{called.port}".encode())
