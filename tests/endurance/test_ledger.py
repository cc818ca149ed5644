"""The account that endurance tests keep must find what is wrong."""

from __future__ import annotations

import pytest

from endurance.ledger import Ledger


def whole(ledger: Ledger, message: str) -> None:
    ledger.acknowledged(message, "+1")
    ledger.delivered(message, "+1")
    ledger.confirmed(message)
    ledger.receipt(message)
    ledger.confirmed_receipt(message)


def test_all_is_well() -> None:
    ledger = Ledger()
    whole(ledger, "m")
    ledger.delivered("n", "+1")
    ledger.delivered("n", "+1")
    assert (list(ledger.problems()), ledger.repeated, ledger.under_way, len(ledger)) == ([], 1, 0, 1)


def test_what_is_lost() -> None:
    ledger = Ledger()
    ledger.acknowledged("m", "+1")
    ledger.acknowledged("n", "+1")
    ledger.delivered("n", "+1")
    ledger.confirmed("n")
    assert ledger.under_way == 2
    assert list(ledger.problems()) == ["1 acknowledged messages are lost: m", "1 receipts are lost: n"]


@pytest.mark.parametrize(
    ("again", "problem"),
    [
        (lambda ledger: ledger.delivered("m", "+1"), "m came again after it was confirmed"),
        (lambda ledger: ledger.receipt("m"), "m came again after it was confirmed"),
        (lambda ledger: ledger.delivered("k", "+2"), "k was delivered to +2"),
    ],
)
def test_what_comes_twice_or_to_somebody_else(again: object, problem: str) -> None:
    ledger = Ledger()
    whole(ledger, "m")
    ledger.acknowledged("k", "+1")
    ledger.delivered("k", "+1")
    assert callable(again)
    again(ledger)
    assert list(ledger.problems()) == [f"1 deliveries are wrong: {problem}"]
