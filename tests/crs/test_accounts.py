"""Accounts on disk."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from crs.accounts import Account, AccountError, Accounts, Former, decode_secret, encode_secret
from crs.identity import build, client_key

SECRET = bytes(range(16))
MADE = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def test_written_and_read_again(tmp_path: Path) -> None:
    accounts = Accounts(tmp_path)
    accounts.write(Account("acc", SECRET, MADE))
    file = tmp_path / "acc" / "account.conf"
    assert file.stat().st_mode & 0o777 == 0o600
    assert file.read_text() == f"secret {encode_secret(SECRET)}\ncreated 2026-01-02T03:04:05Z\n"
    (tmp_path / "2026-01.upd").write_text("stray")
    again = Accounts(tmp_path)
    again.load()
    assert list(again) == [Account("acc", SECRET, MADE)]


def test_keys_of_clients(tmp_path: Path) -> None:
    accounts = Accounts(tmp_path)
    accounts.add(Account("acc", SECRET, MADE))
    assert accounts.key(b"+46@acc") == client_key(SECRET, "+46")
    for stranger in (b"+46@other", b"admin/joe", b"\xff", b""):
        assert accounts.key(stranger) is None
    accounts.remove("acc")
    assert accounts.key(b"+46@acc") is None


def test_two_secrets_until_a_deadline(tmp_path: Path) -> None:
    now = [MADE]
    accounts = Accounts(tmp_path, lambda: now[0].timestamp())
    until = datetime(2026, 2, 1, tzinfo=UTC)
    account = Account("acc", b"n" * 16, MADE, former=Former(SECRET, until))
    accounts.write(account)
    accounts.load()
    assert list(accounts) == [account]
    old, new = client_key(SECRET, "+46"), client_key(b"n" * 16, "+46")
    hinted = [build("+46", "acc", key) for key in (old, new)]
    assert [accounts.key(each) for each in hinted] == [old, new]
    assert accounts.key(b"+46@acc") == new, "who gives no hint has the new one"
    assert accounts.key(b"+46@acc:00000000") == new, "an unknown key fails as a wrong one does"
    assert [account.uses_former(each) for each in (*hinted, b"+46@acc")] == [True, False, False]
    now[0] = until
    assert [accounts.key(each) for each in hinted] == [new, new]
    assert account.secrets(until) == (b"n" * 16,)
    assert "former" not in repr(account).replace("former=", "") and "nnnn" not in repr(account)


@pytest.mark.parametrize(
    "line", ["former-secret YQ==", "former-secret YQ== soon", "former-secret ! 2026-01-01"]
)
def test_a_bad_former_secret(tmp_path: Path, line: str) -> None:
    (tmp_path / "acc").mkdir()
    (tmp_path / "acc" / "account.conf").write_text(f"secret YQ==\n{line}\n")
    with pytest.raises(AccountError, match=r"acc/account\.conf"):
        Accounts(tmp_path).load()


def test_erased(tmp_path: Path) -> None:
    accounts = Accounts(tmp_path)
    accounts.write(Account("acc", SECRET, MADE))
    accounts.erase("acc")
    accounts.load()
    assert list(accounts) == [] and list(tmp_path.iterdir()) == []


def test_a_loose_mode_is_tightened(tmp_path: Path) -> None:
    """As the manual's restore leaves it (4.15.2)."""
    accounts = Accounts(tmp_path)
    accounts.write(Account("acc", SECRET, MADE))
    file = tmp_path / "acc" / "account.conf"
    file.chmod(0o644)
    accounts.load()
    assert "acc" in accounts and file.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("text", ["", "created 2026-01-01", "secret !!!", "secret ", "secrte YQ==", "\x00"])
def test_a_bad_file_is_refused_by_name(tmp_path: Path, text: str) -> None:
    (tmp_path / "acc").mkdir()
    (tmp_path / "acc" / "account.conf").write_text(text)
    with pytest.raises(AccountError, match=r"acc/account\.conf"):
        Accounts(tmp_path).load()


def test_an_unwritable_place_is_an_account_error(tmp_path: Path) -> None:
    (tmp_path / "acc").write_text("a file is in the way")
    with pytest.raises(AccountError, match="acc"):
        Accounts(tmp_path).write(Account("acc", SECRET, MADE))


def test_secrets_are_not_in_messages() -> None:
    with pytest.raises(ValueError, match="not base64") as caught:
        decode_secret("s3cr3t!")
    assert "s3cr3t" not in str(caught.value)
    assert "000102" not in repr(Account("acc", SECRET, MADE)) and repr(SECRET) not in repr(
        Account("acc", SECRET, MADE)
    )
