"""Administrators on disk."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from crs.admins import Admin, Admins
from crs.linefile import LineFileError

CREATED = datetime(2026, 11, 26, tzinfo=UTC)
ALICE = Admin("alice", b"0123456789abcdef", CREATED, {"blue": frozenset({"update"}), "green": frozenset()})


@pytest.fixture
def admins(tmp_path: Path) -> Admins:
    return Admins(tmp_path / "admins")


def test_what_is_written_is_read(admins: Admins, tmp_path: Path) -> None:
    assert admins.all() == []
    assert admins.get("alice") is None
    admins.write(ALICE)
    admins.write(Admin("Bob", b"x" * 16, CREATED))
    assert admins.all() == [Admin("Bob", b"x" * 16, CREATED), ALICE]
    assert admins.get("alice") == ALICE
    file = tmp_path / "admins" / "alice"
    assert file.stat().st_mode & 0o777 == 0o600
    assert file.read_text() == (
        "secret MDEyMzQ1Njc4OWFiY2RlZg==\ncreated 2026-11-26T00:00:00Z\naccount blue update\naccount green\n"
    )
    assert "0123456789" not in repr(ALICE)
    assert admins.erase("alice")
    assert [admin.name for admin in admins.all()] == ["Bob"]
    assert not admins.erase("alice")


def test_a_deleted_account_is_nobodys(admins: Admins) -> None:
    admins.write(ALICE)
    admins.forget_account("blue")
    assert admins.get("alice") == ALICE.without("blue")


def test_all_forget_an_account_or_none(
    admins: Admins, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    admins.write(ALICE)
    admins.write(replace(ALICE, name="bob"))
    write = admins.write

    def full(admin: Admin) -> None:
        if admin.name == "bob":
            raise LineFileError("bob: No space left on device")
        write(admin)

    monkeypatch.setattr(admins, "write", full)
    with pytest.raises(LineFileError, match="No space"):
        admins.forget_account("blue")
    assert admins.get("alice") == ALICE and "blue" in admins.all()[1].accounts


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("created 2026-01-01\n", "secret: is required"),
        ("secret ?\n", "not base64"),
        ("secret YWJj\ncolour red\n", "alice:2: colour: unknown directive"),
        ("secret YWJj\naccount no!\n", "alice:2: account: 'no!' is no account ID"),
        ("secret YWJj\naccount\n", "alice:2: account: '' is no account ID"),
        ("secret YWJj\n\naccount blue root\n", "alice:3: account: root is no authorization"),
        ("secret YWJj\ncreated yesterday\n", "yesterday"),
    ],
)
def test_a_damaged_file_is_told_with_its_line(admins: Admins, tmp_path: Path, text: str, reason: str) -> None:
    admins.write(ALICE)
    (tmp_path / "admins" / "alice").write_text(text)
    with pytest.raises(LineFileError) as caught:
        admins.all()
    assert reason in str(caught.value)
    assert "YWJj" not in str(caught.value)
