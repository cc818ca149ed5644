"""Named limits."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from crs.limits import BOUNDS, Limits, LimitTable
from crs.settings import Limit

DOCUMENT = (Path(__file__).parents[2] / "docs" / "crs-protocol.md").read_text()


def test_an_account_has_the_general_limits_but_for_its_own() -> None:
    table = LimitTable([("stored-bytes", 5, None), ("sessions-per-client", 3, "a"), ("stored-bytes", 9, "b")])
    assert table.of("a") == Limits(stored_bytes=5, sessions_per_client=3)
    assert table.of("b") == Limits(stored_bytes=9)
    assert table.of("c") == Limits(stored_bytes=5)
    table.replace([])
    assert table.of("a") == table.of("c") == Limits()


@pytest.mark.parametrize("name", BOUNDS)
def test_every_limit_can_be_set_around_its_default(name: str) -> None:
    bounds = BOUNDS[name]
    default = getattr(Limits(), name.replace("-", "_"))
    assert bounds.least <= default <= bounds.most
    own = {"account": "a"} if bounds.account else {}
    for value in (bounds.least, default, bounds.most):
        line = Limit.model_validate({"name": name, "value": value, **own})
        table = LimitTable([(line.name, line.value, line.account)])
        assert getattr(table.of("a"), name.replace("-", "_")) == value


@pytest.mark.parametrize("name", BOUNDS)
def test_every_limit_is_documented(name: str) -> None:
    """With its name and a star where an account may have its own, as docs/crs-protocol.md explains."""
    star = r" \*" if BOUNDS[name].account else ""
    assert re.search(rf"^\| .+ \| .+ \| .+ \| `{name}`{star} \|$", DOCUMENT, re.M)
