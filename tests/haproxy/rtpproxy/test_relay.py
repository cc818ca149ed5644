"""Calls of the media proxy: what SDP becomes, who may send, when it ends."""

import socket
from typing import Any

import pytest

from haproxy.rtpproxy.call import Face
from haproxy.rtpproxy.port import PortPool, PortsExhausted
from haproxy.rtpproxy.relay import MediaProxy, Timeouts
from haproxy.sip import sdp
from haproxy.sip.sdp import SdpError
from rtlib.address import pack

INSIDE = Face("10.0.0.1", "10.0.0.1", "10.0.0.5")
OUTSIDE = Face("10.0.1.1", "203.0.113.1", "198.51.100.7")
GENESIS = pack("10.0.0.5", 7000)
TRUNK = pack("198.51.100.7", 9000)


def body(host: str, port: int, *lines: str, protocol: str = "RTP/AVP") -> bytes:
    start = [
        "v=0",
        f"o=- 1 1 IN IP4 {host}",
        "s=-",
        f"c=IN IP4 {host}",
        "t=0 0",
        f"m=audio {port} {protocol} 0",
    ]
    return "\r\n".join([*start, *lines, ""]).encode()


def bind(host: str, port: int) -> socket.socket:
    return socket.socket(socket.AF_INET, socket.SOCK_DGRAM)


class Call:
    """Genesis inside calls a trunk outside."""

    def __init__(self, forwarder: Any, high: int = 20099) -> None:
        self.forwarder = forwarder
        hosts = {"203.0.113.1": "10.0.1.1"}
        pool = PortPool(forwarder, bind=bind, low=20000, high=high, hosts=hosts)
        self.proxy = MediaProxy(forwarder, pool, Timeouts(60, 3600, 86400))

    def offer(self, text: bytes, call: bytes = b"c", now: float = 0.0) -> sdp.Description:
        return sdp.parse(self.proxy.pass_on(call, b"a", text, speaker=INSIDE, listener=OUTSIDE, now=now))

    def answer(self, text: bytes, call: bytes = b"c", now: float = 0.0) -> sdp.Description:
        return sdp.parse(self.proxy.pass_on(call, b"b", text, speaker=OUTSIDE, listener=INSIDE, now=now))

    def start(self) -> None:
        self.offer(body("10.0.0.5", 7000))
        self.answer(body("198.51.100.7", 9000))
        self.proxy.establish(b"c")

    def ports(self) -> dict[str, int]:
        (call,) = self.proxy
        return {"inside": call.caller.media[0].rtp.port, "outside": call.callee.media[0].rtp.port}


@pytest.fixture
def call(forwarder: Any) -> Call:
    return Call(forwarder)


def test_each_side_is_told_our_address(call: Call) -> None:
    offered = call.offer(body("10.0.0.5", 7000, "a=rtpmap:0 PCMU/8000"))
    assert (offered.media[0].connection, offered.media[0].port) == (b"203.0.113.1", 20002)
    assert b"10.0.0.5" not in bytes(offered)
    assert b"a=rtpmap:0 PCMU/8000\r\n" in bytes(offered)
    answered = call.answer(body("198.51.100.7", 9000))
    assert (answered.media[0].connection, answered.media[0].port) == (b"10.0.0.1", 20000)


def test_media_flows_once_its_source_is_seen(call: Call) -> None:
    call.start()
    ports = call.ports()
    call.proxy.unmatched(ports["inside"], [(b"one", GENESIS), (b"two", GENESIS)])
    assert call.forwarder.sent == [(ports["outside"], b"one", TRUNK), (ports["outside"], b"two", TRUNK)]
    assert call.forwarder.flows[ports["inside"]] == (GENESIS, [(ports["outside"], TRUNK)])
    assert call.forwarder.flows[ports["outside"]] == (None, [(ports["inside"], GENESIS)])


def test_a_stranger_is_not_believed(call: Call) -> None:
    call.start()
    ports = call.ports()
    call.proxy.unmatched(ports["outside"], [(b"x", pack("192.0.2.66", 9000))])
    assert call.forwarder.sent == []
    assert call.proxy.wrong_source == 1
    call.proxy.unmatched(ports["outside"], [(b"x", TRUNK), (b"y", pack("198.51.100.7", 1234))])
    assert call.forwarder.sent == [(ports["inside"], b"x", GENESIS)]
    assert call.proxy.wrong_source == 2


def test_a_phone_behind_a_router_is_learned_from_its_signaling(call: Call) -> None:
    call.offer(body("10.0.0.5", 7000))
    call.answer(body("192.168.178.20", 9000))
    ports = call.ports()
    real = pack("198.51.100.7", 40001)
    call.proxy.unmatched(ports["outside"], [(b"x", real)])
    assert call.forwarder.flows[ports["inside"]][1] == [(ports["outside"], real)]


def test_a_new_address_in_sdp_is_learned_anew(call: Call) -> None:
    call.start()
    ports = call.ports()
    call.proxy.unmatched(ports["outside"], [(b"x", TRUNK)])
    call.answer(body("198.51.100.8", 9100))
    assert call.ports() == ports
    assert call.forwarder.flows[ports["outside"]][0] is None
    assert call.forwarder.flows[ports["inside"]][1] == [(ports["outside"], pack("198.51.100.8", 9100))]


def test_rtcp_has_its_own_place(call: Call) -> None:
    offered = call.offer(body("10.0.0.5", 7000, "a=rtcp:7009"))
    assert offered.media[0].attribute(b"rtcp") == b"20003"
    (found,) = call.proxy
    assert found.caller.media[0].rtcp.advertised == pack("10.0.0.5", 7009)


def test_ice_is_taken_out(call: Call) -> None:
    lines = ("a=ice-ufrag:x", "a=ice-pwd:y", "a=candidate:1 1 UDP 1 10.0.0.5 7000 typ host", "a=sendrecv")
    offered = bytes(call.offer(body("10.0.0.5", 7000, *lines)))
    assert b"a=ice" not in offered
    assert b"candidate" not in offered
    assert b"a=sendrecv" in offered


@pytest.mark.parametrize(("text", "kept"), [
    (body("10.0.0.5", 0), b"m=audio 0 RTP/AVP 0"),
    (body("10.0.0.5", 7000, protocol="TCP/MSRP"), b"m=audio 7000 TCP/MSRP 0"),
    (body("0.0.0.0", 7000), b"c=IN IP4 0.0.0.0"),
])  # fmt: skip
def test_what_is_not_ours_to_change(call: Call, text: bytes, kept: bytes) -> None:
    assert kept in bytes(call.offer(text))


def test_a_request_that_comes_by_twice_is_left_alone(call: Call) -> None:
    offered = bytes(call.offer(body("10.0.0.5", 7000)))
    again = call.proxy.pass_on(b"c", b"a", offered, speaker=OUTSIDE, listener=INSIDE, now=0.0)
    assert again == offered


def test_failover_to_another_side_gets_other_ports(call: Call) -> None:
    call.offer(body("10.0.0.5", 7000))
    third = Face("10.0.2.1", "10.0.2.1")
    second = call.proxy.pass_on(b"c", b"a", body("10.0.0.5", 7000), speaker=INSIDE, listener=third, now=0.0)
    assert sdp.parse(second).media[0].connection == b"10.0.2.1"
    assert call.proxy.ports_in_use == 2


def test_ends(call: Call) -> None:
    call.start()
    call.proxy.abandon(b"c")
    assert len(call.proxy) == 1
    call.proxy.end(b"c")
    call.proxy.end(b"c")
    assert (len(call.proxy), call.proxy.ports_in_use) == (0, 0)
    call.offer(body("10.0.0.5", 7000))
    call.proxy.abandon(b"c")
    assert call.proxy.ports_in_use == 0


def test_packets_for_a_call_that_is_over(call: Call) -> None:
    call.start()
    ports = call.ports()
    call.proxy.end(b"c")
    call.proxy.unmatched(ports["inside"], [(b"x", GENESIS)])
    assert call.forwarder.sent == []


@pytest.mark.parametrize(("direction", "limit"), [("a=sendrecv", 60), ("a=sendonly", 3600)])
def test_silence(call: Call, direction: str, limit: int) -> None:
    call.start()
    call.answer(body("198.51.100.7", 9000, direction))
    call.forwarder.last_active = 1000.0
    assert call.proxy.sweep(1000.0 + limit) == []
    ((call_id, reason),) = call.proxy.sweep(1001.0 + limit)
    assert call_id == b"c"
    assert "timeout" in reason
    assert call.proxy.ports_in_use == 0


def test_the_longest_call(call: Call) -> None:
    call.start()
    call.forwarder.last_active = 86401.0
    assert call.proxy.sweep(86401.0) == [(b"c", "it lasted longer than final-timeout")]


def test_a_call_that_nobody_answers(call: Call) -> None:
    call.offer(body("10.0.0.5", 7000))
    assert call.proxy.sweep(200.0) == []
    assert call.proxy.sweep(301.0) == [(b"c", "it was never answered")]


def test_no_ports_left(forwarder: Any) -> None:
    call = Call(forwarder, high=20003)
    call.offer(body("10.0.0.5", 7000))
    with pytest.raises(PortsExhausted):
        call.offer(body("10.0.0.5", 7000, "m=video 7010 RTP/AVP 96"), b"two")
    assert call.proxy.ports_in_use == 2
    assert len(call.proxy) == 1


@pytest.mark.parametrize("text", [b"nonsense", body("10.0.0.5", 7000, *["m=audio 1 RTP/AVP 0"] * 16)])
def test_bad_sdp(call: Call, text: bytes) -> None:
    with pytest.raises(SdpError):
        call.offer(text)
    assert len(call.proxy) == 0
