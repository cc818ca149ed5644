"""Files that hold secrets."""

import os
from pathlib import Path

import pytest

from rtlib import secretfile


def test_whole_private_and_alone(tmp_path: Path) -> None:
    file = tmp_path / "secret"
    secretfile.write(file, (b"one", b"two"))
    secretfile.write(file, (b"three",))
    assert file.read_bytes() == b"three" and file.stat().st_mode & 0o777 == 0o600
    assert list(tmp_path.iterdir()) == [file]


def test_nothing_is_replaced_by_accident(tmp_path: Path) -> None:
    file = tmp_path / "secret"
    secretfile.write(file, (b"one",), replace=False)
    with pytest.raises(FileExistsError):
        secretfile.write(file, (b"two",), replace=False)
    assert file.read_bytes() == b"one" and list(tmp_path.iterdir()) == [file]


def test_what_a_crash_left_is_in_nobodys_way(tmp_path: Path) -> None:
    (tmp_path / ".secret.tmp").write_bytes(b"half")
    secretfile.write(tmp_path / "secret", (b"one",))
    assert [file.name for file in tmp_path.iterdir()] == ["secret"]


def test_a_failure_leaves_the_old_file(tmp_path: Path) -> None:
    file = tmp_path / "secret"
    secretfile.write(file, (b"one",))

    def parts():  # type: ignore[no-untyped-def]  # a generator that fails midway
        yield b"tw"
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space left"):
        secretfile.write(file, parts())
    assert file.read_bytes() == b"one" and list(tmp_path.iterdir()) == [file]


@pytest.mark.parametrize(("mode", "told"), [(0o644, 0o644), (0o640, 0o640), (0o600, None), (0o400, None)])
def test_tighten(tmp_path: Path, mode: int, told: int | None) -> None:
    file = tmp_path / "secret"
    file.touch()
    file.chmod(mode)
    descriptor = os.open(file, os.O_RDONLY)
    try:
        assert secretfile.tighten(descriptor) == told
    finally:
        os.close(descriptor)
    assert not file.stat().st_mode & 0o077
