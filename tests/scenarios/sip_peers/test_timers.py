"""Peers that are silent, late, or repeat themselves, and the proxy's timers (RFC 3261 table 4)."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import pytest

from haproxy.testing.script import PROXY, ack, ack_of_2xx, heard, pause, request, response
from haproxy.testing.sipp import Sipp, Traced
from tests.scenarios.sip_peers.conftest import Peers, address, to

pytestmark = pytest.mark.peer("sipp")

LIMIT = 32.0
"""Seconds: 64 T1."""
BEFORE, AFTER = 29.0, 5.0
"""Seconds: to a moment before the limit, and from there to one after it."""
TURN = 20.0
"""Seconds that a phone rings before one that its user likes less (docs/decisions.md)."""
CANCELLED = heard("CANCEL"), response(200), response(487, kept="1 INVITE"), heard("ACK")
LATEST = LIMIT + 20.0
DOUBLED = [0.5, 1, 2, 4, 8, 16]
"""Seconds between the copies of an INVITE (timer A)."""
ALL_IS_NEW = ["-nr"]
"""SIPp answers a repetition with what it has sent last, which the proxy takes for another one, and so on."""
SHORT = 5.0
"""Seconds: T4."""
CAPPED = [0.5, 1, 2, *[4.0] * 7]
"""Those of other requests (timer E), and of a refusal without ACK (timer G): up to T2."""


def gaps(copies: list[Traced]) -> list[float]:
    """Seconds between messages."""
    return [after.when - before.when for before, after in pairwise(copies)]


def same(copies: list[Traced]) -> bool:
    return len({each.raw for each in copies}) == 1


@pytest.mark.long
def test_timers_of_32_seconds(peers: Peers) -> None:
    """B, F, D, H, J, L and M: all at once, for each takes as long."""
    callers: list[Sipp] = []

    def pair(
        callee: list[str], caller: list[str], method: str = "INVITE", arguments: Sequence[str] = ()
    ) -> tuple[Sipp, Sipp]:
        called = peers.callee(*callee, arguments=arguments)
        steps = [to(called, step) for step in (request(method), *caller)]
        callers.append(peers.caller(*steps, arguments=arguments))
        return callers[-1], called

    wait = pause(BEFORE + AFTER)
    silent = pair([heard("INVITE"), wait], [heard(100), heard(408), ack()])
    mute = pair([heard("MESSAGE"), wait], [heard(100), wait], "MESSAGE")
    again = response(486, kept="1 INVITE", tagged=True)
    repeating = pair(
        [
            *(heard("INVITE", keep=True), response(486), heard("ACK")),
            *(pause(BEFORE), again, heard("ACK"), pause(AFTER), again, pause(1)),
        ],
        [heard(100, optional=True), heard(486), ack(), wait],
        arguments=ALL_IS_NEW,
    )
    unheard = pair(
        [heard("INVITE"), response(486), heard("ACK")], [heard(100, optional=True), heard(486), wait]
    )
    once = request("MESSAGE"), heard(202)
    forgetful = pair(
        [heard("MESSAGE"), response(202), pause(BEFORE + AFTER / 2), heard("MESSAGE"), response(202)],
        [heard(202), pause(BEFORE), *once, pause(AFTER), *once],
        "MESSAGE",
        ALL_IS_NEW,
    )
    accepted = response(200, kept="1 INVITE", tagged=True)
    answering = pair(
        [
            *(heard("INVITE", keep=True), response(200), heard("ACK")),
            *(pause(BEFORE), accepted, heard("ACK"), pause(AFTER), accepted, pause(1)),
        ],
        [
            *(heard(100, optional=True), heard(200), ack_of_2xx(), pause(BEFORE / 2), request("INVITE")),
            *(heard(200), ack_of_2xx(), pause(AFTER + 2)),
        ],
    )
    genesis = peers.register("genesis_a")
    unwilling = peers.callee(heard("INVITE", keep=True), response(180), *CANCELLED)
    willing = peers.callee(heard("INVITE"), response(200), heard("ACK"))
    contacts = ((unwilling, "1.0"), (willing, "0.5"))
    peers.register("5000", *(f"Contact: <sip:5000@{address(phone)}>;q={q}" for phone, q in contacts))
    answered = heard(100, optional=True), heard(180), heard(200), ack_of_2xx()
    call = request("INVITE", f"sip:5000@{PROXY}"), *answered
    callers.append(peers.caller(*call, host=genesis.host, port=genesis.port))
    for caller in callers:
        caller.finish(LATEST)
    peers.proxy.cli("flush", "bindings")

    turn = willing.heard("INVITE")[0].when - unwilling.heard("INVITE")[0].when
    assert turn == pytest.approx(TURN, abs=1), "it rings no longer than its turn"
    assert len(unwilling.heard("ACK")) == 1, "its ringing was cancelled"

    caller, callee = silent
    assert gaps(callee.heard("INVITE")) == pytest.approx(DOUBLED, abs=0.4), "timer A"
    (gone,) = caller.heard(408)
    assert gone.when - callee.heard("INVITE")[0].when == pytest.approx(LIMIT, abs=1), "timer B"

    caller, callee = mute
    assert gaps(callee.heard("MESSAGE")) == pytest.approx(CAPPED, abs=0.4), "timers E and F"
    answers = [each for each in caller.traffic() if not each.sent]
    assert answers == caller.heard(100), "100 after a while, and no 408 (RFC 4320 section 4.1, 4.2)"

    caller, callee = repeating
    assert len(callee.heard("ACK")) == 2, "timer D: acknowledged again, but not afterwards"
    assert len(caller.heard(486)) == 1, "it has gone on once"

    caller, callee = unheard
    assert same(caller.heard(486))
    assert gaps(caller.heard(486)) == pytest.approx(CAPPED, abs=0.4), "timers G and H"

    caller, callee = forgetful
    assert same(caller.heard(202)[:2]), "timer J: the same answer again"
    assert len(callee.heard("MESSAGE")) == 2, "and after it a new transaction"

    caller, callee = answering
    assert len(callee.heard("INVITE")) == 1, "timer L: the repeated INVITE is absorbed"
    assert len(caller.heard(200)) == 2, "timer M: the late 200 goes on, a stray one does not"
    assert len(callee.heard("ACK")) == 2


def test_timers_of_5_seconds(peers: Peers) -> None:
    """I and K: what comes again before them is absorbed, what comes after them finds no transaction."""
    inside, outside = pause(SHORT - 2), pause(4)
    again = response(202, kept="1 MESSAGE", tagged=True)
    before = peers.proxy.metric("responses_total")
    mute = peers.callee(
        heard("MESSAGE", keep=True), response(202), inside, again, outside, again, arguments=ALL_IS_NEW
    )
    sender = peers.caller(*(to(mute, step) for step in (request("MESSAGE"), heard(202), inside, outside)))
    mute.finish()
    sender.finish()
    assert len(sender.heard(202)) == 1
    assert peers.proxy.metric("responses_total") - before == 2, "timer K: the third one is a stray one"

    busy = peers.callee(heard("INVITE"), response(486), heard("ACK"), heard("ACK"), arguments=ALL_IS_NEW)
    steps = heard(100, optional=True), heard(486), ack(), inside, ack(), outside, ack()
    caller = peers.caller(*(to(busy, step) for step in (request("INVITE"), *steps)))
    caller.finish()
    busy.finish()
    (gap,) = gaps(busy.heard("ACK"))
    assert gap > SHORT, "timer I: the second ACK is absorbed, the third one goes to whoever it is for"
