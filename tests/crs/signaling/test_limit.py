"""Token buckets."""

from __future__ import annotations

from crs.limits import Limits
from crs.signaling.limit import Allowances, ClientAllowance


def test_a_client_has_one_allowance_while_it_is_there_and_a_little_longer() -> None:
    allowances: Allowances[str, ClientAllowance] = Allowances(ClientAllowance)
    limits = Limits(requests_per_second=1, invites_per_second=1)
    first = allowances.get("a", limits, 0.0)
    assert allowances.get("a", limits, 0.0) is first
    assert allowances.get("b", limits, 0.0) is not first
    assert [first.requests.take(0.0) for _ in range(5)] == [True] * 4 + [False]
    assert [first.invite(0.0) for _ in range(5)] == [True] * 4 + [False]
    allowances.leave(first, 0.0)
    del first
    back = allowances.get("a", limits, 0.5)
    assert not back.requests.take(0.5) and not back.invite(0.5)
    allowances.leave(back, 1.0)
    del back
    # Whoever comes next has the others forgotten.
    allowances.get("b", limits, 12.0)
    assert not len(allowances._values) or "a" not in allowances._values
    assert allowances.get("a", limits, 12.0).requests.take(12.0)


def test_new_limits_make_a_new_allowance() -> None:
    allowances: Allowances[str, ClientAllowance] = Allowances(ClientAllowance)
    first = allowances.get("a", Limits(), 0.0)
    stricter = allowances.get("a", Limits(requests_per_second=1), 0.0)
    assert stricter is not first
    assert [stricter.requests.take(0.0) for _ in range(5)] == [True] * 4 + [False]
