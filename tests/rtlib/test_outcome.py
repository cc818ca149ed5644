import pytest
from twisted.internet.defer import CancelledError, Deferred

from rtlib.outcome import Outcome


def result(deferred: "Deferred[int]") -> list[object]:
    results: list[object] = []
    deferred.addBoth(results.append)
    return results


def test_everybody_gets_the_first_value() -> None:
    outcome: Outcome[int] = Outcome()
    early = result(outcome.wait()), result(outcome.wait())
    assert early == ([], [])
    assert not outcome.decided
    outcome.set(1)
    outcome.set(2)
    outcome.fail(ValueError())
    assert (*early, result(outcome.wait())) == ([1], [1], [1])
    assert outcome.decided


def test_everybody_gets_the_first_error() -> None:
    outcome: Outcome[int] = Outcome()
    early = result(outcome.wait())
    outcome.fail(ValueError("first"))
    outcome.set(2)
    late = result(outcome.wait())
    assert [str(failure[0].value) for failure in (early, late)] == ["first", "first"]  # type: ignore[attr-defined]


def test_an_error_that_nobody_waits_for_is_no_unhandled_error() -> None:
    """A Deferred would log "Unhandled error" when it goes."""
    outcome: Outcome[int] = Outcome()
    outcome.fail(ValueError())
    assert outcome._waiting == []


def test_a_cancelled_waiter_leaves_the_others_alone() -> None:
    outcome: Outcome[int] = Outcome()
    cancelled, other = outcome.wait(), result(outcome.wait())
    gone = result(cancelled)
    cancelled.cancel()
    outcome.set(5)
    assert other == [5]
    with pytest.raises(CancelledError):
        gone[0].raiseException()  # type: ignore[attr-defined]
