"""The key of resume tokens."""

from __future__ import annotations

from pathlib import Path

from crs.tokenkey import FILE, SIZE, token_key


def test_the_key_of_the_pool_comes_first(tmp_path: Path) -> None:
    assert token_key(tmp_path, "shared by all") == b"shared by all"
    assert not (tmp_path / FILE).exists()


def test_a_home_keeps_its_own(tmp_path: Path) -> None:
    key = token_key(tmp_path, None)
    assert len(key) == SIZE and key != bytes(SIZE)
    assert (tmp_path / FILE).stat().st_mode & 0o777 == 0o600
    (tmp_path / FILE).chmod(0o644)
    assert token_key(tmp_path, None) == key
    assert (tmp_path / FILE).stat().st_mode & 0o777 == 0o600


def test_half_a_key_is_replaced(tmp_path: Path) -> None:
    (tmp_path / FILE).write_bytes(b"half")
    key = token_key(tmp_path, None)
    assert len(key) == SIZE and token_key(tmp_path, None) == key
