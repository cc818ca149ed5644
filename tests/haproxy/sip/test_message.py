from __future__ import annotations

import contextlib
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from haproxy.sip import address, header, syntax
from haproxy.sip.message import Message, ParseError, Request, Response, parse

INVITE = (
    b"INVITE sip:bob@example.com SIP/2.0\r\n"
    b"v: SIP/2.0/UDP 192.0.2.1:5062;rport;branch=z9hG4bKa1\r\n"
    b"Via: SIP/2.0/TCP 192.0.2.2;branch=z9hG4bKa0 , SIP/2.0/UDP 192.0.2.3\r\n"
    b'From: "Alice, A." <sip:alice@example.com>;tag=f1\r\n'
    b"To: Bob <sip:bob@example.com>\r\n"
    b"Call-ID: c1@192.0.2.1\r\n"
    b"CSeq: 7 INVITE\r\n"
    b"Max-Forwards: 70\r\n"
    b"X-Odd :  folded\r\n\t value \r\n"
    b"Record-Route: <sip:p1.example.com;lr>\r\n"
    b"RECORD-ROUTE: <sip:p2.example.com;lr>, <sip:p3.example.com;lr>\r\n"
    b"Route: <sip:r1.example.com;lr>,<sip:r2.example.com;lr>\r\n"
    b"Contact: <sip:alice@192.0.2.1:5062>\r\n"
    b"Timestamp: 54.2\r\n"
    b"Content-Type: application/sdp\r\n"
    b"l: 4\r\n"
    b"\r\n"
    b"v=0\n"
)


def invite() -> Request:
    request = parse(INVITE)
    assert isinstance(request, Request)
    return request


def refused(data: bytes) -> tuple[int | None, str]:
    with pytest.raises(ParseError) as caught:
        parse(data)
    return caught.value.status, caught.value.reason


def test_reading() -> None:
    request = invite()
    assert (request.method, request.uri, request.body) == (b"INVITE", b"sip:bob@example.com", b"v=0\n")
    assert (request.call_id, request.cseq) == (b"c1@192.0.2.1", (7, b"INVITE"))
    assert (request.from_tag, request.to_tag, request.branch) == (b"f1", None, b"z9hG4bKa1")
    assert request.from_.display == b"Alice, A."
    assert request.first(b"x-odd") == b"folded value"
    assert request.first(b"subject") is None
    assert request.all(b"record-route") == [
        b"<sip:p1.example.com;lr>",
        b"<sip:p2.example.com;lr>, <sip:p3.example.com;lr>",
    ]
    assert len(request.values(b"record-route")) == 3
    assert [route.target.host for route in request.addresses(b"route")] == [
        b"r1.example.com",
        b"r2.example.com",
    ]
    assert b"contact" in request
    assert b"expires" not in request
    assert request.headers()[0] == (b"via", b"SIP/2.0/UDP 192.0.2.1:5062;rport;branch=z9hG4bKa1")


def test_untouched_is_unchanged() -> None:
    assert bytes(invite()) == INVITE


def test_a_proxys_edits_leave_the_rest_alone() -> None:
    request = invite()
    request.prepend(b"Record-Route", b"<sip:proxy;lr>")
    request.prepend(b"Via", b"SIP/2.0/UDP proxy;branch=z9hG4bKnew")
    request.set(b"Max-Forwards", b"69")
    request.set_uri(b"sip:bob@192.0.2.9")
    lines = INVITE.split(b"\r\n")
    lines[0] = b"INVITE sip:bob@192.0.2.9 SIP/2.0"
    lines[lines.index(b"Max-Forwards: 70")] = b"Max-Forwards: 69"
    lines[1:1] = [b"Via: SIP/2.0/UDP proxy;branch=z9hG4bKnew", b"Record-Route: <sip:proxy;lr>"]
    assert bytes(request) == b"\r\n".join(lines)
    assert request.branch == b"z9hG4bKnew"
    assert request.max_forwards == 69


def test_taking_first_values_out_of_lists() -> None:
    request = invite()
    assert request.remove_first(b"via") == b"SIP/2.0/UDP 192.0.2.1:5062;rport;branch=z9hG4bKa1"
    assert request.branch == b"z9hG4bKa0"
    assert request.remove_first(b"via") == b"SIP/2.0/TCP 192.0.2.2;branch=z9hG4bKa0"
    assert request.top_via.host == b"192.0.2.3"
    assert request.remove_first(b"via") == b"SIP/2.0/UDP 192.0.2.3"
    assert request.remove_first(b"via") is None
    assert b"via" not in request
    with pytest.raises(ParseError):
        _ = request.top_via
    assert request.remove_first(b"route") == b"<sip:r1.example.com;lr>"
    assert b"Route: <sip:r2.example.com;lr>\r\n" in bytes(request)


def test_replacing_the_first_value_keeps_the_others() -> None:
    request = invite()
    request.remove_first(b"via")
    request.replace_first(b"Via", b"SIP/2.0/TCP 192.0.2.2;received=192.0.2.7;branch=z9hG4bKa0")
    assert request.top_via.received == b"192.0.2.7"
    assert request.values(b"via")[1] == b"SIP/2.0/UDP 192.0.2.3"


def test_set_drops_the_other_lines() -> None:
    request = invite()
    request.set(b"Record-Route", b"<sip:only;lr>")
    assert request.all(b"record-route") == [b"<sip:only;lr>"]
    request.set(b"Subject", b"new")
    assert bytes(request).endswith(b"Subject: new\r\n\r\nv=0\n")


def test_remove() -> None:
    request = invite()
    request.remove(b"record-route")
    request.remove(b"absent")
    assert b"ecord" not in bytes(request)
    assert b"RECORD" not in bytes(request)


def test_attributes_follow_edits() -> None:
    request = invite()
    request.set(b"To", b"<sip:bob@example.com>;tag=t9")
    request.set(b"From", b"<sip:x@example.com>;tag=f9")
    request.set(b"CSeq", b"8 INVITE")
    request.set(b"Call-ID", b"other")
    assert (request.to_tag, request.from_tag, request.cseq_number) == (b"t9", b"f9", 8)
    assert request.call_id == b"other"


def test_replacing_the_body() -> None:
    request = invite()
    request.replace_body(b"hello", b"text/plain")
    again = parse(bytes(request))
    assert (again.body, again.first(b"content-type")) == (b"hello", b"text/plain")
    request.replace_body(b"")
    assert b"content-type" not in parse(bytes(request))


def test_copies_are_independent() -> None:
    request = invite()
    twin = request.copy()
    twin.prepend(b"Via", b"SIP/2.0/UDP other;branch=z9hG4bKother")
    twin.set_uri(b"sip:elsewhere")
    assert bytes(request) == INVITE
    assert twin.branch == b"z9hG4bKother"
    assert parse(bytes(twin)).call_id == request.call_id


def test_response_copies_what_it_must() -> None:
    response = invite().response(180, to_tag=b"t1")
    assert bytes(response).startswith(
        b"SIP/2.0 180 Ringing\r\nv: SIP/2.0/UDP 192.0.2.1:5062;rport;branch=z9hG4bKa1\r\n"
    )
    again = parse(bytes(response))
    assert isinstance(again, Response)
    assert again.to_tag == b"t1"
    assert len(again.values(b"via")) == 3
    assert len(again.values(b"record-route")) == 3
    assert (again.cseq, again.call_id, again.from_tag) == ((7, b"INVITE"), b"c1@192.0.2.1", b"f1")
    assert again.body == b""


def test_trying_has_timestamp_and_no_tag() -> None:
    response = invite().response(100, to_tag=b"t1")
    assert response.to_tag is None
    assert response.first(b"timestamp") == b"54.2"
    assert b"record-route" not in response
    assert b"record-route" not in invite().response(404)


def test_response_keeps_a_tag_that_is_there() -> None:
    request = invite()
    request.set(b"To", b"<sip:bob@example.com>;tag=given")
    assert request.response(200, to_tag=b"t1").to_tag == b"given"
    assert request.response(200, b"Fine").start_line == b"SIP/2.0 200 Fine"


def test_create() -> None:
    request = Request.create(
        b"OPTIONS",
        b"sip:bob@example.com",
        [
            (b"From", b"<sip:a@example.com>;tag=1"),
            (b"To", b"<sip:b@example.com>"),
            (b"Call-ID", b"x"),
            (b"CSeq", b"1 OPTIONS"),
        ],
        b"body",
    )
    request.prepend(b"Via", b"SIP/2.0/UDP h;branch=z9hG4bK1")
    again = parse(bytes(request))
    assert isinstance(again, Request)
    assert (again.method, again.body, again.max_forwards) == (b"OPTIONS", b"body", 70)


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        (b"CSeq: 7 INVITE", b"CSeq: 2147483648 INVITE", "Malformed CSeq Header"),
        (b"CSeq: 7 INVITE", b"CSeq: +7 INVITE", "Malformed CSeq Header"),
        (b"CSeq: 7 INVITE", b"CSeq: 7 BYE", "CSeq Method Differs From Request Method"),
        (b"Max-Forwards: 70", b"Max-Forwards: 256", "Malformed Max-Forwards Header"),
        (b"Max-Forwards: 70", b"Max-Forwards: -1", "Malformed Max-Forwards Header"),
        (b"Max-Forwards: 70", b"Max-Forwards: 7_0", "Malformed Max-Forwards Header"),
        (b"l: 4", b"l: 5", "Body Shorter Than Content-Length"),
        (b"l: 4", b"l: 0x4", "Malformed Content-Length Header"),
        (b"l: 4", b"l: 4\r\nContent-Length: 4", "More Than One Content-Length Header"),
        (b"Timestamp", b"Call-ID: other\r\nTimestamp", "More Than One Call-ID Header"),
        (b"Call-ID: c1@192.0.2.1", b"Call-ID: ", "Malformed Call-ID Header"),
        (b"Call-ID: c1@192.0.2.1\r\n", b"", "Missing Call-ID Header"),
        (b"Timestamp: 54.2", b"no colon here", "Malformed Header Line"),
        (b"Timestamp: 54.2", b"Timestamp", "Malformed Header Line"),
        (b"Timestamp: 54.2", b"na me: x", "Malformed Header Line"),
        (b'From: "Alice', b"From: Alice", "Malformed From Header"),
        (b"To: Bob <", b"To: Bob ", "Malformed To Header"),
        (b"SIP/2.0/UDP 192.0.2.1:5062", b"SIP/2.0/UDP 192.0.2.1:99999", "port out of range in Via"),
        (b"SIP/2.0/UDP 192.0.2.1", b"SIP/3.0/UDP 192.0.2.1", "malformed Via"),
        (b"sip:bob@example.com SIP", b"sip:bob@ SIP", "Malformed Request-URI: malformed SIP URI"),
    ],
)
def test_refused_with_400(old: bytes, new: bytes, reason: str) -> None:
    assert old in INVITE
    assert refused(INVITE.replace(old, new, 1)) == (400, reason)


def test_a_from_without_tag_is_not_to_blame() -> None:
    untagged = INVITE.replace(b";tag=f1", b"")
    assert parse(untagged).from_tag is None
    assert refused(untagged.replace(b"To: Bob <", b"To: Bob ")) == (400, "Malformed To Header")


def test_what_is_not_sip_is_dropped() -> None:
    for data in (
        b"",
        b"\r\n\r\n",
        b"\0" * 40,
        b"GET / HTTP/1.1\r\n\r\n",
        b"INVITE\r\n\r\n",
        b"SIP/2.0 2000 OK\r\n\r\n",
    ):
        assert refused(data)[0] is None


def test_the_faulty_request_is_there_to_be_answered() -> None:
    with pytest.raises(ParseError) as caught:
        parse(INVITE.replace(b"CSeq: 7", b"CSeq: x"))
    message = caught.value.message
    assert isinstance(message, Request)
    assert b"CSeq: x INVITE" in bytes(message.response(400))


def test_malformed_responses_are_dropped() -> None:
    response = bytes(invite().response(200))
    assert isinstance(parse(response), Response)
    assert refused(response.replace(b"CSeq: 7", b"CSeq: seven"))[0] is None
    assert refused(response[:-4])[0] is None


def test_limits() -> None:
    long_header = INVITE.replace(b"X-Odd", b"X-Long: " + b"x" * syntax.MAX_HEADER_BYTES + b"\r\nX-Odd")
    assert refused(long_header) == (513, "Header Too Large")
    many = INVITE.replace(b"X-Odd", b"X: 1\r\n" * syntax.MAX_HEADERS + b"X-Odd")
    assert refused(many) == (400, "Too Many Header Lines")
    assert refused(INVITE.replace(b"l: 4", b"l: 99999999")) == (513, "Message Too Large")
    assert refused(INVITE[: INVITE.index(b"Contact")])[0] == 400


@pytest.mark.parametrize("count", [400, 600, 1000, 3000, 20_000])
def test_what_refuses_too_many_vias_is_no_longer_than_a_request_may_be(count: int) -> None:
    """Otherwise whoever sent them would drop the answer for its own length, unseen."""
    many = b"".join(b"v:SIP/2.0/UDP h%d\r\n" % number for number in range(count))
    with pytest.raises(ParseError) as caught:
        parse(INVITE.replace(b"From:", many + b"X: y\r\n" * 200 + b"From:"))
    assert isinstance(caught.value.message, Request)
    answer = caught.value.message.response(caught.value.status or 0, to_tag=b"t")
    again = parse(bytes(answer))
    assert isinstance(again, Response)
    assert (again.branch, again.call_id, again.cseq) == (b"z9hG4bKa1", b"c1@192.0.2.1", (7, b"INVITE"))
    assert (again.from_tag, again.to_tag) == (b"f1", b"t")
    assert len(again.headers()) <= syntax.MAX_HEADERS + 2
    assert len(bytes(again)) < syntax.MAX_HEADER_BYTES + 100
    assert again.values(b"via")[3:5] == [b"SIP/2.0/UDP h0", b"SIP/2.0/UDP h1"]


def test_whatever_a_request_may_have_a_response_may_bring_back() -> None:
    most = syntax.MAX_HEADERS - INVITE.count(b"\r\n") + 2
    request = parse(INVITE.replace(b"From:", b"Via: SIP/2.0/UDP h\r\n" * most + b"From:"))
    assert isinstance(request, Request)
    request.push_via(b"SIP/2.0/UDP us")
    response = request.response(200, to_tag=b"t")
    for _ in range(200):
        response.append(b"X", b"y" * 150)
    assert len(bytes(response)) > syntax.MAX_HEADER_BYTES
    assert bytes(parse(bytes(response))) == bytes(response)
    for _ in range(syntax.MAX_HEADERS):
        response.append(b"X", b"y")
    assert refused(bytes(response))[0] is None


def test_the_body_of_what_is_too_long_is_not_looked_at() -> None:
    body = b"\r\nVia: SIP/2.0/UDP other\r\nCall-ID: other\r\n"
    with pytest.raises(ParseError) as caught:
        parse(INVITE.replace(b"Call-ID", b"X: 1\r\n" * 600 + b"Call-ID") + body)
    assert caught.value.message is not None
    assert caught.value.message.call_id == b"c1@192.0.2.1"
    assert len(caught.value.message.values(b"via")) == 3


def test_bare_line_ends_cannot_smuggle_a_line() -> None:
    request = parse(INVITE.replace(b"Timestamp: 54.2", b"Timestamp: 54.2\nRoute: <sip:evil;lr>\rSubject: x"))
    assert request.values(b"route")[-1] == b"<sip:evil;lr>"
    assert b"54.2\r\nRoute: <sip:evil;lr>\r\nSubject: x\r\n" in bytes(request)


def test_leading_line_ends_are_skipped() -> None:
    assert bytes(parse(b"\r\n\r\n" + INVITE)) == INVITE


@given(st.binary(max_size=300))
def test_parse_raises_nothing_but_parse_error(data: bytes) -> None:
    with contextlib.suppress(ParseError):
        parse(data)


@given(st.data())
def test_damaged_messages_raise_nothing_but_parse_error(data: st.DataObject) -> None:
    damaged = bytearray(INVITE)
    for _ in range(data.draw(st.integers(1, 8))):
        start = data.draw(st.integers(0, len(damaged)))
        end = data.draw(st.integers(start, min(start + 20, len(damaged))))
        damaged[start:end] = data.draw(
            st.binary(max_size=6) | st.sampled_from([b"\r\n", b",", b";", b"<", b'"', b":"])
        )
    try:
        message = parse(bytes(damaged))
    except ParseError as error:
        if isinstance(error.message, Request):
            bytes(error.message.response(400, to_tag=b"t"))
        return
    use_everything(message)


def use_everything(message: Message) -> None:
    """What a proxy reads; typed access may refuse a header that parse() left unread, in one way only."""
    assert parse(bytes(message)).headers() == message.headers()
    for key, _ in message.headers():
        with contextlib.suppress(ParseError):
            message.addresses(key)
    _ = message.from_, message.to, message.top_via, message.max_forwards, message.branch
    while message.remove_first(b"via") is not None:
        pass


NAMES = st.sampled_from([b"Via", b"Route", b"Subject", b"X-New", b"Max-Forwards", b"Record-Route"])
VALUES = st.sampled_from([b"SIP/2.0/UDP h;branch=z9hG4bKb", b"<sip:a;lr>", b"1", b"<sip:a;lr>, <sip:b;lr>"])
EDITS = st.tuples(st.sampled_from(["prepend", "append", "set", "remove_first", "remove"]), NAMES, VALUES)


@given(st.lists(EDITS, max_size=8))
def test_edits_agree_with_a_list_of_lines(edits: list[tuple[str, bytes, bytes]]) -> None:
    request = invite()
    model = [(key, value) for key, value in request.headers()]
    for verb, name, value in edits:
        key = name.lower()
        if verb == "prepend":
            request.prepend(name, value)
            model.insert(0, (key, value))
        elif verb == "append":
            request.append(name, value)
            model.append((key, value))
        elif verb == "set":
            request.set(name, value)
            positions = [index for index, (other, _) in enumerate(model) if other == key]
            model = [entry for index, entry in enumerate(model) if index not in positions[1:]]
            if positions:
                model[positions[0]] = key, value
            else:
                model.append((key, value))
        elif verb == "remove":
            request.remove(key)
            model = [entry for entry in model if entry[0] != key]
        else:
            index = next((index for index, entry in enumerate(model) if entry[0] == key), None)
            taken = request.remove_first(key)
            if index is None:
                assert taken is None
                continue
            whole = model[index][1]
            parts = [part.strip() for part in whole.split(b",")] if key in header.LISTS else [whole]
            assert taken == parts[0]
            if len(parts) > 1:
                model[index] = key, b", ".join(parts[1:])
            else:
                del model[index]
    assert request.headers() == model
    for key in {key for key, _ in model}:
        assert request.first(key) == next(value for other, value in model if other == key)
        assert request.all(key) == [value for other, value in model if other == key]


BLANKS = b" " * 30_000


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"To: Bob <", b"To: " + BLANKS + b"x <"),
        (b"To: Bob <sip:bob@example.com>", b"To: x" + BLANKS),
        (b"To: Bob <", b'To: "' + b'\\"' * 15_000 + b" <"),
        (b"To: Bob <sip:bob@example.com>", b"To: <sip:bob@example.com>" + b";a" * 15_000),
        (b"To: Bob <sip:bob@example.com>", b"To: <sip:bob@example.com>" + b" ;a = b" * 4_000 + b";"),
        (b"folded\r\n\t", b"folded" + BLANKS + b"\r\n\t"),
        (b"folded\r\n\t", b"folded" + b"\r\n\t" * 450),
        (b";rport", b";rport" + b";rport" * 5_000),
        (b";rport", BLANKS + b";rport" + BLANKS[:100]),
        (b"192.0.2.1:5062", b"a" + b"-" * 30_000),
        (b"sip:bob@example.com SIP", b"sip:bob@" + b"a." * 15_000 + b"- SIP"),
        (b"sip:bob@example.com SIP", b"sip:" + b"a;b=" * 7_000 + b" SIP"),
        (b"CSeq: 7", b"CSeq: " + b"7" * 30_000),
        (b"l: 4", b"l: " + b"0" * 30_000),
        (b"Route: ", b"Route: " + b"<" * 30_000),
        (b"Route: ", b"Route: " + b'",' * 15_000),
    ],
)
def test_no_input_takes_long(old: bytes, new: bytes) -> None:
    """Quadratic matching would take seconds for these."""
    assert old in INVITE
    start = time.process_time()
    with contextlib.suppress(ParseError):
        message = parse(INVITE.replace(old, new, 1))
        use_everything(message)
    with contextlib.suppress(ParseError):
        parse(INVITE.replace(old, new, 1)).top_via.stamped(b"192.0.2.9", 1)
    assert time.process_time() - start < 1.0


def test_vias_are_pushed_and_popped() -> None:
    request = invite()
    before = bytes(request)
    request.push_via(b"SIP/2.0/UDP proxy;branch=z9hG4bKnew")
    assert bytes(request).startswith(request.start_line + b"\r\nVia: SIP/2.0/UDP proxy;branch=z9hG4bKnew\r\n")
    assert request.branch == b"z9hG4bKnew"
    request.pop_via()
    assert bytes(request) == before
    request.pop_via()
    assert request.values(b"via") == [b"SIP/2.0/TCP 192.0.2.2;branch=z9hG4bKa0", b"SIP/2.0/UDP 192.0.2.3"]
    request.pop_via()
    assert request.values(b"via") == [b"SIP/2.0/UDP 192.0.2.3"]
    request.pop_via()
    assert b"via" not in request


def test_hops_are_counted_in_place() -> None:
    request = invite()
    request.take_hop(70)
    assert bytes(request) == INVITE.replace(b"Max-Forwards: 70", b"Max-Forwards: 69")
    assert request.max_forwards == 69
    request.remove(b"max-forwards")
    request.take_hop(7)
    assert request.headers()[-1] == (b"max-forwards", b"7")
    for unusual, left in ((b"007", 6), (b"0", 0)):
        request.set(b"Max-Forwards", unusual)
        request.take_hop(7)
        assert request.max_forwards == left


def test_unusual_names_and_repeated_ones() -> None:
    plain = (
        b"OPTIONS sip:a@b SIP/2.0\r\nVia: SIP/2.0/UDP h;branch=z9hG4bK1\r\nFrom: <sip:c@d>;tag=1\r\n"
        b"To: <sip:a@b>\r\nCall-ID: 1\r\nCSeq: 1 OPTIONS\r\nMax-Forwards: 70\r\n\r\n"
    )
    odd = plain.replace(b"Max-Forwards: 70", b"mAX-fORWARDS : 70\r\nX-Odd: 1\r\nX-Odd: 2")
    request = parse(odd)
    assert request.max_forwards == 70
    assert request.all(b"x-odd") == [b"1", b"2"]
    assert bytes(request) == odd
    for spelling, reason in (
        (b"Max-Forwards: 70\r\nMAX-FORWARDS: 70", "More Than One Max-Forwards"),
        (b"Via: SIP/2.0/UDP h\r\nt: <sip:a@b>", "More Than One To"),
        (b"Max-Forwards: 70\r\nTo", "Malformed Header Line"),
        (b"Max-Forwards: 70\r\nno name: 1", "Malformed Header Line"),
    ):
        with pytest.raises(ParseError, match=reason):
            parse(plain.replace(b"Max-Forwards: 70", spelling))


def test_a_line_may_be_alone_or_among_others() -> None:
    request = invite()
    assert request.is_alone(b"call-id")
    assert request.is_alone(b"proxy-require")
    assert not request.is_alone(b"via")
    request.take_line(b"via")
    assert not request.is_alone(b"via")  # a list of two
    request.take_line(b"via")
    assert request.is_alone(b"via")
    request.push_via(b"SIP/2.0/UDP p;branch=z9hG4bK2")
    assert request.is_alone(b"via")
    assert request.branch == b"z9hG4bK2"


@pytest.mark.parametrize(
    ("line", "tag"),
    [
        (b"From: <sip:a@b>;tag=x", b"x"), (b"From: <sip:a@b;c=d?e=f>;tag=x", b"x"), (b"To: <sip:a@b>", None),
        (b"To: <sip:a b@c>", None), (b"To: <sip:>;tag=x", b"x"), (b"To: <sip:a@b>;x;tag=y", b"y"),
        (b"From: <sip:a@b>;tag=\xff", b"\xff"), (b'To: "A: <sip:a@b>" <sip:c@d>', None),
    ],
)  # fmt: skip
def test_a_tag_is_found_at_a_glance_as_it_is_at_leisure(line: bytes, tag: bytes | None) -> None:
    tags = syntax.TO_TAGS if line.startswith(b"To") else syntax.FROM_TAGS
    assert syntax.tag_or_none(tags, line) == tag
    with contextlib.suppress(address.AddressError):
        assert address.parse(line.partition(b":")[2].strip()).tag == tag
