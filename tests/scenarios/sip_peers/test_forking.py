"""Several phones of one user, played by SIPp: who rings when, what the caller hears (RFC 3261 16.6, 16.7)."""

from __future__ import annotations

import pytest

from haproxy.testing.script import PROXY, ack, ack_of_2xx, bye, heard, pause, request, response
from haproxy.testing.sipp import Sipp
from tests.scenarios.sip_peers.conftest import Peers, address

pytestmark = pytest.mark.peer("sipp")

CANCELLED = [heard("CANCEL"), response(200), response(487, kept="1 INVITE"), heard("ACK")]
RINGS_UNTIL_CANCELLED = [heard("INVITE", keep=True), response(180), *CANCELLED]
ANSWERS = [response(200), heard("ACK"), heard("BYE"), response(200, tagged=True)]
USER = f"sip:5000@{PROXY}"
PROGRESS = [heard(status, optional=True) for status in (100, 180, 180)]
BEGIN = [request("INVITE", USER), *PROGRESS]
TALKS = [*BEGIN, heard(200), ack_of_2xx(), bye(), heard(200)]


def refuses(status: int, *headers: str, after: float = 0.0) -> list[str]:
    return [heard("INVITE"), pause(after), response(status, *headers), heard("ACK")]


def hears(status: int) -> list[str]:
    return [*BEGIN, heard(status), ack(uri=USER)]


def ring(peers: Peers, caller: list[str], *phones: tuple[str, list[str]]) -> tuple[Sipp, list[Sipp]]:
    """A call of Genesis to a user with these phones, each with its q; all go as they should."""
    genesis = peers.register("genesis_a")
    called = [peers.callee(*steps, user="5000") for _, steps in phones]
    contacts = [
        f"Contact: <sip:5000@{address(phone)}>;q={q}" for phone, (q, _) in zip(called, phones, strict=True)
    ]
    peers.register("5000", *contacts)
    calling = peers.caller(*caller, user="genesis_a", host=genesis.host, port=genesis.port)
    for sipp in (calling, *called):
        sipp.finish()
    peers.proxy.cli("flush", "bindings")
    return calling, called


@pytest.mark.parametrize(
    ("statuses", "best"),
    [
        ((503, 486), 486),
        ((404, 407), 407),
        ((500, 302), 302),
        ((503, 503), 500),
    ],
)
def test_the_best_refusal_of_all(peers: Peers, statuses: tuple[int, int], best: int) -> None:
    """Section 16.7 step 6: of the lowest class, and there the one that helps; no 503 goes on."""
    challenge = 'Proxy-Authenticate: Digest realm="far", nonce="n", algorithm=MD5'
    phones = [("1.0", refuses(status, *[challenge] * (status == 407))) for status in statuses]
    caller, _ = ring(peers, hears(best), *phones)
    (answer,) = caller.heard(best)
    assert (b"proxy-authenticate" in answer.message) == (best == 407)


def test_a_603_ends_all(peers: Peers) -> None:
    phones = ("1.0", RINGS_UNTIL_CANCELLED), ("1.0", refuses(603, after=0.2))
    _, called = ring(peers, hears(603), *phones)
    assert len(called[0].heard("CANCEL")) == 1


def test_the_first_answer_ends_the_ringing_of_others(peers: Peers) -> None:
    answering = [heard("INVITE"), response(180), pause(0.2), *ANSWERS]
    _, called = ring(peers, TALKS, ("1.0", answering), ("1.0", RINGS_UNTIL_CANCELLED), ("1.0", refuses(486)))
    assert max(each.heard("INVITE")[0].when for each in called) < called[1].heard("CANCEL")[0].when


def test_one_after_the_other(peers: Peers) -> None:
    """By q, the most wanted first (section 16.6)."""
    last = [heard("INVITE"), response(180), *ANSWERS]
    phones = ("0.1", last), ("1.0", refuses(486, after=0.2)), ("0.5", refuses(480, after=0.2))
    _, called = ring(peers, TALKS, *phones)
    third, first, second = (each.heard("INVITE")[0].when for each in called)
    assert first + 0.2 < second < third - 0.2
