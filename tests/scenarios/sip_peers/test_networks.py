"""Between a private network and a public one behind a router (guide 3): which address is shown to whom."""

from __future__ import annotations

from pathlib import Path

import pytest

from haproxy.testing.genproxy import own_host
from haproxy.testing.script import PROXY, ack_of_2xx, heard, request, response
from tests.scenarios.sip_peers.conftest import Peers, talk

pytestmark = pytest.mark.peer("sipp")

PUBLIC = "203.0.113.1"


@pytest.mark.parametrize("hairpin", [False, True], ids=["mapped", "hairpin"])
def test_the_router_s_address_is_shown_outside(tmp_path: Path, hairpin: bool) -> None:
    """Hairpin (guide 3.12): the router maps it to the private address; all are told the public one.

    The callee ends the call: its BYE comes along both values of the double Record-Route (RFC 5658).
    """
    host = own_host()
    mapped = host if hairpin else own_host()
    network, _, last = host.rpartition(".")
    system = {"privateSubnet": "24", "publicIP": PUBLIC, "mappedIP": mapped}
    callee = [
        *(heard("INVITE", take=("caller", "From", ".*")), response(200), heard("ACK")),
        request(
            *("BYE", "[next_url]", "[routes]"),
            *(f"From: <sip:far@{PROXY}>;tag=[pid]u[call_number]", "To:[$caller]"),
        ),
        heard(200),
    ]
    caller = [request("INVITE"), heard(100, optional=True), heard(200), ack_of_2xx(), heard("BYE")]
    with Peers(tmp_path, system, host=host) as peers:
        genesis = peers.register("genesis_a", host=f"{network}.{int(last) % 250 + 2}")
        place = {"host": genesis.host, "port": genesis.port}
        inside, far = talk(peers, callee, [*caller, response(200, tagged=True)], **place)
    invite, ack = far.heard("INVITE")[0].request, far.heard("ACK")[0].request
    assert invite.top_via.sent_by == f"{PUBLIC}:5060".encode()
    recorded = [each.target.host.decode() for each in invite.addresses(b"record-route")]
    assert recorded == ([PUBLIC] if hairpin else [PUBLIC, host])
    assert ack.values(b"route") == []
    bye = inside.heard("BYE")[0].request
    assert bye.values(b"route") == []
    assert bye.top_via.sent_by == f"{PUBLIC if hairpin else host}:5060".encode()
