"""WAV files of 8,000 mono samples a second: what a headless phone plays, and what it has recorded."""

from __future__ import annotations

import sys
from array import array
from itertools import islice
from pathlib import Path

from rtlib.audio import tone, wav
from rtlib.audio.mulaw import SAMPLE_RATE


def write_tone(path: Path, frequency: float, seconds: float) -> None:
    """Write a file that holds a tone of `frequency` hertz. Raises WavError."""
    wav.write(path, array("h", islice(tone.sine(frequency, amplitude=12000), round(seconds * SAMPLE_RATE))))


def read(path: Path) -> array[int]:
    """The samples of the left channel of a 16-bit file.

    A recorder that is still running has not written the length yet, so whatever follows the
    header is read. Raises ValueError where that is not 16-bit PCM at 8,000 samples a second.
    """
    raw = path.read_bytes()
    channels, rate = int.from_bytes(raw[22:24], "little"), int.from_bytes(raw[24:28], "little")
    start = raw.find(b"data") + 8
    if raw[:4] != b"RIFF" or start < 8 or not channels or rate != SAMPLE_RATE or raw[34:36] != b"\x10\x00":
        raise ValueError(f"{path} is not a 16-bit WAV file at {SAMPLE_RATE} samples a second")
    data = raw[start:]
    samples = array("h", data[: len(data) // 2 * 2])
    if sys.byteorder == "big":
        samples.byteswap()
    return samples[::channels]
