"""`crs-cms` as a program, from making an account to an update that a server applies."""

import os
import subprocess
import sys
from base64 import b64encode
from datetime import UTC, datetime
from pathlib import Path

import pytest

from crs import provisioning
from crs.cms import cli, program
from crs.cms.account import Account, Folder
from crs.cms.clients import Client
from crs.identity import client_key
from crs.provisioning import Provisioning
from crs.update import content
from crs.update.applied import Standing
from crs.update.archive import Archive
from crs.update.month import Month
from crs.update.protection import read_header, unprotect
from rtlib.testing.daemon import ROOT

SECRET = bytes(range(16))
NOW = datetime.now(UTC)
MONTH = Month.of(NOW)


def run(folder: Path, *arguments: str | Path) -> tuple[int, str, str]:
    """Exit code, standard output and standard error of `crs-cms -d demo ...` in `folder`."""
    done = subprocess.run(
        [sys.executable, "-m", "crs.cms.cli", "-d", "demo", *map(str, arguments)],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return done.returncode, done.stdout, done.stderr


def ok(folder: Path, *arguments: str | Path) -> str:
    code, output, errors = run(folder, *arguments)
    assert (code, errors) == (0, "")
    return output


def failed(folder: Path, *arguments: str | Path) -> str:
    """The one line that says why."""
    code, output, errors = run(folder, *arguments)
    assert (code, output) == (1, "")
    assert errors.startswith("crs-cms: ") and errors.count("\n") == 1
    return errors


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A folder with the account `demo` of two clients."""
    folder = Folder(tmp_path / "demo")
    folder.create(Account("demo", "192.0.2.1:5223", connected_domains=("blue",)), SECRET)
    folder.write_clients(
        {uri: Client(uri, name, ("red",)) for uri, name in (("+461", "Anna"), ("+462", "Bo"))}
    )
    return tmp_path


def opened(file: Path) -> content.Outline:
    return content.parse(unprotect(file.read_bytes(), "demo", [SECRET]))


def test_an_account_is_made(tmp_path: Path) -> None:
    (tmp_path / "agreed").write_bytes(b64encode(SECRET))
    made = ok(tmp_path, "create", "demo", "--server", "192.0.2.1", "--secret-file", "agreed", "--listed-only")
    assert made == "account demo is in demo; the server needs the secret in demo/secret\n"
    (tmp_path / "new.csv").write_text("uri,name,team_codes\n+461,Anna,red\n+462,Bo,red\n")
    assert ok(tmp_path, "add", "new.csv") == "2 added, 0 replaced\n"
    folder = Folder(tmp_path / "demo")
    assert folder.account() == Account("demo", "192.0.2.1:5223", listed_only=True)
    assert folder.secret() == SECRET and list(folder.clients()) == ["+461", "+462"]
    other = program.create(Folder(tmp_path / "other"), {"id": "other", "server": "a:1"}, None)
    assert other.startswith("account other is in ")
    assert len(Folder(tmp_path / "other").secret()) == 16


def test_from_an_account_to_an_applied_update(place: Path) -> None:
    """What the CMS issues, the server's archive takes."""
    output = ok(place, "issue")
    file = place / f"demo/demo-{MONTH}.upd"
    assert output == f"demo/demo-{MONTH}.upd: {MONTH}, 2 clients\n"
    assert file.stat().st_mode & 0o777 == 0o600
    (place / "accounts" / "demo").mkdir(parents=True)
    archive = Archive(place / "accounts")
    data = file.read_bytes()
    archive.put("demo", archive.write(unprotect(data, read_header(data).account, [SECRET]), "demo", NOW))
    updates = archive["demo"]
    assert updates.standing("+461", MONTH) is Standing.listed
    applied = updates.get(MONTH)
    assert applied is not None
    first, second = applied.blob("+461"), applied.blob("+462")
    assert first is not None and second is not None
    assert len(first) == len(second) == 32 and first != second

    ok(place, "remove", "+462")
    ok(place, "issue", "--keep", file, "--output", "again.upd")
    again = unprotect((place / "again.upd").read_bytes(), "demo", [SECRET])
    archive.put("demo", archive.write(again, "demo", NOW))
    assert archive["demo"].standing("+462", MONTH) is Standing.removed
    kept = archive["demo"].get(MONTH)
    assert kept is not None and kept.blob("+461") == first


def test_an_update_says_what_was_set(place: Path) -> None:
    ok(
        place,
        "change",
        "--listed-only",
        "--domain-token",
        "a token",
        "--connect",
        "red",
        "--connect",
        "green",
    )
    ok(place, "issue", "--month", str(MONTH.next), "--blob-size", "100", "-o", "next.upd")
    outline = opened(place / "next.upd")
    assert outline.month == MONTH.next and outline.span("+462") == (outline.size - 100, 100)
    head = outline.head
    assert (head.listed_only, head.domain_token) == (True, "a token")
    assert head.connected_domains == ("red", "green")
    shown = ok(place, "inspect", "next.upd")
    assert "listed only         yes\n" in shown and "team codes          red (2)\n" in shown
    shown = ok(place, "change", "--no-listed-only", "--connect", "") + ok(place, "show")
    assert "listed only         no\n" in shown and "connected domains   -\n" in shown
    assert b64encode(SECRET).decode() not in shown
    assert b64encode(SECRET).decode() in ok(place, "show", "--secret")


def test_blobs_from_files(place: Path) -> None:
    (place / "blob").write_bytes(b"own blob")
    (place / "own.csv").write_text("uri,blob\n+463,blob\n+461,\n")
    assert ok(place, "add", "own.csv") == "1 added, 1 replaced\n"
    ok(place, "issue", "-o", "october.upd")
    data = unprotect((place / "october.upd").read_bytes(), "demo", [SECRET])
    span = content.parse(data).span("+463")
    assert span is not None and bytes(data[span[0] : sum(span)]) == b"own blob"


def test_the_list_can_be_added_again(place: Path) -> None:
    listed = ok(place, "list")
    assert listed == "uri,name,team_codes,blob\n+461,Anna,red,\n+462,Bo,red,\n"
    (place / "list.csv").write_text(listed)
    assert ok(place, "remove", "--csv", "list.csv") == "2 removed\n"
    assert ok(place, "list") == "uri,name,team_codes,blob\n"
    assert ok(place, "add", "list.csv") == "2 added, 0 replaced\n"
    assert ok(place, "list") == listed


def test_provisioning(place: Path) -> None:
    (place / "e2e").write_bytes(b64encode(b"end-to-end"))
    text = ok(place, "provision", "+461", "--e2e-secret-file", "e2e")
    expected = Provisioning("192.0.2.1", 5223, "+461", "demo", client_key(SECRET, "+461"), b"end-to-end")
    assert provisioning.decode(text) == expected
    shown = ok(place, "provision", "+461", "--qr").splitlines()
    assert len(shown) > 20 and "\x1b" not in "".join(shown), "no colours where there is no terminal"
    assert provisioning.decode(shown[-1]).end_to_end_secret is None
    names = ok(place, "provision", "+461", "-o", "a.crs", "--png", "a.png", "--svg", "a.svg")
    assert names == "a.crs\na.png\na.svg\n"
    assert provisioning.decode((place / "a.crs").read_text()).uri == "+461"
    assert (place / "a.png").read_bytes().startswith(b"\x89PNG") and b"<svg" in (place / "a.svg").read_bytes()
    assert {(place / name).stat().st_mode & 0o777 for name in names.split()} == {0o600}


@pytest.mark.peer("zbarimg")
def test_a_phone_reads_the_picture(place: Path) -> None:
    ok(place, "provision", "+461", "--png", "a.png")
    command = ["zbarimg", "--quiet", "--raw", "--nodbus", "a.png"]
    done = subprocess.run(command, cwd=place, capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout == ok(place, "provision", "+461")


def test_nothing_is_replaced_without_force(place: Path) -> None:
    ok(place, "issue")
    file = place / f"demo/demo-{MONTH}.upd"
    before = file.read_bytes()
    assert "exists already (--force replaces it)" in failed(place, "issue")
    assert file.read_bytes() == before
    ok(place, "issue", "--force")
    assert opened(file).head.created > content.parse(unprotect(before, "demo", [SECRET])).head.created
    (place / "a.png").touch()
    assert "a.png: exists already" in failed(place, "provision", "+461", "-o", "a.crs", "--png", "a.png")
    assert not (place / "a.crs").exists(), "all files or none"


def test_what_goes_wrong_says_so_in_one_line(place: Path) -> None:
    (place / "bad.csv").write_text("uri\n+463\n+46 4\n")
    assert "bad.csv:3: uri: '+46 4' is no valid URI\n" in failed(place, "add", "bad.csv")
    assert "none.csv: No such file" in failed(place, "add", "none.csv")
    reason = failed(place, "remove", "+461", "+463", "+464")
    assert "+463 (and 1 more): not in demo/clients.csv; nothing was removed" in reason
    assert ok(place, "list").count("\n") == 3
    assert "+463: not in demo/clients.csv" in failed(place, "provision", "+463")
    assert "e2e: No such file" in failed(place, "provision", "+461", "--e2e-secret-file", "e2e")
    assert "2020-01 is over" in failed(place, "issue", "--month", "2020-01")
    assert "bad.csv: this is no update file" in failed(place, "inspect", "bad.csv")
    assert "none/october.upd: No such file" in failed(place, "issue", "--output", "none/october.upd")
    assert "there is an account already" in failed(place, "create", "demo", "--server", "192.0.2.1")
    assert "'a b' is no valid account ID" in failed(place, "change", "--connect", "a b")
    (place / "demo" / "secret").write_text("*")
    assert "demo/secret: not base64" in failed(place, "issue")
    (place / "demo" / "account.json").unlink()
    assert "demo: there is no account here; crs-cms create makes one" in failed(place, "list")


@pytest.mark.parametrize("position", [3, -1])
def test_a_damaged_update_is_refused(place: Path, position: int) -> None:
    ok(place, "issue", "-o", "october.upd")
    data = bytearray((place / "october.upd").read_bytes())
    data[position] ^= 1
    (place / "october.upd").write_bytes(data)
    expected = "no update file" if position == 3 else "is damaged"
    assert expected in failed(place, "inspect", "october.upd")
    assert expected in failed(place, "issue", "--keep", "october.upd", "--force")


@pytest.mark.parametrize(
    "arguments",
    [
        ["nonsense"],
        ["create"],
        ["create", "demo"],
        ["create", "demo", "--server", "a:b"],
        ["create", "demo", "--server", "::1"],
        ["change"],
        ["add"],
        ["add", "a.csv", "b.csv"],
        ["remove"],
        ["issue", "--month", "2026-13"],
        ["issue", "--blob-size", "0"],
        ["issue", "--blob-size", "32769"],
        ["provision"],
        ["inspect"],
    ],
)
def test_wrong_usage_exits_with_2(tmp_path: Path, arguments: list[str]) -> None:
    code, output, errors = run(tmp_path, *arguments)
    assert (code, output) == (2, "") and "Error: " in errors
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("command", cli._program.commands)
def test_every_command_shows_an_example(command: str) -> None:
    help = cli._program.commands[command].help
    assert help is not None and f"Example: crs-cms -d demo {command}" in help


def test_it_starts_without_what_it_does_not_need(tmp_path: Path) -> None:
    """Twisted above all; a help text also without segno and cryptography."""
    code = (
        "import sys; sys.argv = ['crs-cms', '--help']\n"
        "from crs.cms.cli import main\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "print([name for name in ('twisted', 'segno', 'cryptography', 'msgspec') if name in sys.modules])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout.splitlines()[-1] == "[]"
    (tmp_path / "demo").mkdir()
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "crs.cms.cli", "-d", str(tmp_path / "demo"), "list"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 1 and "twisted" not in done.stderr


def test_bounds_are_those_of_the_format() -> None:
    assert cli.MAX_BLOB == content.MAX_BLOB
