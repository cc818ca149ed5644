"""µ-law against the reference values of G.711, and tone recognition."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from haproxy.testing import tone


@pytest.mark.parametrize(
    ("code", "sample"),
    # ITU-T G.711, table 2a/2b: decoder output values, scaled from 14 to 16 bits.
    [(0x80, 32124), (0x00, -32124), (0xFF, 0), (0x7F, 0), (0xF0, 120), (0x70, -120), (0x8F, 16764)],
)
def test_reference_values(code: int, sample: int) -> None:
    assert tone.decode(bytes([code])) == [sample]


def test_every_code_survives_expansion_and_compression() -> None:
    codes = bytes(code for code in range(256) if code != 0x7F)  # 0x7F is minus zero
    assert tone.encode(tone.decode(codes)) == codes


@given(st.integers(-32768, 32767))
def test_compression_error_is_below_one_step(sample: int) -> None:
    (heard,) = tone.decode(tone.encode([sample]))
    assert abs(heard - max(-32124, min(32124, sample))) <= max(4, abs(sample) // 16)


def test_a_tone_is_recognised_by_its_frequency() -> None:
    heard = tone.decode(tone.second(440))
    assert tone.share(heard, 440) > 0.98
    assert tone.share(heard, 880) < 0.01


def test_a_second_of_tone_repeats_seamlessly() -> None:
    assert tone.share(tone.decode(tone.second(441) * 3), 441) > 0.98


def test_silence_and_noise_hold_no_tone() -> None:
    noise = random.Random(1)
    assert tone.share([], 440) == 0
    assert tone.share([0] * 800, 440) == 0
    assert tone.share([noise.randint(-9000, 9000) for _ in range(8000)], 440) < 0.05
