"""What becomes of calls while systems die: the verdict of `make soak-failover`."""

from endurance.failover import CALLER, Death, Place, Tally

NOTES = """\
1-7@127.0.0.1 begins
1-7@127.0.0.1 at 127.0.0.2 1000
2-7@127.0.0.1 begins
1-7@127.0.0.1 at 127.0.0.2 1010
1-7@127.0.0.1 done
2-7@127.0.0.1 at 127.0.0.2 15000
3-7@127.0.0.1 begins
something else
"""


def test_the_notes_of_a_caller() -> None:
    tally = Tally.read(NOTES)
    assert len(tally.begun) == 3
    assert tally.done == {"1-7@127.0.0.1"}
    assert tally.lost() == {"2-7@127.0.0.1": Place("127.0.0.2", 15.0), "3-7@127.0.0.1": None}


def test_which_deaths_explain_a_loss() -> None:
    place = Place("127.0.0.2", 15.0)
    assert Death("127.0.0.2", 15.5).explains(place)
    assert not Death("127.0.0.2", 60.0).explains(place)
    assert not Death("127.0.0.2", 5.0).explains(place)
    assert not Death("127.0.0.3", 15.5).explains(place)
    assert not Death("127.0.0.2", 15.5).explains(None)


def test_the_callers_scenario_is_whole() -> None:
    assert CALLER.count("<send") == CALLER.count("</send>") == 3
    assert "{" not in CALLER
