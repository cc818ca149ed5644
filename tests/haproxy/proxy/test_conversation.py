"""SDP on its way through the proxy, with the media proxy in between (enableNAT)."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from haproxy.rtpproxy.port import PortPool
from haproxy.rtpproxy.relay import MediaProxy, Timeouts
from haproxy.sip.message import Message
from rtlib.media.reactor_forwarder import ReactorForwarder

GENESIS_A = "192.0.2.11:5060"
GENESIS_B = "192.0.2.12:5060"
PHONE = "192.0.2.50:5060"
HOME = "sip:100@192.0.2.1"
SDP = b"v=0\r\no=- 1 1 IN IP4 %b\r\ns=-\r\nc=IN IP4 %b\r\nt=0 0\r\nm=audio 7000 RTP/AVP 0\r\n"


class Quiet:
    """An IReactorFDSet: nothing is ever ready."""

    def addReader(self, reader: object) -> None: ...
    def removeReader(self, reader: object) -> None: ...
    def addWriter(self, writer: object) -> None: ...
    def removeWriter(self, writer: object) -> None: ...


def bind(host: str, port: int) -> socket.socket:
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.bind(("127.0.0.1", 0))
    return sock


def sdp(host: str) -> bytes:
    return SDP % (host.encode(), host.encode())


@pytest.fixture
def media() -> Iterator[MediaProxy]:
    forwarder = ReactorForwarder(Quiet())  # type: ignore[arg-type]  # only what it uses
    pool = PortPool(forwarder, bind=bind, low=20000, high=20003)
    yield MediaProxy(forwarder, pool, Timeouts())
    forwarder.stop()


@pytest.fixture
def world(make_world: Callable[..., Any], media: MediaProxy) -> Any:
    made = make_world(media, enableNAT=True)
    made.systems()
    return made


def call(world: Any) -> None:
    data = world.request(
        "INVITE", HOME, PHONE, "Content-Type: application/sdp", call="the-call", body=sdp("192.0.2.50")
    )
    world.receive(data, PHONE)


def place(message: Message) -> tuple[bytes, bytes]:
    lines = dict(line.split(b"=", 1) for line in message.body.splitlines())
    return lines[b"c"].split()[-1], lines[b"m"].split()[1]


def test_offer_and_answer(world: Any) -> None:
    call(world)
    sent = world.forwarded(GENESIS_A)
    assert place(sent) == (b"192.0.2.1", b"20002")
    assert int(sent.first(b"content-length")) == len(sent.body)
    world.answer(GENESIS_A, 183, body=sdp("192.0.2.11"))
    assert place(world.response(PHONE)) == (b"192.0.2.1", b"20000")
    world.answer(GENESIS_A, 200, body=sdp("192.0.2.11"))
    assert place(world.response(PHONE)) == (b"192.0.2.1", b"20000")


def test_bye_gives_the_ports_back(world: Any, media: MediaProxy) -> None:
    call(world)
    world.answer(GENESIS_A, 200, body=sdp("192.0.2.11"))
    assert media.ports_in_use == 2
    answered = world.response(PHONE)
    route = f"Route: {answered.values(b'record-route')[0].decode()}"
    to = answered.first(b"to").decode()
    world.receive(world.request("BYE", f"sip:x@{GENESIS_A}", PHONE, route, to=to, call="the-call"), PHONE)
    world.answer(GENESIS_A, 200, method=b"BYE")
    assert media.ports_in_use == 0


def test_a_refused_call_gives_the_ports_back(world: Any, media: MediaProxy) -> None:
    call(world)
    world.answer(GENESIS_A, 486)
    assert media.ports_in_use == 0


def test_failover_keeps_the_ports(world: Any, media: MediaProxy) -> None:
    call(world)
    world.fail(GENESIS_A)
    assert place(world.forwarded(GENESIS_B)) == (b"192.0.2.1", b"20002")
    assert media.ports_in_use == 2


def test_no_ports_left(world: Any) -> None:
    call(world)
    world.receive(
        world.request(
            "INVITE", HOME, PHONE, "Content-Type: application/sdp", call="another", body=sdp("192.0.2.50")
        ),
        PHONE,
    )
    assert world.response(PHONE).status == 503


def test_bad_sdp_is_refused(world: Any) -> None:
    world.receive(
        world.request("INVITE", HOME, PHONE, "Content-Type: application/sdp", body=b"nonsense"), PHONE
    )
    assert world.response(PHONE).status == 400
