"""CANCEL in each state of a call (RFC 3261 sections 9 and 16.10), with SIPp on both sides."""

from __future__ import annotations

import pytest

from haproxy.testing.script import ack, ack_of_2xx, bye, heard, pause, request, response
from haproxy.testing.sipp import Sipp
from tests.scenarios.sip_peers.conftest import Peers, talk

pytestmark = pytest.mark.peer("sipp")

CANCELLED = [heard("CANCEL"), response(200), response(487, kept="1 INVITE"), heard("ACK")]
REFUSED = [heard(200), heard(487), ack()]
CANCEL = request("CANCEL")


def at(sipp: Sipp, what: str | int) -> float:
    """When it came for the first time."""
    return sipp.heard(what)[0].when


def test_before_the_callee_has_said_anything(peers: Peers) -> None:
    """It waits: the callee may not have the INVITE yet (section 9.1)."""
    callee = [heard("INVITE", keep=True), pause(0.8), response(180), *CANCELLED]
    cancelled = [CANCEL, heard(200), heard(180), heard(487), ack()]
    caller, called = talk(peers, callee, [request("INVITE"), heard(100), *cancelled])
    (cancel,) = called.heard("CANCEL")
    (ringing,) = [each for each in called.traffic() if each.sent and b" 180 " in each.raw]
    assert cancel.when >= ringing.when
    assert cancel.message.top_via.branch == called.heard("INVITE")[0].message.top_via.branch
    assert at(caller, 200) < cancel.when, "its own answer comes at once"


def test_while_it_rings(peers: Peers) -> None:
    callee = [heard("INVITE", keep=True), response(180), *CANCELLED]
    talk(peers, callee, [request("INVITE"), heard(100, optional=True), heard(180), CANCEL, *REFUSED])


def test_while_the_answer_is_under_way(peers: Peers) -> None:
    """The 200 wins, and the call is up (section 9.1)."""
    callee = [heard("INVITE", keep=True), response(180), heard("CANCEL"), response(200)]
    callee += [response(200, kept="1 INVITE"), heard("ACK"), heard("BYE"), response(200, tagged=True)]
    caller = [request("INVITE"), heard(100, optional=True), heard(180), CANCEL, heard(200), heard(200)]
    ended = [ack_of_2xx(), bye(), heard(200)]
    talk(peers, callee, [*caller, *ended])


def test_after_the_answer_nothing_changes(peers: Peers) -> None:
    callee = [heard("INVITE"), response(200), heard("ACK"), heard("BYE"), response(200, tagged=True)]
    caller = [request("INVITE"), heard(100, optional=True), heard(200), ack_of_2xx()]
    _, called = talk(peers, callee, [*caller, CANCEL, heard(200), bye(), heard(200)])
    assert called.heard("CANCEL") == []


def test_of_nothing(peers: Peers) -> None:
    caller = peers.caller(CANCEL, heard(481))
    caller.finish()
