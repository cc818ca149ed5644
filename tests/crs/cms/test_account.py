"""The CMS's folder of an account."""

from pathlib import Path

import pytest

from crs.cms.account import Account, Folder, checked, read_secret
from crs.cms.clients import Client
from crs.cms.error import CmsError

ACCOUNT = Account("demo", "192.0.2.1:5223")


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    made = Folder(tmp_path / "demo")
    made.create(ACCOUNT, b"secret")
    return made


def test_made_and_read(folder: Folder) -> None:
    assert (folder.account(), folder.secret(), folder.clients()) == (ACCOUNT, b"secret", {})
    assert folder.path.stat().st_mode & 0o777 == 0o700
    files = sorted(folder.path.iterdir())
    assert [file.name for file in files] == ["account.json", "clients.csv", "secret"]
    assert {file.stat().st_mode & 0o777 for file in files} == {0o600}


def test_an_account_is_not_made_twice(folder: Folder) -> None:
    with pytest.raises(CmsError, match="there is an account already"):
        folder.create(ACCOUNT, b"other")
    assert folder.secret() == b"secret"


def test_changed(folder: Folder) -> None:
    clients = {"+461": Client("+461", "Anna", ("red",), folder.path / "blob")}
    folder.write_clients(clients)
    assert folder.clients() == clients
    account = Account("demo", "[2001:db8::1]:1", True, "a token", ("blue",), 5)
    folder.write_account(account)
    assert folder.account() == account


def test_one_at_a_time(folder: Folder) -> None:
    with (
        folder.locked(),
        pytest.raises(CmsError, match="another crs-cms is changing this account"),
        Folder(folder.path).locked(),
    ):
        pass
    with folder.locked():
        pass


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({"id": "a b"}, "'a b' is no valid account ID"),
        ({"server": "a:b"}, "'a:b' is not HOST:PORT"),
        ({"domain_token": "x" * 1025}, "length <= 1024"),
        ({"domain_token": "a\nb"}, "cannot be printed"),
        ({"connected_domains": ["a b"]}, "'a b' is no valid account ID of a connected domain"),
        ({"colour": "red"}, "unknown field `colour`"),
    ],
)
def test_impossible_settings(values: dict[str, object], reason: str) -> None:
    with pytest.raises(CmsError) as caught:
        checked({"id": "demo", "server": "192.0.2.1:5223"} | values)
    assert reason in str(caught.value)


@pytest.mark.parametrize("text", ["", "{", "[]", '{"id": "demo"}', '{"id": "demo", "server": ":1"}', "\xff"])
def test_a_damaged_account_is_named(folder: Folder, text: str) -> None:
    (folder.path / "account.json").write_bytes(text.encode("latin-1"))
    with pytest.raises(CmsError, match=r"account\.json: "):
        folder.account()


def test_what_is_missing_is_named(tmp_path: Path) -> None:
    folder = Folder(tmp_path / "none")
    with pytest.raises(CmsError, match="none: there is no account here"):
        folder.account()
    with pytest.raises(CmsError, match="none: No such file"), folder.locked():
        pass
    with pytest.raises(CmsError, match="secret: No such file"):
        folder.secret()


@pytest.mark.parametrize(
    ("data", "reason"), [(b"s3cr3t!", "not base64"), (b"", "holds no secret"), (b"\xff", "not base64")]
)
def test_a_damaged_secret_is_named_but_not_shown(tmp_path: Path, data: bytes, reason: str) -> None:
    (tmp_path / "secret").write_bytes(data)
    with pytest.raises(CmsError, match=f"secret: {reason}") as caught:
        read_secret(tmp_path / "secret")
    assert "s3cr3t" not in str(caught.value)
