"""A few of the kills that `make kill9` has two hundred of."""

from __future__ import annotations

from pathlib import Path

import pytest

from endurance.kills import trial


@pytest.mark.parametrize("store", ["sqlite", pytest.param("redis", marks=pytest.mark.peer("redis-server"))])
def test_kills_under_load_lose_nothing_and_double_nothing(tmp_path: Path, store: str) -> None:
    """With Redis, it is killed as well: seed 1 has both as victims."""
    reports: list[str] = []
    assert trial(tmp_path / "home", 4, reports.append, 1, store) == []
    assert "messages acknowledged" in reports[-1]
