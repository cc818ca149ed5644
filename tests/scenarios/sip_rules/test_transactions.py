"""Rules of RFC 3261 that show on the wire: timers, routes, connections. Raw sockets are the peers."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from haproxy.sip.message import Message, Request, Response, parse
from haproxy.testing.genproxy import Genproxy, Settings, own_host
from haproxy.testing.place import Place
from haproxy.testing.sender import Sender, Sink
from rtlib.testing.daemon import free_port


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    listed = own_host()
    settings: Settings = {
        "proxy": {"enableAntiFlood": False, "enableAstFailover": False, "proxyList": [listed]}
    }
    folder = tmp_path_factory.mktemp("rules") / "proxy"
    with (
        Genproxy(folder, settings=settings, subscribers={"5000": "x", "genesis_a": "x"}) as proxy,
        Sink() as sink,
    ):
        yield Place(proxy, listed, sink)
        assert "Traceback" not in proxy.daemon.text


def wait(sender: Sender, call_id: bytes, least: int = 101) -> Response:
    """The next response of that Call-ID with this status or a higher one."""
    while True:
        for data in sender.receive():
            message = parse(data)
            if isinstance(message, Response) and message.call_id == call_id and message.status >= least:
                return message


def to_sink(
    sender: Sender, place: Place, method: bytes = b"INVITE", *headers: tuple[bytes, bytes]
) -> Request:
    return sender.request(method, b"sip:x@" + place.sink.address, *headers)


def request_at(place: Place, call_id: bytes, method: bytes = b"INVITE") -> Request:
    """The next request of that Call-ID and method that reaches the sink; it is not answered."""
    while True:
        found = place.sink.next()
        if isinstance(found, Request) and (found.call_id, found.method) == (call_id, method):
            return found


@pytest.mark.parametrize("method", [b"INVITE", b"MESSAGE"])
def test_timers_a_and_e_repeat_a_request_until_it_is_answered(place: Place, method: bytes) -> None:
    with place.sender("udp") as sender:
        request = to_sink(sender, place, method)
        sender.sock.send(bytes(request))
        copies = [request_at(place, request.call_id, method) for _ in range(3)]
        assert len({bytes(copy) for copy in copies}) == 1
        place.sink.send(copies[0].response(486, to_tag=b"t"))
        answer = wait(sender, request.call_id, 200)
        assert answer.status == 486
        if method == b"INVITE":
            assert request_at(place, request.call_id, b"ACK").branch == copies[0].branch
            sender.sock.send(bytes(ack_of(request, answer)))


def ack_of(request: Request, answer: Response) -> Request:
    ack = Request(b"ACK", request.uri, [(b"Via", request.top_via.raw)])
    for key, name in ((b"from", b"From"), (b"call-id", b"Call-ID")):
        ack.append(name, request.first(key) or b"")
    ack.append(b"To", answer.first(b"to") or b"")
    ack.append(b"CSeq", b"1 ACK")
    ack.append(b"Content-Length", b"0")
    return ack


def test_timer_g_repeats_a_refusal_until_its_ack(place: Place) -> None:
    """And timer I absorbs what comes after that."""
    with place.sender("udp") as sender:
        request = sender.request(b"INVITE", b"tel:+4930")
        sender.sock.send(bytes(request))
        answers = [wait(sender, request.call_id) for _ in range(3)]
        assert {bytes(answer) for answer in answers} == {bytes(answers[0])}
        sender.sock.send(bytes(ack_of(request, answers[0])))
        assert sender.ask(bytes(ack_of(request, answers[0]))).statuses in ([], [416])
        sender.sock.settimeout(3)  # a repetition would be due after two
        with pytest.raises(TimeoutError):
            wait(sender, request.call_id)


def test_100_within_200_ms_and_a_repeated_invite_goes_no_further(place: Place) -> None:
    with place.sender("udp") as sender:
        request = to_sink(sender, place)
        sender.sock.send(bytes(request))
        assert wait(sender, request.call_id, 100).status == 100
        forwarded = request_at(place, request.call_id)
        place.sink.send(forwarded.response(180, to_tag=b"t"))
        assert wait(sender, request.call_id).status == 180
        sender.sock.send(bytes(request))
        assert wait(sender, request.call_id).status == 180
        place.sink.send(forwarded.response(404, to_tag=b"t"))
        answer = wait(sender, request.call_id, 200)
        assert request_at(place, request.call_id, b"ACK")
        sender.sock.send(bytes(ack_of(request, answer)))
        assert [other for other in place.sink.others() if request.call_id in other] == []


def test_timer_j_answers_a_repeated_request_again(place: Place) -> None:
    with place.sender("udp") as sender:
        request = to_sink(sender, place, b"MESSAGE")
        sender.sock.send(bytes(request))
        forwarded = request_at(place, request.call_id, b"MESSAGE")
        place.sink.send(forwarded.response(202, to_tag=b"t"))
        first = wait(sender, request.call_id)
        sender.sock.send(bytes(request))
        assert bytes(wait(sender, request.call_id)) == bytes(first)
        place.sink.send(forwarded.response(202, to_tag=b"t"))  # timer K absorbs it
        assert sender.ask(b"\r\n\r\n").statuses == []


def test_every_2xx_is_passed_on_and_its_ack_goes_along_the_route_set(place: Place) -> None:
    """RFC 6026: timers L and M. A CANCEL that comes too late changes nothing."""
    with place.sender("udp") as sender:
        request = to_sink(sender, place)
        sender.sock.send(bytes(request))
        forwarded = request_at(place, request.call_id)
        accepted = forwarded.response(200, to_tag=b"t")
        accepted.append(b"Contact", b"<sip:x@%b>" % place.sink.address)
        for _ in range(3):
            place.sink.send(accepted)
            answer = wait(sender, request.call_id, 200)
            assert (answer.status, answer.to_tag) == (200, b"t")
        sender.sock.send(bytes(request))  # absorbed in state Accepted
        route = answer.values(b"record-route")
        assert route
        ack = sender.request(
            b"ACK", b"sip:x@" + place.sink.address, *[(b"Route", value) for value in route[::-1]]
        )
        ack.set(b"Call-ID", request.call_id)
        ack.set(b"From", request.first(b"from") or b"")
        ack.set(b"To", answer.first(b"to") or b"")
        sender.sock.send(bytes(ack))
        got = request_at(place, request.call_id, b"ACK")
        assert got.uri == b"sip:x@" + place.sink.address
        assert got.values(b"route") == []
        assert got.branch != forwarded.branch, "it is a transaction of its own"


def test_a_strict_router_is_next(place: Place) -> None:
    """RFC 3261 section 16.6 step 6: it wants itself in the Request-URI, and the real one at the end."""
    with place.sender("udp") as sender:
        strict = b"<sip:strict@%b>" % place.sink.address
        request = sender.request(
            b"INVITE", b"sip:far@192.0.2.77", (b"Route", strict + b", <sip:192.0.2.78;lr>")
        )
        sender.sock.send(bytes(request))
        got = request_at(place, request.call_id)
        assert got.uri == strict[1:-1]
        assert got.values(b"route") == [b"<sip:192.0.2.78;lr>", b"<sip:far@192.0.2.77>"]
        place.sink.send(got.response(100))


def test_a_loose_router_is_next(place: Place) -> None:
    with place.sender("udp") as sender:
        loose = b"<sip:%b;lr>" % place.sink.address
        request = sender.request(b"INVITE", b"sip:far@192.0.2.77", (b"Route", loose))
        sender.sock.send(bytes(request))
        got = request_at(place, request.call_id)
        assert (got.uri, got.values(b"route")) == (b"sip:far@192.0.2.77", [loose])
        place.sink.send(got.response(100))


def test_a_strict_router_before_us(place: Place) -> None:
    """Section 16.4: in its request our Record-Route is the Request-URI."""
    with place.sender("udp") as sender:
        request = to_sink(sender, place)
        sender.sock.send(bytes(request))
        forwarded = request_at(place, request.call_id)
        (own,) = forwarded.values(b"record-route")
        place.sink.send(forwarded.response(200, to_tag=b"t"))
        answer = wait(sender, request.call_id, 200)
        target = b"<sip:x@%b>" % place.sink.address
        bye = sender.request(b"BYE", own[1:-1], (b"Route", target))
        for key, name in ((b"call-id", b"Call-ID"), (b"from", b"From"), (b"to", b"To")):
            bye.set(name, answer.first(key) or b"")
        sender.sock.send(bytes(bye))
        got = request_at(place, request.call_id, b"BYE")
        assert (got.uri, got.values(b"route")) == (target[1:-1], [])
        place.sink.send(got.response(200))


def test_one_connection_serves_both_ways_and_answers_keep_alives(place: Place) -> None:
    """RFC 3261 section 18, RFC 5626 section 4.4.1: a call comes on the connection that has registered."""
    host = place.proxy.host
    with place.sender("tcp") as phone, Sender(host, place.proxy.port, "udp") as genesis:
        for peer, user in ((phone, "5000"), (genesis, "genesis_a")):
            registration = peer.request(b"REGISTER", f"sip:{host}".encode())
            registration.set(b"To", f"<sip:{user}@{host}>".encode())
            peer.sock.send(bytes(registration))
            assert wait(peer, registration.call_id).status == 200
        phone.sock.sendall(b"\r\n\r\n")
        assert phone.sock.recv(100) == b"\r\n"
        call = genesis.request(b"INVITE", f"sip:5000@{host}".encode())
        genesis.sock.send(bytes(call))
        (got,) = phone.receive()
        request = parse(got)
        assert isinstance(request, Request)
        assert (request.method, request.call_id) == (b"INVITE", call.call_id)
        assert request.top_via.transport == b"TCP"
        phone.sock.sendall(bytes(request.response(486, to_tag=b"t")))
        refused = wait(genesis, call.call_id, 200)
        assert refused.status == 486
        genesis.sock.send(bytes(ack_of(call, refused)))
        assert place.proxy.metric("connections") == 1
    place.proxy.cli("flush", "bindings")


@pytest.mark.parametrize(
    "form", ["[::ffff:{}]:{}", "[::FFFF:{}]:{};transport=udp", "x.invalid:{1};maddr=[::ffff:{0}]"]
)
def test_an_ipv4_address_in_an_ipv6_reference(place: Place, form: str) -> None:
    """RFC 4291 section 2.5.5.2: it is that IPv4 address."""
    uri = "sip:far@" + form.format(*place.sink.address.decode().split(":"))
    with place.sender("udp") as sender:
        request = sender.request(b"MESSAGE", uri.encode())
        sender.sock.send(bytes(request))
        got = request_at(place, request.call_id, b"MESSAGE")
        assert got.uri == uri.encode()
        place.sink.send(got.response(200))
        assert wait(sender, request.call_id, 200).status == 200


def test_a_call_over_ipv6(tmp_path: Path) -> None:
    if not Path("/proc/net/if_inet6").exists():
        pytest.skip("this machine has no IPv6")
    port = free_port("udp", "::1")
    metrics = f"[::1]:{free_port('tcp', '::1')}"
    system: dict[str, str | int] = {"privatePort": port, "privateSubnet": "64", "metricsListen": metrics}
    settings: Settings = {"system": system, "proxy": {"enableAntiFlood": False}}
    users = {"5000": "x", "genesis_a": "x"}
    with Genproxy(tmp_path / "six", host="::1", settings=settings, subscribers=users) as proxy:
        own = ("::1", 0)
        with Sender("::1", port, "udp", own=own) as genesis, Sender("::1", port, "tcp", own=own) as phone:
            for peer, user in ((phone, "5000"), (genesis, "genesis_a")):
                registration = peer.request(b"REGISTER", b"sip:[::1]")
                registration.set(b"To", f"<sip:{user}@[::1]>".encode())
                peer.sock.send(bytes(registration))
                assert wait(peer, registration.call_id).status == 200
            call = phone.request(b"INVITE", b"sip:100@[0:0::1]")
            phone.sock.sendall(bytes(call))
            request: Message | None = None
            while not isinstance(request, Request) or request.method != b"INVITE":
                request = parse(genesis.receive()[0])
            assert request.top_via.host == b"[::1]"
            genesis.sock.send(bytes(request.response(486, to_tag=b"t")))
            refused = wait(phone, call.call_id, 200)
            assert refused.status == 486
            phone.sock.sendall(bytes(ack_of(call, refused)))
        assert "Traceback" not in proxy.daemon.text
