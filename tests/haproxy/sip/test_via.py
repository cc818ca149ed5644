from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from haproxy.sip import via
from haproxy.sip.via import ViaError


def test_usual_form() -> None:
    parsed = via.parse(
        b"SIP/2.0/UDP Host.Example:5062;rport=7;received=192.0.2.1;branch=z9hG4bKx;maddr=[::1]"
    )
    assert (parsed.transport, parsed.host, parsed.port) == (b"UDP", b"Host.Example", 5062)
    assert (parsed.branch, parsed.has_cookie, parsed.sent_by) == (b"z9hG4bKx", True, b"host.example:5062")
    assert (parsed.rport, parsed.received, parsed.maddr) == (7, b"192.0.2.1", b"::1")


@pytest.mark.parametrize(
    "text",
    [
        b"SIP / 2.0 / udp first.example.com : 4000 ; TTL=16 ;maddr=224.2.0.1 ;branch = z9hG4bKa7c6a8dlze.1",
        b"SIP/2.0/UDP first.example.com:4000;ttl=16;Branch=z9hG4bKa7c6a8dlze.1;maddr=224.2.0.1",
        b"SIP/2.0/UDP\r\n first.example.com:4000;ttl=16;maddr=224.2.0.1;branch=z9hG4bKa7c6a8dlze.1",
    ],
)
def test_the_same_in_other_words(text: bytes) -> None:
    parsed = via.parse(text)
    assert (parsed.transport, parsed.sent_by) == (b"UDP", b"first.example.com:4000")
    assert (parsed.branch, parsed.param(b"ttl"), parsed.maddr) == (
        b"z9hG4bKa7c6a8dlze.1",
        b"16",
        b"224.2.0.1",
    )


def test_absent_and_empty_parameters() -> None:
    parsed = via.parse(b"SIP/2.0/UDP h;rport")
    assert (parsed.rport, parsed.received, parsed.branch, parsed.maddr) == (0, None, b"", None)
    assert via.parse(b"SIP/2.0/UDP h").rport is None
    assert via.parse(b"SIP/2.0/UDP h;rport=70000").rport == 0
    assert not via.parse(b"SIP/2.0/UDP h;branch=z9hG4bK").has_cookie


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"SIP/2.0/UDP",
        b"SIP/2.0/UDP ",
        b"SIP/1.0/UDP h",
        b"SIP/2.0/UDP h:0",
        b"SIP/2.0/UDP h:65536",
        b"SIP/2.0/UDP h x",
        b"SIP/2.0/UDP h;;branch=z9hG4bKx",
        b"SIP/2.0/UDP h;branch=<x>",
    ],
)
def test_refused(text: bytes) -> None:
    with pytest.raises(ViaError):
        via.parse(text)


def test_stamping() -> None:
    plain = via.parse(b"SIP/2.0/UDP 192.0.2.1;branch=z9hG4bKx")
    assert plain.stamped(b"192.0.2.1", 9) is None
    assert plain.stamped(b"192.0.2.9", 9) == plain.raw + b";received=192.0.2.9"
    odd = via.parse(b"SIP/2.0/UDP 192.0.2.1 ; Received = 10.0.0.1 ; branch=z9hG4bKx ; rport")
    assert (
        odd.stamped(b"192.0.2.1", 9) == b"SIP/2.0/UDP 192.0.2.1 ; branch=z9hG4bKx;rport=9;received=192.0.2.1"
    )


@given(
    st.binary(max_size=60)
    | st.text('SIP/2.0UDP ;:=h,"\\[]', max_size=40).map(lambda text: b"SIP/2.0/UDP " + text.encode())
)
def test_anything(data: bytes) -> None:
    with contextlib.suppress(ViaError):
        parsed = via.parse(data)
        stamped = parsed.stamped(b"192.0.2.200", 4321)
        assert stamped is not None
        again = via.parse(stamped)
        assert (again.received, again.host, again.branch) == (b"192.0.2.200", parsed.host, parsed.branch)
        assert again.rport == (None if parsed.rport is None else 4321)


@pytest.mark.parametrize(
    ("line", "rport", "received"),
    [
        (b"Via: SIP/2.0/UDP 192.0.2.1:5062;branch=z9hG4bKa;rport", 0, None),
        (
            b"Via: SIP/2.0/UDP 192.0.2.1:5062;rport=5063;branch=z9hG4bKa;received=192.0.2.7",
            5063,
            b"192.0.2.7",
        ),
        (b"v:SIP/2.0/UDP 192.0.2.1:5062;received=192.0.2.7;branch=z9hG4bKa", None, b"192.0.2.7"),
    ],
)
def test_parameters_on_either_side_of_the_branch(
    line: bytes, rport: int | None, received: bytes | None
) -> None:
    """As user agents write them, and as they come back in responses."""
    found = via.of_line(line)
    assert (found.branch, found.place, found.transport) == (b"z9hG4bKa", (b"192.0.2.1", 5062), b"UDP")
    assert (found.rport, found.received, found.bare) == (rport, received, False)
    assert found.raw == line.partition(b":")[2].strip()


def test_a_comma_ends_the_first_value() -> None:
    assert (
        via.of_line(b"Via: SIP/2.0/UDP h;branch=a, SIP/2.0/UDP i;branch=b").raw == b"SIP/2.0/UDP h;branch=a"
    )
    with pytest.raises(ViaError):
        via.of_line(b"Via: SIP/2.0/UDP h;x=,;branch=b")
