"""An operator watches, empties and flushes a proxy while SIPp's calls go through it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from haproxy.testing.genproxy import own_host
from haproxy.testing.script import ack, ack_of_2xx, bye, heard, pause, request, response
from haproxy.testing.sipp import Sipp
from rtlib.testing.daemon import wait_until
from tests.scenarios.sip_operation.test_sip_operation import printed, trace
from tests.scenarios.sip_peers.conftest import Peers

pytestmark = pytest.mark.peer("sipp")

CALLS = 10
MANY: dict[str, Any] = {"calls": CALLS, "arguments": ["-r", "100"]}
ANSWERS = [heard("INVITE"), response(200), heard("ACK"), heard("BYE"), response(200, tagged=True)]


def talks(seconds: float) -> list[str]:
    begin = [request("INVITE", repeat=True), heard(100, optional=True), heard(200), ack_of_2xx()]
    return [*begin, pause(seconds), bye(), heard(200)]


@pytest.fixture
def busy(tmp_path: Path) -> Iterator[Peers]:
    with Peers(tmp_path) as peers:
        yield peers


def calls(peers: Peers, callee: list[str], caller: list[str]) -> tuple[Sipp, Sipp]:
    """Several calls to a Genesis system, which begin now."""
    genesis = peers.register("genesis_a")
    called = peers.callee(*callee, host=genesis.host, port=genesis.port, **MANY)
    return peers.caller(*caller, host=own_host(), **MANY), called


def test_drain_lets_calls_end_and_refuses_new_ones(busy: Peers) -> None:
    pair = calls(busy, ANSWERS, talks(2.5))
    wait_until(lambda: busy.proxy.metric("calls_up") == CALLS)
    with trace(busy.proxy, "trace", "--method", "BYE") as output:
        assert f"have ended: {CALLS}" in busy.proxy.cli("drain")
        refused = busy.caller(request("INVITE"), heard(503), ack(), host=own_host())
        refused.finish()
        assert b"retry-after" in refused.heard(503)[0].message
        for sipp in pair:
            sipp.finish()
        wait_until(lambda: printed(output).count(" BYE ") >= 2)
    wait_until(lambda: busy.proxy.daemon.returncode is not None)
    assert busy.proxy.daemon.returncode == 0


def test_flushed_bindings_end_no_call_and_flushed_transactions_end_the_ringing(busy: Peers) -> None:
    pair = calls(busy, ANSWERS, talks(1.0))
    wait_until(lambda: busy.proxy.metric("calls_up") == CALLS)
    assert busy.proxy.cli("flush", "bindings").startswith("1 ")
    for sipp in pair:
        sipp.finish()
    cancelled = [heard("CANCEL"), response(200), response(487, kept="1 INVITE"), heard("ACK")]
    ringing = [request("INVITE"), heard(100, optional=True), heard(180), heard(503), ack()]
    pair = calls(busy, [heard("INVITE", keep=True), response(180), *cancelled], ringing)
    wait_until(lambda: len(pair[0].heard(180)) == CALLS)
    assert int(busy.proxy.cli("flush", "transactions").split()[0]) >= 2 * CALLS
    for sipp in pair:
        sipp.finish()
