"""Who reaches whom: the four rules of the guide (1.2.4). SIPp is phone, Genesis system and provider."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from haproxy.testing.genproxy import own_host
from haproxy.testing.script import PROXY, ack, ack_of_2xx, bye, heard, request, response
from haproxy.testing.sipp import Sipp
from tests.scenarios.sip_peers.conftest import Peers, talk

pytestmark = pytest.mark.peer("sipp")

ANSWERS = [heard("INVITE"), response(200), heard("ACK"), heard("BYE"), response(200, tagged=True)]
TALKS = [heard(100, optional=True), heard(200), ack_of_2xx(), bye(), heard(200)]
GENESIS = f"sip:100@{PROXY}"


@pytest.fixture
def genesis(peers: Peers) -> Iterator[Sipp]:
    """The place of a registered Genesis system."""
    yield peers.register("genesis_a")
    peers.proxy.cli("flush", "bindings")


def test_genesis_reaches_a_registered_user(peers: Peers, genesis: Sipp) -> None:
    phone = peers.register("5001")
    called = peers.callee(*ANSWERS, host=phone.host, port=phone.port)
    user = f"sip:5001@{PROXY}"
    caller = peers.caller(request("INVITE", user), *TALKS, host=genesis.host, port=genesis.port)
    for sipp in (caller, called):
        sipp.finish()
    missing = request("INVITE", f"sip:5000@{PROXY}"), heard(480), ack(uri=f"sip:5000@{PROXY}")
    peers.caller(*missing, host=genesis.host, port=genesis.port).finish()


def test_genesis_reaches_another_domain(peers: Peers, genesis: Sipp) -> None:
    place = {"host": genesis.host, "port": genesis.port}
    _, called = talk(peers, ANSWERS, [request("INVITE"), *TALKS], **place)
    assert called.heard("INVITE")[0].request.max_forwards == 69


def test_everybody_else_reaches_genesis(peers: Peers, genesis: Sipp) -> None:
    called = peers.callee(*ANSWERS, host=genesis.host, port=genesis.port)
    caller = peers.caller(request("INVITE", GENESIS), *TALKS, host=own_host())
    for sipp in (caller, called):
        sipp.finish()
    assert called.heard("INVITE")[0].request.target.username == b"100"


def test_only_listed_ones_reach_another_domain(peers: Peers, genesis: Sipp) -> None:
    talk(peers, ANSWERS, [request("INVITE"), *TALKS])
    uri = "sip:far@192.0.2.7"
    peers.caller(request("INVITE", uri), heard(403), ack(uri=uri), host=own_host()).finish()
