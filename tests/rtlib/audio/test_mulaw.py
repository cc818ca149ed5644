import warnings
from array import array

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtlib.audio import mulaw


def test_known_codes() -> None:
    """G.711 table 2a: the ends and the middle."""
    samples = array("h", [0, -4, 32124, -32124, 32767, -32768, 8, -8, 1000])
    assert mulaw.encode(samples) == bytes([0xFF, 0x7E, 0x80, 0x00, 0x80, 0x00, 0xFE, 0x7E, 0xCE])
    assert list(mulaw.decode(bytes([0x80, 0x00, 0xFF, 0x7F, 0xFE]))) == [32124, -32124, 0, 0, 8]


def test_every_code_survives() -> None:
    """All but 0x7F, the second name of zero, come back as themselves."""
    codes = bytes(code for code in range(256) if code != 0x7F)
    assert mulaw.encode(mulaw.decode(codes)) == codes


@given(st.integers(-32768, 32767))
def test_error_is_below_half_a_step(sample: int) -> None:
    decoded = mulaw.decode(mulaw.encode(array("h", [sample])))[0]
    clipped = max(-32636, min(32636, sample))
    assert abs(decoded - clipped) <= 4 + (abs(clipped) + 132) / 32


def test_all_samples_as_the_standard_library_had_them() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        audioop = pytest.importorskip("audioop", reason="gone from Python 3.13")
    every = array("h", range(-32768, 32768))
    assert mulaw.encode(every) == audioop.lin2ulaw(every.tobytes(), 2)
    assert mulaw.decode(bytes(range(256))).tobytes() == audioop.ulaw2lin(bytes(range(256)), 2)
