"""Blacklists on disk and in memory."""

from __future__ import annotations

from pathlib import Path

import pytest

from crs.accounts import AccountError
from crs.blacklist import FILE, Blacklists
from crs.identity import Identity


@pytest.fixture
def file(tmp_path: Path) -> Path:
    (tmp_path / "acc").mkdir()
    return tmp_path / "acc" / FILE


def test_what_was_written_is_read_again(tmp_path: Path, file: Path) -> None:
    lists = Blacklists(tmp_path)
    lists.write("acc", frozenset({"+2", "+1"}))
    assert file.read_text() == "+1\n+2\n"
    assert file.stat().st_mode & 0o777 == 0o600
    assert Identity("+1", "acc") not in lists, "writing is for a thread; `set` makes it known"
    lists.set("acc", frozenset({"+1"}))
    assert Identity("+1", "acc") in lists
    assert Identity("+1", "other") not in lists
    again = Blacklists(tmp_path)
    again.load(["acc", "without"])
    assert again.of("acc") == {"+1", "+2"}
    assert again.of("without") == frozenset()
    again.forget("acc")
    assert Identity("+1", "acc") not in again


def test_comments_and_empty_lines(tmp_path: Path, file: Path) -> None:
    file.write_text("# lost phones\n\n  +1  \n")
    lists = Blacklists(tmp_path)
    lists.load(["acc"])
    assert lists.of("acc") == {"+1"}


@pytest.mark.parametrize("content", [b"+1\n+2 +3\n", b"x" * 256, b"+1\n\xff\n"])
def test_a_damaged_list_is_refused_and_the_old_one_kept(tmp_path: Path, file: Path, content: bytes) -> None:
    lists = Blacklists(tmp_path)
    lists.set("acc", frozenset({"+9"}))
    file.write_bytes(content)
    with pytest.raises(AccountError, match=str(file)):
        lists.load(["acc"])
    assert lists.of("acc") == {"+9"}


def test_a_list_that_cannot_be_written(tmp_path: Path) -> None:
    with pytest.raises(AccountError, match="No such file"):
        Blacklists(tmp_path).write("gone", frozenset())
