"""Bursts, rates and debts."""

from __future__ import annotations

from rtlib.bucket import TokenBucket


def test_burst_rate_and_debt() -> None:
    bucket = TokenBucket(2.0, 4.0, 0.0)
    assert [bucket.take(0.0) for _ in range(5)] == [True] * 4 + [False]
    assert bucket.take(0.5) and not bucket.take(0.5)
    assert bucket.take(1.0)
    bucket.charge(4.0)
    assert not bucket.take(3.0), "and made good"
    assert bucket.take(3.5)
