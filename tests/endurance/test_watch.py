"""How memory grows."""

from __future__ import annotations

import pytest

from endurance.watch import Sample, growth


def sample(when: float, memory: float) -> Sample:
    return Sample(when, memory, 0, 0, 0.0, {})


def test_growth_is_the_slope_of_the_line() -> None:
    steady = [sample(when, 100.0 + noise) for when, noise in ((0, 1), (10, -1), (20, -1), (30, 1))]
    assert growth(steady) == pytest.approx(0.0)
    assert growth([sample(when, 50 + 3 * when) for when in range(10)]) == pytest.approx(3.0)
