"""What RFCs and the guide ask of a proxy in single messages, one by one."""

from __future__ import annotations

from typing import Any

import pytest

from haproxy.sip.flow import Flow
from haproxy.sip.message import Request, Response
from rtlib.address import pack
from tests.haproxy.proxy.conftest import GENESIS_A, HOME, OUTSIDE, PHONE, Make, call


def provisional(world: Any, place: str) -> list[int]:
    found = [m.status for m, where in world.sent if where == place and isinstance(m, Response)]
    return [status for status in found if status < 200]


class TestTimers:
    """RFC 3261 sections 16.6 step 11, 16.8 and 17.2.1."""

    def test_100_comes_within_200_ms(self, world: Any) -> None:
        world.systems()
        call(world)
        assert provisional(world, PHONE) == []
        world.advance(0.26)
        assert provisional(world, PHONE) == [100]

    def test_timer_c_cancels_what_rings_for_too_long(self, world: Any) -> None:
        world.systems()
        call(world)
        world.answer(GENESIS_A, 180)
        world.advance(180)
        assert "CANCEL" not in str(world.reached(b"CANCEL"))
        world.answer(GENESIS_A, 183)  # begins anew
        world.advance(180)
        assert world.reached(b"CANCEL") == []
        world.advance(3)
        assert world.reached(b"CANCEL") == [GENESIS_A]
        assert world.statuses(PHONE)[-1] == 408

    def test_nobody_answers_another_request(self, world: Any) -> None:
        """RFC 4320 section 4.2: a 408 would come too late and is not sent."""
        world.systems()
        world.receive(world.request("MESSAGE", HOME, PHONE), PHONE)
        world.advance(80)
        assert 408 not in world.statuses(PHONE)


class TestVia:
    """RFC 3261 section 18.2.1, RFC 3581."""

    def test_received_and_rport_are_stamped_and_answered_to(self, world: Any) -> None:
        world.systems()
        request = world.request("INVITE", HOME, "10.9.9.9:5060", "Contact: <sip:x@10.9.9.9>")
        world.receive(request, "192.0.2.99:40000")
        via = world.forwarded(GENESIS_A).values(b"via")[1]
        assert b";received=192.0.2.99" in via
        assert b";rport=40000" in via
        world.answer(GENESIS_A, 180)
        assert provisional(world, "192.0.2.99:40000") == [180]

    def test_our_own_via_names_the_transport(self, make_world: Make) -> None:
        world = make_world(proxyList=["192.0.2.50"])
        call(world, PHONE, "sip:x@198.51.100.7;transport=tcp")
        via = world.forwarded(OUTSIDE).top_via.raw
        assert via.startswith(b"SIP/2.0/TCP 192.0.2.1:5060;rport;branch=z9hG4bK")


class TestRecordRoute:
    """RFC 3261 section 16.6 step 4, RFC 5658."""

    def test_a_change_of_transport_is_recorded_twice(self, make_world: Make) -> None:
        world = make_world(proxyList=["192.0.2.50"])
        call(world, PHONE, "sip:x@198.51.100.7;transport=tcp")
        routes = world.forwarded(OUTSIDE).values(b"record-route")
        assert len(routes) == 2
        assert b";transport=tcp" in routes[0]
        assert b";transport=" not in routes[1]
        assert all(b";lr;r2=on" in route for route in routes)

    @pytest.mark.parametrize(("ignore", "scheme"), [(False, b"<sips:"), (True, b"<sip:")])
    def test_sips_and_rr_ignore_sips(self, make_world: Make, ignore: bool, scheme: bytes) -> None:
        """Guide 7.1.4."""
        world = make_world(proxyList=["192.0.2.50"], enableTLS=True, rrIgnoreSips=ignore)
        call(world, PHONE, "sips:x@198.51.100.7")
        sent = world.forwarded("198.51.100.7:5061")
        assert sent.values(b"record-route")[0].startswith(scheme + b"192.0.2.1:5061")
        assert sent.values(b"record-route")[1].startswith(b"<sip:192.0.2.1:5060")
        assert sent.top_via.transport == b"TLS"

    def test_a_dialog_over_tls_comes_back(self, make_world: Make) -> None:
        world = make_world(proxyList=["192.0.2.50"], enableTLS=True)
        call(world, PHONE, "sips:x@198.51.100.7", call="c")
        far = "198.51.100.7:5061"
        sent = world.forwarded(far)
        side = next(iter(world.sides))
        response = bytes(sent.response(200, to_tag=b"t"))
        world.core.receive(response, Flow("tls", side.local("tls"), pack("198.51.100.7", 5061), 5), world.now)
        world.collect()
        assert world.statuses(PHONE) == [200]
        routes = [f"Route: {value.decode()}" for value in sent.values(b"record-route")]
        names = {"to": "<sip:a@b>;tag=f", "call": "c", "via": "TLS"}
        bye = world.request("BYE", "sip:caller@192.0.2.50:5060", far, *routes, **names)
        world.receive(bye, far, transport="tls", connection=5)
        assert world.forwarded(PHONE, b"BYE").all(b"route") == []


class TestNames:
    """Guide 3.11, 3.12, 7.1.1, 7.1.2."""

    @pytest.mark.parametrize("place", ["pbx.example", "PBX.example:5060", "other.example:5090"])
    def test_an_alias_is_our_own_domain(self, make_world: Make, place: str) -> None:
        world = make_world(system={"alias": ["pbx.example", "other.example:5090"]})
        world.systems()
        call(world, PHONE, f"sip:1@{place}")
        assert world.reached() == [GENESIS_A]

    def test_another_port_of_an_alias_is_not(self, make_world: Make) -> None:
        world = make_world(system={"alias": ["pbx.example"]})
        world.systems()
        call(world, PHONE, "sip:1@pbx.example:5099")
        assert world.statuses(PHONE) == [403]

    def test_hairpin(self, make_world: Make) -> None:
        """One socket for both networks: everybody is told the public address."""
        world = make_world(system={"publicIP": "203.0.113.1", "mappedIP": "192.0.2.1"})
        world.systems()
        call(world)
        sent = world.forwarded(GENESIS_A)
        assert sent.top_via.sent_by == b"203.0.113.1:5060"
        assert sent.values(b"record-route")[0].startswith(b"<sip:203.0.113.1:5060;lr")
        assert len(sent.values(b"record-route")) == 1
        call(world, PHONE, "sip:100@203.0.113.1", call="by its public name")
        assert world.forwarded(GENESIS_A).call_id == b"by its public name"

    @pytest.mark.parametrize(
        ("header", "begin"),
        [("", b"Genesis Proxy"), ("mine/1", b"mine/1"), ("None", None), ("kamDefault", b"genproxy")],
    )
    def test_server_header(self, make_world: Make, header: str, begin: bytes | None) -> None:
        world = make_world(serverHeader=header)
        call(world)
        found = world.response(PHONE).first(b"server")
        assert found is None if begin is None else found.startswith(begin)

    @pytest.mark.parametrize(
        ("header", "begin"), [("", b"Genesis Proxy"), ("mine/1", b"mine/1"), ("None", None)]
    )
    def test_user_agent(self, make_world: Make, header: str, begin: bytes | None) -> None:
        """Of requests of our own, and of no others."""
        world = make_world(userAgent=header)
        world.systems()
        call(world, PHONE, HOME, "User-Agent: phone/1")
        assert world.forwarded(GENESIS_A).first(b"user-agent") == b"phone/1"
        world.advance(40)
        found = world.forwarded(GENESIS_A, b"OPTIONS").first(b"user-agent")
        assert found is None if begin is None else found.startswith(begin)


class TestIpv6:
    """Host forms of RFC 3986 and RFC 5118."""

    def test_between_ipv4_and_ipv6(self, make_world: Make) -> None:
        world = make_world(system={"publicIP": "2001:db8::1"})
        world.systems()
        far = "[2001:db8::77]:5060"
        call(world, GENESIS_A, "sip:x@[2001:DB8:0::77]")
        sent = world.forwarded(far)
        assert sent.top_via.sent_by == b"[2001:db8::1]:5060"
        routes = sent.values(b"record-route")
        assert routes[0].startswith(b"<sip:[2001:db8::1]:5060;lr;r2=on")
        assert routes[1].startswith(b"<sip:192.0.2.1:5060;lr;r2=on")

    @pytest.mark.parametrize("uri", ["sip:1@[2001:db8::1]", "sip:1@[2001:db8::1]:5060"])
    def test_our_own_domain(self, make_world: Make, uri: str) -> None:
        world = make_world(system={"publicIP": "2001:db8::1"})
        world.systems()
        world.receive(
            world.request("INVITE", uri, "[2001:db8::9]:5060", "Contact: <sip:a@[2001:db8::9]>"),
            "[2001:db8::9]:5060",
            side=1,
        )
        assert world.reached() == [GENESIS_A]


class TestPath:
    """RFC 3327."""

    def test_calls_go_along_the_path(self, world: Any) -> None:
        world.systems()
        path = "<sip:198.51.100.9;lr>"
        assert (
            world.register("5000", PHONE, f"Path: {path}", "Supported: path").first(b"path") == path.encode()
        )
        call(world, GENESIS_A, "sip:5000@192.0.2.1")
        sent = world.forwarded("198.51.100.9:5060")
        assert sent.values(b"route") == [path.encode()]
        assert sent.uri == b"sip:5000@192.0.2.50:5060"


def test_what_is_not_understood_passes_bit_for_bit(world: Any) -> None:
    """RFC 3261 section 16.6: unknown methods, headers and bodies."""
    world.systems()
    body = bytes(range(256))
    request = world.request(
        "FROBNICATE", HOME, PHONE, 'X-Odd:\t  a  ;b="\\""', "Content-Type: x/y", body=body
    )
    world.receive(request, PHONE)
    sent = world.forwarded(GENESIS_A, b"FROBNICATE")
    assert sent.body == body
    assert b'X-Odd:\t  a  ;b="\\""\r\n' in bytes(sent)
    assert isinstance(sent, Request)
