"""A provider is called by name: its SRV records lead to a dead server first (RFC 3263 section 4.3)."""

from __future__ import annotations

from pathlib import Path

import pytest

from haproxy.testing.genproxy import own_host
from haproxy.testing.nameserver import DNS_PORT, NameServer
from haproxy.testing.script import ack, ack_of_2xx, bye, heard, request, response
from tests.scenarios.sip_peers.conftest import Peers

pytestmark = pytest.mark.peer("sipp", "dnsmasq")

URI = "sip:far@trunk.test"
ANSWERS = [heard("INVITE"), response(200), heard("ACK"), heard("BYE"), response(200, tagged=True)]
TALKS = [request("INVITE", URI), heard(100, optional=True), heard(200), ack_of_2xx(), bye(), heard(200)]


def test_the_next_server_when_one_is_dead_or_says_503(tmp_path: Path) -> None:
    first, second, third = own_host(), own_host(), own_host()
    records = [
        *("--naptr-record=trunk.test,10,10,S,SIP+D2U,,_sip._udp.trunk.test",),
        *(f"--host-record={name}.test,{host}" for name, host in (("a", first), ("b", second), ("c", third))),
        *(f"--srv-host=_sip._udp.trunk.test,{name}.test,5062,{place}" for place, name in enumerate("abc", 1)),
    ]
    with (
        NameServer(tmp_path, *records) as names,
        Peers(tmp_path / "peers", {"nameServers": [f"{names.host}:{DNS_PORT}"]}) as peers,
    ):
        busy = peers.callee(heard("INVITE"), response(503), heard("ACK"), host=second, port=5062)
        called = peers.callee(*ANSWERS, host=third, port=5062)
        caller = peers.caller(*TALKS)
        for sipp in (caller, busy, called):
            sipp.finish()
        assert peers.proxy.metric("decisions_total", 'kind="other_places"') == 2
        gone = peers.caller(request("INVITE", URI), heard(100, optional=True), heard(500), ack(uri=URI))
        gone.finish()
