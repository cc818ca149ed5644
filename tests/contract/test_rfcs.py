"""docs/rfcs.md names modules and tests that exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ROWS = [
    [cell.strip() for cell in line.strip("|").split("|")]
    for line in (ROOT / "docs" / "rfcs.md").read_text().splitlines()
    if line.startswith("|") and "`" in line
]


def test_there_are_some() -> None:
    assert len(ROWS) > 40


@pytest.mark.parametrize("row", ROWS, ids=lambda row: " ".join(row[:2]))
def test_module_and_test_exist(row: list[str]) -> None:
    module, test = (re.fullmatch(r"`(.+)`", cell) for cell in row[-2:])
    assert module is not None
    assert test is not None
    assert (ROOT / "haproxy" / module[1]).is_file()
    file, _, name = test[1].partition("::")
    path = ROOT / "tests" / (file if file.startswith("scenarios/") else f"haproxy/{file}")
    assert path.is_file()
    assert not name or re.search(rf"def {name}\(", path.read_text()), f"{file} has no {name}"
