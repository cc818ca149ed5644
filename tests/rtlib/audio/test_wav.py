import wave
from array import array
from pathlib import Path

import pytest

from rtlib.audio import wav


def test_what_was_written_is_read(tmp_path: Path) -> None:
    samples = array("h", [0, 1, -1, 32767, -32768])
    wav.write(tmp_path / "a.wav", samples)
    assert wav.read(tmp_path / "a.wav") == samples
    with wave.open(str(tmp_path / "a.wav")) as file:
        assert (file.getnchannels(), file.getsampwidth(), file.getframerate()) == (1, 2, 8000)


def test_another_format_is_refused_with_the_remedy(tmp_path: Path) -> None:
    with wave.open(str(tmp_path / "cd.wav"), "wb") as file:
        file.setparams((2, 2, 44100, 0, "NONE", ""))
        file.writeframes(bytes(400))
    with pytest.raises(wav.WavError, match=r"2 channel\(s\), 16 bits, 44100 Hz; .*\(sox"):
        wav.read(tmp_path / "cd.wav")


@pytest.mark.parametrize("content", [b"", b"RIFF", b"RIFF\xff\xff\xff\xffWAVEfmt ", b"no wav file" * 20])
def test_garbage_is_an_error_that_names_the_file(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "bad.wav").write_bytes(content)
    with pytest.raises(wav.WavError, match=r"bad\.wav"):
        wav.read(tmp_path / "bad.wav")


def test_a_missing_file_and_a_missing_directory(tmp_path: Path) -> None:
    with pytest.raises(wav.WavError, match=r"nowhere\.wav"):
        wav.read(tmp_path / "nowhere.wav")
    with pytest.raises(wav.WavError, match="No such file or directory"):
        wav.write(tmp_path / "none" / "a.wav", array("h", [1]))


def test_a_cut_off_sample_is_an_error(tmp_path: Path) -> None:
    wav.write(tmp_path / "a.wav", array("h", [1, 2, 3]))
    (tmp_path / "a.wav").write_bytes((tmp_path / "a.wav").read_bytes()[:-1])
    with pytest.raises(wav.WavError, match=r"a\.wav"):
        wav.read(tmp_path / "a.wav")
