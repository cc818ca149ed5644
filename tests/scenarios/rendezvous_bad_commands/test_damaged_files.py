"""A file that a command reads is damaged: one line that names it, and the server goes on with what it had."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, NamedTuple

import pytest

from crs.cli import main
from crs.client.testing import ACCOUNT, CrsServer
from rtlib.testing.program import Ended, ended


class Case(NamedTuple):
    path: str
    """Below the home."""
    content: bytes
    told: str
    """What standard error has of it, behind the path."""
    commands: tuple[str, ...]


RELOAD: Final = ("reload account",)
ADMIN: Final = (
    "show admins",
    "show admin eve",
    "show admin-accounts eve",
    f"add admin-account eve {ACCOUNT}",
    "create admin other",
    f"delete account {ACCOUNT}",
)
PEERS: Final = (
    "list iw-crs",
    "show iw-crs",
    "add iw-crs 192.0.2.9 0123456789abcdef",
    "delete iw-crs 192.0.2.1",
)
LOCAL: Final = (
    "backup",
    "show services",
    "check slot +46",
    "health-check system",
    f"health-check account {ACCOUNT}",
)
ACCOUNT_FILE: Final = f"accounts/{ACCOUNT}/account.conf"

CASES: Final = (
    Case(ACCOUNT_FILE, b"", ": secret: is required", RELOAD),
    Case(ACCOUNT_FILE, b"secret ???\n", ": the shared secret is not base64", RELOAD),
    Case(ACCOUNT_FILE, b"secret YWJj\ncolour red\n", ":2: colour: unknown directive", RELOAD),
    Case(ACCOUNT_FILE, b"\xff\xfe\x00", ": 'utf-8' codec", RELOAD),
    Case(ACCOUNT_FILE, b"secret YWJj\nformer-secret YWJj\n", ": former-secret: must have a time", RELOAD),
    Case(f"accounts/{ACCOUNT}/blacklist", b"+1\ntwo words\n", ":2: this is no URI", RELOAD),
    Case(f"accounts/{ACCOUNT}/rooms", b"12345 +1\n", ":1: must be a number of six digits", RELOAD),
    Case(f"accounts/{ACCOUNT}/2026-01.applied", b"CRSU", ": ", RELOAD),
    Case(f"accounts/{ACCOUNT}/listed.txt", b"\xff\n", ": ", RELOAD),
    Case("admins/eve", b"", ": secret: is required", ADMIN),
    Case("admins/eve", b"secret YWJj\naccount demo everything\n", ":2: account: everything is no", ADMIN),
    Case(
        "iw-crs.conf", b"iw-crs 192.0.2.256 0123456789abcdef\n", ":1: '192.0.2.256' is no IP address", PEERS
    ),
    Case("iw-crs.conf", b"iw-crs 192.0.2.1 short\n", ":1: the shared secret must be", PEERS),
    Case("crs.conf", b"colour red\n", ":1: colour: unknown", LOCAL),
    Case("crs.conf", b"client-listen-port 99999\n", ":1: client-listen-port: ", LOCAL),
    Case("crs-local.conf", b"crsname\n", ":1: crsname: ", LOCAL),
)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CrsServer]:
    with CrsServer(tmp_path_factory.mktemp("crs")) as running:
        yield running


def crs_cli(server: CrsServer, line: str) -> Ended:
    return ended(main, "--home", str(server.home), *line.split())


def left_over(home: Path) -> list[Path]:
    """Archives, and files that were not finished."""
    return [*home.glob("backup/*"), *home.glob("backup/.*"), *home.rglob(".*.tmp")]


@contextmanager
def damaged(path: Path, content: bytes) -> Iterator[None]:
    before = path.read_bytes() if path.exists() else None
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(content)
    path.chmod(0o600)
    try:
        yield
    finally:
        path.unlink() if before is None else path.write_bytes(before)


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.path} {case.told}")
def test_it_is_named_on_one_line(case: Case, server: CrsServer) -> None:
    path = server.home / case.path
    before = crs_cli(server, "list account"), crs_cli(server, "show updates")
    with damaged(path, case.content):
        for line in case.commands:
            done = crs_cli(server, line)
            assert (done.code, done.out) == (1, ""), (line, done)
            assert done.err.count("\n") == 1 and f"{path}{case.told}" in done.err, (line, done.err)
        assert path.read_bytes() == case.content
        assert (crs_cli(server, "list account"), crs_cli(server, "show updates")) == before
    assert left_over(server.home) == []
    assert "Traceback" not in server.daemon.output


def test_a_damaged_administrator_can_be_deleted(server: CrsServer) -> None:
    with damaged(server.home / "admins" / "eve", b"?"):
        assert crs_cli(server, "delete admin eve") == Ended(0, "", "")
        assert crs_cli(server, "show admins").out == "Admin  Accounts\n"
        (server.home / "admins" / "eve").touch()


def test_a_damaged_database_is_not_backed_up(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "crs.db").write_bytes(b"no database" * 100)
    (tmp_path / "log").mkdir()
    done = ended(main, "--home", str(tmp_path), "backup")
    assert (done.code, done.out) == (1, "")
    assert f"copying {tmp_path}/data/crs.db to {tmp_path}/backup: file is not a database\n" in done.err
    assert left_over(tmp_path) == []
