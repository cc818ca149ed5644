"""Regular expressions keep to what every Python 3.11 gets right, Debian 12's 3.11.2 too."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
SOURCES = [path for package in ("haproxy", "rtlib", "crs") for path in sorted((ROOT / package).rglob("*.py"))]
POSSESSIVE_GROUP = re.compile(r"\)(?:[*+?]|\{[0-9,]+\})\+(?!\+)[^\s]")
"""`(...)*+` and the like, which 3.11.2 to 3.11.4 match wrongly (python/cpython issue 106052)."""


def test_the_pattern_finds_them() -> None:
    assert POSSESSIVE_GROUP.search(r"rb'(?:ab)*+c'")
    assert not POSSESSIVE_GROUP.search(r"rb'(?:[ab]*+)*c'")


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_group_is_repeated_possessively(path: Path) -> None:
    lines = path.read_text().splitlines()
    found = [line for line in lines if "#" not in line and POSSESSIVE_GROUP.search(line)]
    assert found == []
