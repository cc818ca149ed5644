"""The verdict of `make soak-calls` on memory and tables."""

import pytest

from endurance.calls import FILLING, LOOK, thirds, verdict

FILLS = [10.0 * number for number in range(round(FILLING / LOOK))]
"""Memory while the tables are filled."""


def test_what_the_tables_take_is_no_growth() -> None:
    memory = [*FILLS, *[200.0] * 9]
    assert thirds(memory) == (200.0, 200.0)
    assert verdict(memory, {"transactions": 0.0}) == []


def test_memory_that_grows() -> None:
    memory = [*FILLS, *(100.0, 100.0, 101.0, 104.0, 105.0, 106.0)]
    assert verdict(memory, {}) == ["memory grew from 100.0 to 105.5 MiB"]


def test_what_is_left() -> None:
    memory = [*FILLS, *[200.0] * 6]
    assert verdict(memory, {"transactions": 3.0, "calls_up": 0.0}) == ["3 left in transactions"]


def test_a_run_that_tells_nothing() -> None:
    with pytest.raises(ValueError, match="too short"):
        thirds(FILLS)
    assert verdict(FILLS, {}) == ["the run is too short to tell whether memory grows"]
