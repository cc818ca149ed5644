"""Every kind of bad message over UDP, TCP and TLS while a neighbour's calls go on.

Each is answered, forwarded unharmed or dropped, by rule; what is not forwarded is counted; the log has no
exception.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from haproxy.sip.message import Request
from haproxy.testing.genproxy import own_host
from haproxy.testing.place import Place
from haproxy.testing.sender import Sender
from haproxy.testing.sipp import Sipp
from rtlib.testing.daemon import wait_until

SIPP = Path(__file__).parents[1] / "sip_sipp"
TRANSPORTS = ["udp", "tcp", "tls"]
MANY = 1_000_000
LONG = ["-timeout", "600s"]

pytestmark = pytest.mark.peer("sipp")


@pytest.fixture(scope="module", autouse=True)
def neighbour(place: Place, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Calls from a phone to a Genesis system, all the time: none of them fails."""
    server, folder = place.proxy.server, tmp_path_factory.mktemp("neighbour")
    with Sender(place.proxy.host, place.proxy.port, "udp") as trunk:
        address, port = trunk.sock.getsockname()
        registration = trunk.request(b"REGISTER", f"sip:{place.proxy.host}".encode())
        user = f"sip:genesis_a@{place.proxy.host}".encode()
        registration.set(b"To", b"<%b>" % user)
        trunk.sock.send(bytes(registration))
        [answer] = trunk.receive()
        assert answer.startswith(b"SIP/2.0 200 ")
    genesis = Sipp(
        *(folder, SIPP / "genesis.xml", server),
        user="100",
        host=address,
        port=port,
        calls=MANY,
        arguments=LONG,
    )
    caller = Sipp(
        *(folder, SIPP / "caller.xml", server),
        user="5000",
        host=own_host(),
        calls=MANY,
        arguments=[*LONG, "-d", "200", "-r", "20"],
    )
    with genesis, caller:
        wait_until(lambda: "\nBYE sip:" in genesis.messages)
        yield
        ended = genesis.messages.count("\nBYE sip:")
        wait_until(lambda: genesis.messages.count("\nBYE sip:") > ended)
        caller.call_no_more()
        caller.finish()
    assert place.proxy.metric("decisions_total", 'kind="failovers"') == 0


def invite(sender: Sender, place: Place, *headers: tuple[bytes, bytes], body: bytes = b"") -> Request:
    return sender.request(b"INVITE", b"sip:x@" + place.sink.address, *headers, body=body)


def nested(depth: int) -> bytes:
    """Multipart in multipart in multipart."""
    body = b"text\r\n"
    for level in range(depth):
        mark = b"--b%d" % level
        body = b"%b\r\nContent-Type: multipart/mixed;boundary=b%d\r\n\r\n%b%b--\r\n" % (
            mark,
            level,
            body,
            mark,
        )
    return body


BODIES = {
    "NULs": b"\0" * 1000,
    "invalid UTF-8": b"\xff\xfe\xc3\x28\xed\xa0\x80" * 50,
    "every byte": bytes(range(256)) * 100,
    "60 KiB": b"x" * 61_000,
    "multipart, 300 deep": nested(300),
    "a message": b"INVITE sip:evil SIP/2.0\r\nContent-Length: 5\r\n\r\n",
}

VALUES = {
    "NUL": b"a\0b",
    "invalid UTF-8": b"caf\xc3 \xff\xfe",
    "control characters": bytes(set(range(1, 32)) - {10, 13}),
    "long": b"x" * 20_000,
    "folded": b"one\r\n two\r\n\tthree",
    "quoted line": b'"; tag=1, <sip:x>, \\"',
}


def test_what_is_odd_but_right_is_forwarded_unharmed(place: Place) -> None:
    for transport in TRANSPORTS:
        forward_odd_ones(place, transport)


def forward_odd_ones(place: Place, transport: str) -> None:
    with place.sender(transport) as sender:
        for body in BODIES.values():
            request = invite(sender, place, (b"Content-Type", b"multipart/mixed;boundary=b299"), body=body)
            assert sender.ask(bytes(request)).statuses == []
            assert place.sink.take(request.call_id).partition(b"\r\n\r\n")[2] == body
        for value in VALUES.values():
            request = invite(sender, place, (b"Subject", value))
            assert sender.ask(bytes(request)).statuses == []
            assert b"\r\nSubject: " + value + b"\r\n" in place.sink.take(request.call_id)
        request = invite(sender, place, *[(b"X", b"y")] * 480)
        assert sender.ask(bytes(request)).statuses == []
        assert place.sink.take(request.call_id).count(b"\r\nX: y") == 480


HOST = b"sip:x@HOST SIP"
REFUSED: list[tuple[str, bytes, bytes, list[int]]] = [
    ("Max-Forwards -1", b"Max-Forwards: 70", b"Max-Forwards: -1", [400]),
    ("Max-Forwards 10^30", b"Max-Forwards: 70", b"Max-Forwards: 1" + b"0" * 30, [400]),
    ("Max-Forwards 0", b"Max-Forwards: 70", b"Max-Forwards: 0", [483]),
    ("CSeq -1", b"CSeq: 1", b"CSeq: -1", [400]),
    ("CSeq 2^31", b"CSeq: 1", b"CSeq: 2147483648", [400]),
    ("CSeq of 5,000 digits", b"CSeq: 1", b"CSeq: " + b"9" * 5000, [400]),
    ("CSeq in Arabic digits", b"CSeq: 1", "CSeq: ١".encode(), [400]),
    ("CSeq of another method", b"CSeq: 1 INVITE", b"CSeq: 1 BYE", [400]),
    ("no From", b"From", b"X-From", [400]),
    ("two To", b"To: ", b"To: <sip:a>\r\nTo: ", [400]),
    ("NUL in a name", b"Max-Forwards", b"X\0Y: 1\r\nMax-Forwards", [400]),
    ("a line without a colon", b"Max-Forwards", b"nonsense\r\nMax-Forwards", [400]),
    ("tag with a quote", b";tag=s", b';tag="s', [400]),
    ("version", b"SIP/2.0\r\nVia", b"SIP/3.0\r\nVia", [505]),
    ("scheme", HOST, b"http://x/ SIP", [416]),
    ("no URI", HOST, b"x SIP", [400]),
    ("port 0", HOST, b"sip:x@192.0.2.1:0 SIP", [400]),
    ("port 99999", HOST, b"sip:x@192.0.2.1:99999 SIP", [400]),
    ("port of 400 digits", HOST, b"sip:x@192.0.2.1:" + b"9" * 400 + b" SIP", [400]),
    ("headers in the URI", HOST, b"sip:x@192.0.2.1?Route=%3Csip:x%3E SIP", [400]),
    ("invalid UTF-8 in the URI", HOST, b"sip:\xff\xfe@\xff SIP", [400]),
    ("IPv6 with a zone", HOST, b"sip:x@[fe80::1%25lo] SIP", [400]),
    ("IPv6 with a letter g", HOST, b"sip:x@[::g] SIP", [400]),
    ("IPv6 without brackets", HOST, b"sip:x@2001:db8::10 SIP", [400]),
    ("IPv6 unfinished", HOST, b"sip:x@[2001:db8::10 SIP", [400]),
    ("IPv6 empty", HOST, b"sip:x@[] SIP", [400]),
    ("IPv6 of nine parts", HOST, b"sip:x@[1:2:3:4:5:6:7:8:9] SIP", [400]),
    ("IPv6 with three colons", HOST, b"sip:x@[2001:db8:::192.0.2.1] SIP", [400]),
    ("IPv6 that we cannot reach", HOST, b"sip:x@[2001:db8::10] SIP", [500]),
    ("unknown transport", HOST, b"sip:x@192.0.2.1;transport=smoke SIP", [500]),
    ("Route that is none", b"Max-Forwards", b"Route: <<>>\r\nMax-Forwards", [400]),
    ("Route with IPv6 of 9 parts", b"Max-", b"Route: <sip:[1:2:3:4:5:6:7:8:9];lr>\r\nMax-", [400]),
    ("Proxy-Require", b"Max-Forwards", b"Proxy-Require: \xff, y\r\nMax-Forwards", [420]),
    ("1,000 Via lines", b"From", b"Via: SIP/2.0/UDP h;branch=z9hG4bK\r\n" * 1000 + b"From", [513]),
    ("10,000 lines", b"From", b"X: y\r\n" * 9_500 + b"From", [513]),
    ("1,000 lines", b"From", b"X: y\r\n" * 1000 + b"From", [400]),
    ("a line of 40 KiB", b"From", b"X: " + b"y" * 40_000 + b"\r\nFrom", [513]),
    ("Via port 0", b";branch", b";branch=z9hG4bKzero\r\nVia: SIP/2.0/UDP h:0;branch", []),
]  # fmt: skip


def test_what_is_wrong_is_refused_and_counted(place: Place) -> None:
    for transport in TRANSPORTS:
        refuse_wrong_ones(place, transport)


def refuse_wrong_ones(place: Place, transport: str) -> None:
    before = place.counted()
    for name, old, new, due in REFUSED:
        with place.sender(transport) as sender:
            request = invite(sender, place)
            data = bytes(request).replace(b"@" + place.sink.address + b" SIP", b"@HOST SIP", 1)
            assert old in data, name
            data = data.replace(old, new, 1).replace(b"@HOST SIP", b"@" + place.sink.address + b" SIP", 1)
            assert sender.ask(data).statuses == due, (name, transport)
    assert place.counted() - before >= sum(bool(due) for _, _, _, due in REFUSED)
    assert place.sink.take(request.call_id)  # the last: a Via below the top is not ours to judge
    assert place.sink.others() == []


FIVE = b"Content-Length: 5"
LENGTHS = {
    b"Content-Length: -5": 400,
    b"Content-Length: +5": 400,
    b"Content-Length: five": 400,
    b"Content-Length:": 400,
    b"Content-Length: 0x5": 400,
    b"Content-Length: 5 5": 400,
    b"Content-Length: 5\r\nl: 7": 400,
    b"Content-Length: 999999999": 513,
    b"Content-Length: " + b"9" * 400: 400,
}
TRUSTED = {b"Content-Length: 3": b"123", b"l:\r\n 5": b"12345"}


def test_wrong_lengths(place: Place) -> None:
    for transport in TRANSPORTS:
        for length, due in LENGTHS.items():
            with place.sender(transport) as sender:
                outcome = sender.ask(bytes(invite(sender, place, body=b"12345")).replace(FIVE, length))
                assert outcome.statuses == [due], (length, transport)
                assert outcome.closed == (transport != "udp"), "what follows in a stream cannot be told apart"
        for length, body in TRUSTED.items():
            with place.sender(transport) as sender:
                request = invite(sender, place, body=b"12345")
                sender.ask(bytes(request).replace(FIVE, length))
                assert place.sink.take(request.call_id).partition(b"\r\n\r\n")[2] == body
    with place.sender("udp") as sender:
        request = invite(sender, place, body=b"12345")
        assert sender.ask(bytes(request).replace(FIVE, b"Content-Length: 50")).statuses == [400]
    assert place.sink.others() == []


def test_what_fits_into_no_datagram_harms_nobody_else(place: Place) -> None:
    """The system's refusal to send it is not taken for a sign that the Genesis system cannot be reached."""
    own = b"sip:100@" + place.proxy.host.encode()
    for transport in TRANSPORTS:
        for uri in (own, b"sip:x@" + place.sink.address):
            with place.sender(transport) as sender:
                request = sender.request(b"INVITE", uri)
                request.replace_body(b"x" * (65_500 - len(bytes(request)) - 40), b"text/plain")
                assert sender.ask(bytes(request)).statuses == [513], (uri, transport)
        if transport != "udp":
            with place.sender(transport) as sender:
                request.replace_body(b"x" * 65_500)
                outcome = sender.ask(bytes(request))
                assert outcome.closed or outcome.statuses == [513]
    assert "genesis_a" in place.proxy.cli("show", "bindings")
    assert place.sink.others() == []
