"""WAV files written and read, and unfinished ones as a running recorder leaves them."""

from array import array
from itertools import islice
from pathlib import Path

import pytest

from haproxy.testing import recording
from rtlib.audio import tone

TONE = array("h", islice(tone.sine(440, amplitude=12000), 4000))


def test_a_written_tone_is_read_back(tmp_path: Path) -> None:
    recording.write_tone(tmp_path / "a.wav", 440, 0.5)
    assert recording.read(tmp_path / "a.wav") == TONE


def test_a_file_without_its_length_is_read_to_the_end(tmp_path: Path) -> None:
    recording.write_tone(tmp_path / "a.wav", 440, 0.5)
    raw = bytearray((tmp_path / "a.wav").read_bytes())
    raw[4:8] = raw[40:44] = bytes(4)
    (tmp_path / "a.wav").write_bytes(raw + b"\x01")
    assert recording.read(tmp_path / "a.wav") == TONE


@pytest.mark.parametrize("content", [b"", b"RIFF", b"x" * 100])
def test_another_file_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.wav").write_bytes(content)
    with pytest.raises(ValueError, match=r"a\.wav is not a 16-bit WAV file"):
        recording.read(tmp_path / "a.wav")
