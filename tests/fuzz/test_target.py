"""The fuzzer's targets hold on what it starts from, and on what it has found before."""

from __future__ import annotations

import random
from importlib.util import find_spec

import pytest

from fuzz.__main__ import fuzz
from fuzz.seed import seeds
from fuzz.target import NEXT, TARGETS


@pytest.mark.parametrize("name", TARGETS)
def test_seeds(name: str) -> None:
    target = TARGETS[name]()
    assert seeds(name)
    for seed in seeds(name):
        target(seed)


@pytest.mark.parametrize("name", TARGETS)
def test_damaged_seeds(name: str) -> None:
    """What the fuzzer does without being guided, a little of it, on every machine."""
    target, dice = TARGETS[name](), random.Random(11)
    pool = seeds(name)
    for _ in range(60):
        damaged = bytearray(dice.choice(pool))
        for _ in range(dice.randrange(1, 6)):
            start = dice.randrange(len(damaged) + 1)
            damaged[start : start + dice.randrange(4)] = dice.choice([b"", b"\r\n", b"\0", b",", b"%", NEXT])
        target(bytes(damaged))


@pytest.mark.skipif(find_spec("atheris") is None, reason="atheris is not installed (make .venv/.fuzz)")
def test_a_short_run_ends_well(capsys: pytest.CaptureFixture[str]) -> None:
    assert fuzz("via", 1) == []
    assert "number of executed units" in capsys.readouterr().out
