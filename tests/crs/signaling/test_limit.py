"""Token buckets."""

from __future__ import annotations

from crs.signaling.limit import AddressBuckets, TokenBucket


def test_burst_rate_and_debt() -> None:
    bucket = TokenBucket(2.0, 4.0, 0.0)
    assert [bucket.take(0.0) for _ in range(5)] == [True] * 4 + [False]
    assert bucket.take(0.5) and not bucket.take(0.5)
    assert bucket.take(1.0)
    bucket.charge(4.0)
    assert not bucket.take(3.0), "and made good"
    assert bucket.take(3.5)


def test_an_address_has_one_bucket_while_somebody_holds_it() -> None:
    buckets = AddressBuckets()
    first = buckets.get("2001:db8::1", 1.0, 0.0)
    assert buckets.get("2001:db8::2", 1.0, 0.0) is first, "a subscriber has a /64"
    assert buckets.get("2001:db8:0:1::1", 1.0, 0.0) is not first
    for _ in range(4):
        assert first.take(0.0)
    del first
    assert buckets.get("2001:db8::1", 1.0, 0.0).take(0.0)
