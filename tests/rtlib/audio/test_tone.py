import random
from array import array
from itertools import islice

import pytest

from rtlib.audio import mulaw, tone


def samples(frequency: float, count: int = 1600) -> "array[int]":
    return array("h", islice(tone.sine(frequency), count))


@pytest.mark.parametrize("frequency", [300, 440, 1000, 3400])
def test_a_tone_is_found_after_mulaw(frequency: int) -> None:
    heard = mulaw.decode(mulaw.encode(samples(frequency)))
    assert tone.share(heard, frequency) > 0.98
    assert tone.share(heard, frequency * 1.1) < 0.05


def test_noise_and_silence_have_no_tone() -> None:
    dice = random.Random(1)
    noise = array("h", [dice.randrange(-8000, 8000) for _ in range(1600)])
    assert tone.share(noise, 440) < 0.05
    assert tone.share(array("h", bytes(3200)), 440) == 0
    assert tone.share(array("h"), 440) == 0


def test_two_tones_share_the_energy() -> None:
    both = array("h", [a + b for a, b in zip(samples(400), samples(1000), strict=True)])
    assert tone.share(both, 400) == pytest.approx(0.5, abs=0.02)
    assert tone.share(both, 1000) == pytest.approx(0.5, abs=0.02)


def test_a_jump_does_not_count_in_the_usual_share() -> None:
    sound = samples(880, 8000)
    jumping = sound[:4000] + sound[4005:]
    assert tone.share(jumping, 880) < 0.9 < tone.usual_share(jumping, 880)
    assert tone.usual_share(samples(440, 8000), 880) < 0.1
    assert tone.usual_share(sound[:799], 880) == 0.0
