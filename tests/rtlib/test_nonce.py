"""Nonces that are signed instead of kept."""

import random

from rtlib.nonce import Nonces


def test_each_is_another_and_only_ours_count() -> None:
    entropy = random.Random(3).randbytes
    ours, theirs = Nonces(b"k" * 16, entropy), Nonces(b"l" * 16, entropy)
    issued = [ours.issue(1.0).decode() for _ in range(100)]
    assert len(set(issued)) == 100
    assert all(ours.check(nonce, 1, 1.0) for nonce in issued)
    assert not ours.check(theirs.issue(1.0).decode(), 1, 1.0)
    # Characters that are none of base64 change nothing about which nonce it is.
    assert not ours.check("*".join(issued[0]), 1, 1.0)


def test_the_table_of_used_nonces_is_bounded() -> None:
    nonces = Nonces(b"k" * 16, random.Random(2).randbytes, lifetime=60.0, limit=3)
    issued = [nonces.issue(float(second)).decode() for second in range(5)]
    assert [nonces.check(nonce, 1, 5.0) for nonce in issued] == [True] * 5
    assert nonces.dropped == 2
    # Neither those pushed out nor those remembered can be replayed.
    assert [nonces.check(nonce, 1, 5.0) for nonce in issued] == [False] * 5
    assert nonces.check(issued[4], 2, 5.0)
    assert nonces.check(nonces.issue(70.0).decode(), 1, 70.0)
    assert nonces.dropped == 2
