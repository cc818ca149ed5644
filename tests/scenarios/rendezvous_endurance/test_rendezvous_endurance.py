"""A few of the kills that `make kill9` has two hundred of."""

from __future__ import annotations

from pathlib import Path

from endurance.kills import trial


def test_kills_under_load_lose_nothing_and_double_nothing(tmp_path: Path) -> None:
    reports: list[str] = []
    assert trial(tmp_path / "home", 3, reports.append, seed=1) == []
    assert "messages acknowledged" in reports[-1]
