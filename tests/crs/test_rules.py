"""Which clients a rule is for."""

from __future__ import annotations

import pytest

from crs.identity import Identity
from crs.rules import Rules

ME = Identity("+46", "acc")


@pytest.mark.parametrize(
    ("client", "host", "found"),
    [
        (ME, "10.9.8.7", 1),
        (ME, "::ffff:10.9.8.7", 1),
        (ME, "192.0.2.1", 2),
        (Identity("+47", "acc"), "192.0.2.1", None),
        (Identity("+46", "other"), "2001:db8::1", 3),
        (Identity("+46", "other"), "2001:db9::1", None),
    ],
)
def test_the_first_match_counts(client: Identity, host: str, found: int | None) -> None:
    rules = Rules([("10.0.0.0/8", 1), ("+46@acc", 2), ("2001:db8::/32", 3), ("10.9.0.0/16", 4)])
    assert rules.find(client, host) == found


def test_rules_are_replaced_whole_or_not_at_all() -> None:
    rules = Rules([("10.0.0.0/8", 1)])
    with pytest.raises(ValueError, match="nonsense"):
        rules.replace([("192.0.2.0/24", 2), ("nonsense", 3)])
    assert rules.find(ME, "10.0.0.1") == 1
    rules.replace([])
    assert rules.find(ME, "10.0.0.1") is None
