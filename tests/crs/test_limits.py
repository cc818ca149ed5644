"""Named limits."""

from __future__ import annotations

from dataclasses import fields
from typing import get_args

from crs.limits import BOUNDS, Limits, LimitTable
from crs.settings import Limit


def test_an_account_has_the_general_limits_but_for_its_own() -> None:
    table = LimitTable([("stored-bytes", 5, None), ("sessions-per-client", 3, "a"), ("stored-bytes", 9, "b")])
    assert table.of("a") == Limits(stored_bytes=5, sessions_per_client=3)
    assert table.of("b") == Limits(stored_bytes=9)
    assert table.of("c") == Limits(stored_bytes=5)
    table.replace([])
    assert table.of("a") == table.of("c") == Limits()


def test_every_limit_has_a_name_in_the_settings_and_bounds_around_its_default() -> None:
    names = [field.name.replace("_", "-") for field in fields(Limits)]
    assert sorted(names) == sorted(BOUNDS) == sorted(get_args(Limit.model_fields["name"].annotation))
    for name, (least, most) in BOUNDS.items():
        assert least <= getattr(Limits(), name.replace("-", "_")) <= most
