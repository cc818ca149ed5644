"""Messages that nobody should send: an answer or silence by rule, a count, nothing kept, no exception."""

from __future__ import annotations

import random
from typing import Any

import pytest

from haproxy.proxy.event import Offence
from haproxy.sip.flow import Flow
from haproxy.sip.message import Response
from haproxy.testing.badinput import KINDS, make
from rtlib.address import pack

PHONE = "192.0.2.50:5060"
HOME = "sip:100@192.0.2.1"


def invite(world: Any, *headers: str, body: bytes = b"", uri: str = HOME, **names: Any) -> bytes:
    data: bytes = world.request(
        "INVITE", uri, PHONE, "Contact: <sip:a@192.0.2.50>", *headers, body=body, **names
    )
    return data


def statuses(world: Any) -> list[int]:
    return [
        m.status for m, where in world.sent if where == PHONE and isinstance(m, Response) and m.status > 100
    ]


class TestForwarded:
    """Odd, but right: it passes unharmed."""

    @pytest.mark.parametrize(
        "body",
        [
            bytes(range(256)) * 200,
            b"--a\r\nContent-Type: multipart/mixed;boundary=b\r\n\r\n--b\r\n" * 500 + b"--b--\r\n--a--\r\n",
            b"\0" * 1000,
            b"\xff\xfe\xc3\x28" * 100,
        ],
        ids=["50 KiB", "nested multipart", "NULs", "invalid UTF-8"],
    )
    def test_bodies(self, world: Any, body: bytes) -> None:
        world.systems()
        world.receive(invite(world, "Content-Type: multipart/mixed;boundary=a", body=body), PHONE)
        assert world.forwarded("192.0.2.11:5060").body == body

    def test_invalid_utf_8_in_a_display_name(self, world: Any) -> None:
        world.systems()
        request = invite(world, "Subject: caf").replace(b"Subject: caf", b"Subject: \xff\xfe\x00caf")
        world.receive(request, PHONE)
        found = [m for m, where in world.sent if where == "192.0.2.11:5060"]
        assert found == [] or b"Subject: \xff\xfe\x00caf" in bytes(found[-1])
        assert found or statuses(world) == [400]

    def test_a_length_shorter_than_the_datagram(self, world: Any) -> None:
        """RFC 3261 section 18.3: what is left over is discarded."""
        world.systems()
        world.receive(invite(world, body=b"12345") + b"left over", PHONE)
        assert world.forwarded("192.0.2.11:5060").body == b"12345"


class TestRefused:
    """Wrong: the sender is told, and nobody else hears of it."""

    @pytest.mark.parametrize(
        ("old", "new"),
        [
            (b"Content-Length: 5", b"Content-Length: 500"),
            (b"Content-Length: 5", b"Content-Length: -5"),
            (b"Content-Length: 5", b"Content-Length: 99999999999999999999999"),
            (b"Content-Length: 5", b"Content-Length: 5\r\nContent-Length: 6"),
            (b"Max-Forwards: 70", b"Max-Forwards: -1"),
            (b"Max-Forwards: 70", b"Max-Forwards: 99999999999999999999"),
            (b"sip:100@192.0.2.1 SIP", b"sip:100@[::g] SIP"),
            (b"sip:100@192.0.2.1 SIP", b"sip:100@192.0.2.1:99999 SIP"),
            (b"sip:100@192.0.2.1 SIP", b"sip:100@[fe80::1%25eth0] SIP"),
        ],
    )
    def test_malformed(self, world: Any, old: bytes, new: bytes) -> None:
        world.systems()
        request = invite(world, body=b"12345")
        assert old in request
        world.receive(request.replace(old, new, 1), PHONE)
        assert [status for status in statuses(world) if status != 400] == []
        assert world.reached() == []
        assert [event for event in world.events if isinstance(event, Offence)] or statuses(world) == [400]

    def test_a_request_that_fits_into_no_datagram(self, world: Any) -> None:
        world.systems()
        world.receive(invite(world, body=b"x" * 65_200), PHONE)
        assert statuses(world) == [513]
        assert world.reached() == []

    def test_ten_thousand_headers(self, world: Any) -> None:
        world.systems()
        world.receive(invite(world, *["X: y"] * 10_000), PHONE)
        assert statuses(world) in ([], [400], [413], [513])
        assert world.reached() == []


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_stays_of_bad_messages(world: Any, kind: str) -> None:
    world.systems()
    dice = random.Random(5)
    flow = Flow("udp", next(iter(world.sides)).local("udp"), pack("192.0.2.50", 5060))
    for _ in range(300):
        world.core.receive(make(kind, dice), flow, world.now)
        world.core.to_send(world.now)
        while world.core.next_event() is not None:
            pass
    world.sent.clear()
    world.advance(200)
    assert {each.method for each in world.core.layer.transactions()} <= {b"OPTIONS"}  # probes
    assert len(world.core.calls) == 0
