"""What becomes of calls while systems die: the verdict of `make soak-failover`."""

from endurance.caller import CALLER, End, Place, Tally
from endurance.failover import Death, losses

STAMP = "2026-11-26\t18:00:26.178578\t"
NOTES = f"""\
1-7@127.0.0.1 begins {STAMP}1000.5
1-7@127.0.0.1 at {STAMP}1000.6 127.0.0.2
2-7@127.0.0.1 begins {STAMP}1001.0
1-7@127.0.0.1 done {STAMP}1001.6
2-7@127.0.0.1 at {STAMP}1001.1 127.0.0.2
3-7@127.0.0.1 begins {STAMP}1002.0
4-7@127.0.0.1 begins {STAMP}1003.0
5-7@127.0.0.1 begins {STAMP}1004.0
something else
"""
ERRORS = f"""\
The following events occurred:
{STAMP}1002.5: Aborting call on unexpected message for Call-Id '2-7@127.0.0.1': while expecting '200' \
(index 9), received 'SIP/2.0 500 Server Internal Error\r
Via: SIP/2.0/UDP 127.0.0.1:5060;branch=z9hG4bK-1-2-7\r
CSeq: 2 BYE\r
Content-Length: 0\r
\r
'{STAMP}1022.0: Call-Id: 3-7@127.0.0.1, receive timeout on message caller:3 without label to jump to \
(ontimeout attribute): aborting call{STAMP}1036.0: Aborting call on UDP retransmission timeout for Call-ID \
'4-7@127.0.0.1'{STAMP}1036.1: Discarding message which can't be mapped to a known SIPp call:
"""


def test_the_notes_of_a_caller() -> None:
    tally = Tally.read(NOTES, ERRORS)
    assert len(tally.begun) == 5
    assert tally.done == {"1-7@127.0.0.1": 1001.6}
    assert tally.lost() == [f"{number}-7@127.0.0.1" for number in (2, 3, 4, 5)]
    assert tally.places["2-7@127.0.0.1"] == [Place("127.0.0.2", 1001.1)]
    assert [tally.end(call) for call in tally.lost()] == [
        End("BYE was answered 500 Server Internal Error", 1002.5),
        End("INVITE got 100 within 20 s", 1022.0),
        End("it was sent again and again without an answer", 1036.0),
        End("the caller was stopped before its end", 1004.0),
    ]
    assert tally.rate(10.0) == 0.1
    assert tally.pace() == 4 / 3.5


def test_what_a_system_has_answered_counts_though_the_caller_did_not_hear_it() -> None:
    tally = Tally.read(NOTES, ERRORS)
    tally.answered("127.0.0.3", f"3-7@127.0.0.1 answered {STAMP}1002.1\n")
    assert tally.places["3-7@127.0.0.1"] == [Place("127.0.0.3", 1002.1)]


def test_losses_are_told_by_kind() -> None:
    tally = Tally.read(NOTES, ERRORS)
    assert losses(tally, tally.lost()[:2], {"127.0.0.2": "genesis_a-1"}) == [
        "1 answered by genesis_a-1: BYE was answered 500 Server Internal Error; begun 0.5 to 0.5 s after the"
        " first",
        "1 answered by no system: INVITE got 100 within 20 s; begun 1.5 to 1.5 s after the first",
    ]


def test_which_deaths_explain_a_loss() -> None:
    places = [Place("127.0.0.2", 15.0)]
    assert Death("127.0.0.2", 15.5).explains(places, 16.0)
    assert not Death("127.0.0.2", 15.5).explains(places, 15.4)
    assert not Death("127.0.0.2", 60.0).explains(places, 70.0)
    assert not Death("127.0.0.2", 5.0).explains(places, 16.0)
    assert not Death("127.0.0.3", 15.5).explains(places, 16.0)
    assert not Death("127.0.0.2", 15.5).explains([], 16.0)


def test_the_steps_of_the_callers_scenario_are_those_that_errors_are_told_by() -> None:
    assert [step.partition(" ")[0].partition(">")[0] for step in CALLER[:4]] == [
        "<nop",
        "<send",
        "<recv",
        "<recv",
    ]
    assert 'response="100"' in CALLER[2]
    assert 'response="200"' in CALLER[3]
