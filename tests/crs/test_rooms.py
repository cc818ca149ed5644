"""Conference rooms on disk."""

from __future__ import annotations

from pathlib import Path

import pytest

from crs.accounts import AccountError
from crs.rooms import Rooms, is_number
from crs.signaling.group import Room


def test_rooms_are_there_after_a_restart(tmp_path: Path) -> None:
    for account in ("blue", "red"):
        (tmp_path / account).mkdir()
    rooms = Rooms(tmp_path)
    rooms.write("blue", {"123456": "+1", "000001": "+2"})
    rooms.write("red", {"123456": "+9"})
    assert (tmp_path / "blue" / "rooms").stat().st_mode & 0o777 == 0o600
    again = Rooms(tmp_path)
    again.load(["blue", "red", "green"])
    assert again.of("blue") == {"000001": "+2", "123456": "+1"} and again.of("green") == {}
    assert again.find("123456") == [Room("123456", "blue", "+1"), Room("123456", "red", "+9")]
    again.set("blue", {"000001": "+2"})
    assert again.find("123456") == [Room("123456", "red", "+9")]
    again.forget("red")
    assert again.find("123456") == []


@pytest.mark.parametrize("line", ["12345 +1", "123456", "123456 +1 +2", "1234567 +1", "123456 +1\n123456 +2"])
def test_a_bad_line_is_named(tmp_path: Path, line: str) -> None:
    (tmp_path / "blue").mkdir()
    (tmp_path / "blue" / "rooms").write_text(f"# rooms\n\n{line}\n")
    with pytest.raises(AccountError, match=r"rooms:[34]: "):
        Rooms(tmp_path).load(["blue"])


def test_numbers() -> None:
    assert is_number("000000")
    assert not any(map(is_number, ("", "12345", "1234567", "12345a", "１２３４５６", "123456\n")))
