"""Test tones: a sine source, and the Goertzel algorithm that finds a tone in what arrived."""

from __future__ import annotations

import math
from array import array
from collections.abc import Iterator
from itertools import count
from statistics import median

from rtlib.audio.mulaw import SAMPLE_RATE


def sine(frequency: float, amplitude: int = 8000, rate: int = SAMPLE_RATE) -> Iterator[int]:
    """An endless tone of `frequency` Hz: samples of 16 bits, `amplitude` at the peak."""
    step = 2 * math.pi * frequency / rate
    return (round(amplitude * math.sin(step * index)) for index in count())


def share(samples: array[int], frequency: float, rate: int = SAMPLE_RATE) -> float:
    """How much of the signal's energy is at `frequency` Hz: 1 for that pure tone, 0 for silence.

    The Goertzel algorithm: one bin of a discrete Fourier transform, as wide as rate / len(samples).
    """
    energy = sum(sample * sample for sample in samples)
    if not energy:
        return 0.0
    coefficient = 2 * math.cos(2 * math.pi * frequency / rate)
    last = before = 0.0
    for sample in samples:
        last, before = sample + coefficient * last - before, last
    power = last * last + before * before - coefficient * last * before
    return min(1.0, 2 * power / (len(samples) * energy))


def usual_share(samples: array[int], frequency: float, rate: int = SAMPLE_RATE) -> float:
    """`share` of the median tenth of a second: a jump where a jitter buffer has adapted does not count."""
    length = rate // 10
    tenths = [samples[start : start + length] for start in range(0, len(samples) - length + 1, length)]
    return median(share(tenth, frequency, rate) for tenth in tenths) if tenths else 0.0
