"""Connections and addresses on the wire. Raw sockets are the peers: no phone sends keep-alives when told."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from haproxy.sip.message import Message, Request, Response, parse
from haproxy.testing.genproxy import Genproxy, Settings
from haproxy.testing.sender import Sender
from rtlib.testing.daemon import free_port


def wait(sender: Sender, call_id: bytes, least: int = 101) -> Response:
    """The next response of that Call-ID with this status or a higher one."""
    while True:
        for data in sender.receive():
            message = parse(data)
            if isinstance(message, Response) and message.call_id == call_id and message.status >= least:
                return message


def ack_of(request: Request, answer: Response) -> Request:
    ack = Request(b"ACK", request.uri, [(b"Via", request.top_via.raw)])
    for key, name in ((b"from", b"From"), (b"call-id", b"Call-ID")):
        ack.append(name, request.first(key) or b"")
    ack.append(b"To", answer.first(b"to") or b"")
    ack.append(b"CSeq", b"1 ACK")
    ack.append(b"Content-Length", b"0")
    return ack


def test_one_connection_serves_both_ways_and_answers_keep_alives(tmp_path: Path) -> None:
    """RFC 3261 section 18, RFC 5626 section 4.4.1: a call comes on the connection that has registered."""
    settings: Settings = {"proxy": {"enableAstFailover": False}}
    users = {"5000": "x", "genesis_a": "x"}
    with Genproxy(tmp_path / "proxy", settings=settings, subscribers=users) as proxy:
        with Sender(proxy.host, proxy.port, "tcp") as phone, Sender(proxy.host, proxy.port, "udp") as genesis:
            for peer, user in ((phone, "5000"), (genesis, "genesis_a")):
                registration = peer.request(b"REGISTER", f"sip:{proxy.host}".encode())
                registration.set(b"To", f"<sip:{user}@{proxy.host}>".encode())
                peer.sock.send(bytes(registration))
                assert wait(peer, registration.call_id).status == 200
            phone.sock.sendall(b"\r\n\r\n")
            assert phone.sock.recv(100) == b"\r\n"
            call = genesis.request(b"INVITE", f"sip:5000@{proxy.host}".encode())
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
            assert proxy.metric("connections") == 1
        assert "Traceback" not in proxy.daemon.text


@pytest.mark.skipif(
    not Path("/proc/net/if_inet6").exists() and "REQUIRE_PEERS" not in os.environ,
    reason="this machine has no IPv6",
)
def test_a_call_over_ipv6(tmp_path: Path) -> None:
    port = free_port("both", "::1")
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
