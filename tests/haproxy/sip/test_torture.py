"""RFC 4475: every torture message gets its due from the parser and, where one is due, its answer."""

from __future__ import annotations

from pathlib import Path

import pytest

from haproxy.sip.flow import Flow
from haproxy.sip.framing import PING, PONG, Framer
from haproxy.sip.message import ParseError, Request, Response, parse
from haproxy.sip.transaction import Malformed, RequestReceived, TransactionLayer
from rtlib.address import pack

VECTORS = Path(__file__).parents[2] / "vectors" / "rfc4475"
FLOW = Flow("udp", 0, pack("198.51.100.7", 5060))

VALID = [
    "wsinv",
    "intmeth",
    "esc01",
    "esc02",
    "escnull",
    "lwsdisp",
    "longreq",
    "semiuri",
    "transports",
    "mpart01",
    "unreason",
    "noreason",
    "badaspec",
    "baddate",
    "bcast",
    "badbranch",
    "unkscm",
    "novelsc",
    "unksm2",
    "bext01",
    "invut",
    "sdp01",
    "regaut01",
    "zeromf",
    "cparam01",
    "cparam02",
    "regescrt",
    "inv2543",
]

REFUSED = {
    "badinv01": (400, "malformed parameters in Via"),
    "baddn": (400, "No Empty Line After The Header"),
    "badvers": (505, "Version Not Supported"),
    "clerr": (400, "Body Shorter Than Content-Length"),
    "escruri": (400, "Headers In The Request-URI"),
    "insuf": (400, "Missing From Header"),
    "ltgtruri": (400, "Malformed Request-URI: not a URI"),
    "lwsruri": (400, "Extra White Space In The Request Line"),
    "lwsstart": (400, "Extra White Space In The Request Line"),
    "mcl01": (400, "More Than One Content-Length Header"),
    "mismatch01": (400, "CSeq Method Differs From Request Method"),
    "mismatch02": (400, "CSeq Method Differs From Request Method"),
    "multi01": (400, "More Than One CSeq Header"),
    "ncl": (400, "Malformed Content-Length Header"),
    "quotbal": (400, "Malformed To Header"),
    "regbadct": (400, "Malformed Contact: malformed address"),
    "scalar02": (400, "Malformed CSeq Header"),
    "trws": (400, "Extra White Space In The Request Line"),
}

DROPPED = ["bigcode", "scalarlg", "test"]


def vector(name: str) -> bytes:
    return (VECTORS / f"{name}.dat").read_bytes()


def layer() -> TransactionLayer:
    return TransactionLayer(lambda flow: b"192.0.2.99:5060", lambda size: bytes(size))


def test_every_vector_is_listed() -> None:
    listed = {*VALID, *REFUSED, *DROPPED, "dblreq"}
    assert listed == {path.stem for path in VECTORS.glob("*.dat")}


@pytest.mark.parametrize("name", VALID)
def test_valid_messages_survive_bit_for_bit(name: str) -> None:
    data = vector(name)
    message = parse(data)
    assert data.startswith(bytes(message))
    assert not data[len(bytes(message)) :].strip()


@pytest.mark.parametrize("name", REFUSED)
def test_malformed_requests_are_refused_with_the_reason(name: str) -> None:
    with pytest.raises(ParseError) as caught:
        parse(vector(name))
    assert (caught.value.status, caught.value.reason) == REFUSED[name]


@pytest.mark.parametrize("name", REFUSED)
def test_the_layer_answers_malformed_requests(name: str) -> None:
    machine = layer()
    machine.receive(vector(name), FLOW, 0.0)
    status, reason = REFUSED[name]
    event = machine.next_event()
    assert isinstance(event, Malformed)
    assert (event.status, event.reason) == REFUSED[name]
    ((data, flow),) = machine.to_send(0.0)
    assert data.startswith(b"SIP/2.0 %d %s\r\n" % (status, reason.encode()))
    assert flow.remote in {FLOW.remote, pack("198.51.100.7", 5050)}
    assert len(machine) == 0


@pytest.mark.parametrize("name", DROPPED)
def test_the_rest_is_dropped_in_silence(name: str) -> None:
    machine = layer()
    machine.receive(vector(name), FLOW, 0.0)
    assert machine.to_send(0.0) == []
    assert machine.counters.malformed == 1
    with pytest.raises(ParseError) as caught:
        parse(vector(name))
    assert caught.value.status is None


def test_response_under_a_foreign_via_is_discarded() -> None:
    machine = layer()
    machine.receive(vector("bcast"), FLOW, 0.0)
    assert machine.next_event() is None
    assert machine.counters.foreign == 1


def test_two_requests_in_a_datagram_are_one() -> None:
    message = parse(vector("dblreq"))
    assert isinstance(message, Request)
    assert message.method == b"REGISTER"
    assert message.call_id == b"dblreq.0ha0isndaksdj99sdfafnl3lk233412"
    assert vector("dblreq").startswith(bytes(message))


def test_two_requests_in_a_stream_are_two() -> None:
    frames = [frame for frame in Framer().receive(vector("dblreq")) if frame not in {PING, PONG}]
    assert [frame.partition(b" ")[0] for frame in frames[:2]] == [b"REGISTER", b"INVITE"]


def test_clerr_waits_in_a_stream() -> None:
    framer = Framer()
    assert framer.receive(vector("clerr")) == []
    assert framer.partial


def test_a_short_tortuous_invite() -> None:
    request = parse(vector("wsinv"))
    assert isinstance(request, Request)
    assert request.cseq == (9, b"INVITE")
    assert request.max_forwards == 68
    assert request.to_tag == b"1918181833n"
    assert request.from_tag == b"98asjd8"
    assert request.from_.display == b'J Rosenberg \\"'
    assert (request.top_via.transport, request.top_via.host) == (b"UDP", b"192.0.2.2")
    assert request.branch == b"390skdjuw"
    assert [value.partition(b" ")[0] for value in request.values(b"via")] == [b"SIP"] * 3
    assert request.first(b"newfangledheader") == b"newfangled value continued newfangled value"
    (route,) = request.addresses(b"route")
    assert route.uri == b"sip:services.example.com;lr;unknownwith=value;unknown-no-value"
    (contact,) = request.addresses(b"contact")
    assert contact.params == {b"newparam": b"newvalue", b"secondparam": None, b"q": b"0.33"}


def test_wide_range_of_valid_characters() -> None:
    request = parse(vector("intmeth"))
    assert isinstance(request, Request)
    assert request.method == b"!interesting-Method0123456789_*+`.%indeed'~"
    assert request.target.host == b"example.com"
    assert request.to.display == b"BEL:\x07 NUL:\x00 DEL:\x7f"
    assert request.from_tag == b"_token~1'+`*%!-."
    assert request.call_id == b"""intmeth.word%ZK-!.*_+'@word`~)(><:\\/"][?}{"""


def test_escapes_are_not_resolved_before_parsing() -> None:
    request = parse(vector("esc01"))
    assert isinstance(request, Request)
    assert (request.target.user, request.target.host) == (b"sips%3Auser%40example.com", b"example.net")
    assert request.target.username == b"sips:user@example.com"
    escaped = parse(vector("esc02"))
    assert isinstance(escaped, Request)
    assert escaped.method == b"RE%47IST%45R"


def test_escaped_nulls_stay_distinct() -> None:
    register = parse(vector("escnull"))
    first, second = register.addresses(b"contact")
    assert (first.target.username, second.target.username) == (b"\x00", b"\x00\x00")


def test_semicolons_in_the_user_part() -> None:
    request = parse(vector("semiuri"))
    assert isinstance(request, Request)
    assert request.target.user == b"user;par=u%40example.net"
    assert request.target.host == b"example.com"


def test_unknown_transports_in_via() -> None:
    request = parse(vector("transports"))
    transports = [value.split()[0].rpartition(b"/")[2] for value in request.values(b"via")]
    assert transports == [b"UDP", b"SCTP", b"TLS", b"UNKNOWN", b"TCP"]


def test_odd_reason_phrases() -> None:
    odd, none = parse(vector("unreason")), parse(vector("noreason"))
    assert isinstance(odd, Response)
    assert isinstance(none, Response)
    assert odd.status == 200
    assert "= 2**3 * 5**2" in odd.reason.decode()
    assert (none.status, none.reason) == (100, b"")


def test_header_and_uri_parameters_are_kept_apart() -> None:
    (outside,) = parse(vector("cparam01")).addresses(b"contact")
    (inside,) = parse(vector("cparam02")).addresses(b"contact")
    assert (outside.uri, outside.params) == (b"sip:+19725552222@gw1.example.net", {b"unknownparam": None})
    assert (inside.target.params, inside.params) == (b"unknownparam", {})
    (escaped,) = parse(vector("regescrt")).addresses(b"contact")
    assert escaped.target.headers == b"Route=%3Csip:sip.example.com%3E"


def test_unknown_schemes_can_be_told() -> None:
    for name, scheme in (("unkscm", b"nobodyknowsthisscheme"), ("novelsc", b"soap.beep")):
        request = parse(vector(name))
        assert isinstance(request, Request)
        assert not request.target.is_sip
        assert request.target.scheme == scheme
    unknown = parse(vector("unksm2"))
    assert unknown.to.target.scheme == b"isbn"
    assert unknown.addresses(b"contact")[0].target.scheme == b"name"


@pytest.mark.parametrize("name", ["badbranch", "inv2543"])
def test_requests_without_a_unique_branch_match_as_in_rfc_2543(name: str) -> None:
    machine = layer()
    data = vector(name)
    machine.receive(data, FLOW, 0.0)
    machine.receive(data, FLOW, 0.1)
    machine.receive(data.replace(b"Call-ID: ", b"Call-ID: other"), FLOW, 0.2)
    received = []
    while (event := machine.next_event()) is not None:
        received.append(event)
    assert [type(event) for event in received] == [RequestReceived, RequestReceived]
    assert machine.counters.absorbed == 1


def test_hops_and_extensions_are_the_proxys_business() -> None:
    zero = parse(vector("zeromf"))
    assert zero.max_forwards == 0
    assert parse(vector("bext01")).values(b"proxy-require") == [
        b"noProxiesSupportThis",
        b"norDoAnyProxiesSupportThis",
    ]
