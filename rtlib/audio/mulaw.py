"""G.711 µ-law, the payload of PCMU (RFC 3551 section 4.5.14): 16-bit samples to bytes and back.

The standard library's `audioop` had this and is gone from Python 3.13.
"""

from __future__ import annotations

from array import array
from typing import Final

SAMPLE_RATE: Final = 8000
"""Samples per second of PCMU."""

SILENCE: Final = 0xFF
"""The code of a zero sample."""

_BIAS: Final = 33
_CLIP: Final = 8191 - _BIAS


def _compress(sample: int) -> int:
    """One 14-bit sample to its code, by the segments of G.711 table 2a."""
    sign = 0x80 if sample < 0 else 0
    magnitude = min(abs(sample), _CLIP) + _BIAS
    segment = magnitude.bit_length() - 6
    step = magnitude >> (segment + 1) & 0x0F
    return ~(sign | segment << 4 | step) & 0xFF


def _expand(code: int) -> int:
    """One code to the 16-bit sample in the middle of its interval."""
    bits = ~code & 0xFF
    segment = bits >> 4 & 0x07
    magnitude = (((bits & 0x0F) * 2 + _BIAS) << segment) - _BIAS
    return (-magnitude if bits & 0x80 else magnitude) * 4


_CODES: Final = bytes(_compress(sample if sample < 0x2000 else sample - 0x4000) for sample in range(0x4000))
_SAMPLES: Final = tuple(_expand(code) for code in range(256))


def encode(samples: array[int]) -> bytes:
    """Samples (signed, 16 bits) to one byte each."""
    return bytes([_CODES[sample >> 2 & 0x3FFF] for sample in samples])


def decode(data: bytes) -> array[int]:
    """Bytes to one sample (signed, 16 bits) each."""
    return array("h", [_SAMPLES[code] for code in data])
