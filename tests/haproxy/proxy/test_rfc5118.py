"""What RFC 5118 asks of messages with IPv6 addresses, by its sections; the messages are our own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from haproxy.sip.message import Response

CALLER = "[2001:db8::9:1]:5060"
CALLEE = "[2001:db8::20]:5060"


@pytest.fixture
def six(make_world: Callable[..., Any]) -> Any:
    """A proxy with IPv6 only, whom the caller may use as a proxy."""
    system = {"privateIP": "2001:db8::10", "privateSubnet": 64}
    return make_world(system=system, proxyList=["2001:db8::9:1"])


def invite(
    uri: str = "sip:user@[2001:db8::20]",
    via: str = "SIP/2.0/UDP [2001:db8::9:1];branch=z9hG4bK1",
    contact: str = "<sip:user@[2001:db8::9:1]>",
    body: str = "",
) -> bytes:
    lines = [
        f"INVITE {uri} SIP/2.0",
        f"Via: {via}",
        "From: sip:user@example.com;tag=81x2",
        "To: sip:user@example.com",
        "Call-ID: rfc5118",
        "Max-Forwards: 70",
        "CSeq: 1 INVITE",
        f"Contact: {contact}",
        f"Content-Length: {len(body)}",
    ]
    return ("\r\n".join(lines) + "\r\n\r\n" + body).encode()


def answers(world: Any) -> list[int]:
    return [m.status for m, where in world.sent if isinstance(m, Response) and where == CALLER]


def test_4_1_a_reference(six: Any) -> None:
    six.receive(invite(), CALLER)
    assert six.forwarded(CALLEE).uri == b"sip:user@[2001:db8::20]"
    assert six.forwarded(CALLEE).top_via.sent_by == b"[2001:db8::10]:5060"


def test_4_2_no_brackets(six: Any) -> None:
    six.receive(invite("sip:user@2001:db8::20"), CALLER)
    assert answers(six) == [400]


def test_4_3_what_looks_like_a_port_belongs_to_the_address(six: Any) -> None:
    six.receive(invite("sip:user@[2001:db8::20:5070]"), CALLER)
    assert six.reached() == ["[2001:db8::20:5070]:5060"]


def test_4_4_a_port(six: Any) -> None:
    six.receive(invite("sip:user@[2001:db8::20]:5070"), CALLER)
    assert six.reached() == ["[2001:db8::20]:5070"]


@pytest.mark.parametrize("received", ["[2001:db8::9:255]", "2001:db8::9:255"])
def test_4_5_received_with_and_without_brackets(six: Any, received: str) -> None:
    """Whoever wrote it: it is replaced by where the request came from."""
    via = f"SIP/2.0/UDP [2001:db8::9:1];received={received};branch=z9hG4bK1"
    six.receive(invite(via=via), CALLER)
    assert six.forwarded(CALLEE).values(b"via")[1] == (
        b"SIP/2.0/UDP [2001:db8::9:1];branch=z9hG4bK1;received=2001:db8::9:1"
    )
    six.answer(CALLEE, 486)
    assert answers(six) == [486]


@pytest.mark.parametrize(
    "body",
    [
        "v=0\r\no=u 1 1 IN IP6 2001:db8::20\r\ns=-\r\nc=IN IP6 ::20\r\nt=0 0\r\nm=audio 6000 RTP/AVP 0\r\n",
        "v=0\r\no=u 1 1 IN IP4 192.0.2.1\r\ns=-\r\nt=0 0\r\nm=audio 22334 RTP/AVP 0\r\nc=IN IP4 192.0.2.1\r\n"
        "m=video 6024 RTP/AVP 107\r\nc=IN IP6 2001:db8::1\r\n",
        "v=0\r\no=u 1 1 IN IP6 ::ffff:192.0.2.10\r\ns=-\r\nc=IN IP6 ::ffff:192.0.2.10\r\nt=0 0\r\n",
    ],
    ids=["4.6", "4.8 two kinds", "4.9 mapped"],
)  # fmt: skip
def test_4_6_4_8_4_9_descriptions_pass_unharmed(six: Any, body: str) -> None:
    six.receive(invite(body=body), CALLER)
    assert six.forwarded(CALLEE).body == body.encode()


def test_4_7_addresses_of_both_kinds_in_via_and_contact(six: Any) -> None:
    via = "SIP/2.0/UDP [2001:db8::9:1]:6050;branch=z9hG4bK2, SIP/2.0/TCP 192.0.2.1;received=2001:db8::9:255"
    six.receive(invite(via=via, contact="<sip:user@192.0.2.1>"), CALLER)
    assert six.forwarded(CALLEE).values(b"via")[2] == b"SIP/2.0/TCP 192.0.2.1;received=2001:db8::9:255"
    six.answer(CALLEE, 486)
    assert [where for m, where in six.sent if isinstance(m, Response)] == ["[2001:db8::9:1]:6050"]


def test_4_9_a_mapped_address_as_the_destination(six: Any, make_world: Callable[..., Any]) -> None:
    """It means an IPv4 address, which a proxy with IPv6 only cannot reach."""
    request = invite("sip:user@[::ffff:192.0.2.10]")
    six.receive(request, CALLER)
    assert (six.reached(), answers(six)) == ([], [500])
    four = make_world(proxyList=["192.0.2.50"])
    four.receive(request, "192.0.2.50:5060")
    assert four.reached() == ["192.0.2.10:5060"]
    assert four.forwarded("192.0.2.10:5060").uri == b"sip:user@[::ffff:192.0.2.10]"


@pytest.mark.parametrize("place", ["via", "contact"])
def test_4_10_three_colons_are_taken_where_nobody_has_to_go_there(six: Any, place: str) -> None:
    forms = {
        "via": "SIP/2.0/UDP [2001:db8:::192.0.2.1];branch=z9hG4bK1;rport",
        "contact": "<sip:user@[2001:db8:::192.0.2.1]>",
    }
    six.receive(invite(**{place: forms[place]}), CALLER)
    assert six.reached() == [CALLEE]


def test_4_10_three_colons_are_no_destination(six: Any) -> None:
    six.receive(invite("sip:user@[2001:db8:::192.0.2.1]"), CALLER)
    assert answers(six) == [400]
