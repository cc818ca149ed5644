"""WAV files as phones play and record them: 16-bit PCM, mono, 8,000 samples per second."""

from __future__ import annotations

import sys
import wave
from array import array
from pathlib import Path

from rtlib.audio.mulaw import SAMPLE_RATE


class WavError(Exception):
    """The file cannot be read or written as such a WAV file; the text says why."""


def read(path: Path) -> array[int]:
    """The samples of a file. Raises WavError where it is missing or of another format."""
    try:
        with path.open("rb") as stream, wave.open(stream, "rb") as file:
            _check(path, file.getnchannels(), file.getsampwidth(), file.getframerate())
            samples = array("h", file.readframes(file.getnframes()))
    except (OSError, EOFError, wave.Error, ValueError) as error:
        raise WavError(f"{path}: not readable as a WAV file: {error}") from error
    return _little_endian(samples)


def write(path: Path, samples: array[int]) -> None:
    """Write a file of these samples. Raises WavError where that is not possible."""
    try:
        with path.open("wb") as stream, wave.open(stream, "wb") as file:
            file.setnchannels(1)
            file.setsampwidth(2)
            file.setframerate(SAMPLE_RATE)
            file.writeframes(_little_endian(samples).tobytes())
    except OSError as error:
        raise WavError(f"{path}: cannot be written: {error.strerror}") from error


def _check(path: Path, channels: int, width: int, rate: int) -> None:
    if (channels, width, rate) != (1, 2, SAMPLE_RATE):
        raise WavError(
            f"{path}: {channels} channel(s), {8 * width} bits, {rate} Hz; only 1 channel, 16 bits, 8000 Hz"
            " can be played (sox IN.wav -c 1 -b 16 -r 8000 OUT.wav converts)"
        )


def _little_endian(samples: array[int]) -> array[int]:
    """WAV is little-endian whatever the machine is."""
    if sys.byteorder == "big":
        samples = array("h", samples)
        samples.byteswap()
    return samples
