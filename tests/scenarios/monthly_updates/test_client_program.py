"""The whole month with the programs alone: crs-cms, crs-cli, crs-client."""

from __future__ import annotations

import subprocess
from datetime import UTC, datetime
from pathlib import Path

from crs.client.testing import ACCOUNT, CrsServer, run
from crs.cms.testing import Cms
from crs.update.month import Month

THIS = Month.of(datetime.now(UTC))


def client(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Run `crs-client ARGUMENTS`."""
    return run("crs.client.cli", *map(str, arguments))


def test_a_client_is_provisioned_and_takes_its_updates(server: CrsServer, cms: Cms, tmp_path: Path) -> None:
    cms.list_clients("+4601", "+4602")
    server.ok("apply", cms.issue())
    paper, kept = tmp_path / "anna.crs", tmp_path / "config" / "anna"
    secret = tmp_path / "e2e"
    secret.write_text("ZW5kLXRvLWVuZA==")
    cms("provision", "+4601", "--output", str(paper), "--e2e-secret-file", str(secret))
    where = ("--provisioning", kept)
    done = client("provision", paper, *where)
    assert (done.returncode, done.stdout) == (0, f"+4601@{ACCOUNT} at {server.address}, kept in {kept}\n"), (
        done
    )
    assert kept.stat().st_mode & 0o777 == 0o600 and kept.read_text() == paper.read_text()
    again = client("provision", paper, *where)
    assert again.returncode == 2 and "--force replaces it" in again.stderr
    assert client("provision", paper, *where, "--force").returncode == 0

    folder = tmp_path / "updates"
    folder.mkdir()
    done = client("updates", folder, *where)
    assert (done.returncode, done.stderr) == (0, ""), done
    file = folder / f"{THIS}.update"
    assert done.stdout.splitlines()[1] == f"update for {THIS}: 32 bytes in {file}, confirmed"
    assert file.stat().st_mode & 0o777 == 0o600 and len(file.read_bytes()) == 32
    assert client("updates", folder, *where).stdout.splitlines()[1:] == ["there is no update to take"]
    shown = server.ok("show", "update", ACCOUNT).splitlines()
    assert shown[0].split() == ["MONTH", "CREATED", "LISTED", "OFFERED", "CONFIRMED"]
    assert shown[1].split()[-3:] == ["2", "2", "1"]

    first = file.read_bytes()
    server.ok("apply", cms.issue())
    server.ok("apply", cms.issue("--month", str(THIS.next)))
    done = client("updates", folder, *where)
    assert [line.split(":")[0] for line in done.stdout.splitlines()[1:]] == [
        f"update for {THIS}",
        f"update for {THIS.next}",
    ]
    assert file.read_bytes() != first, "a later update of a month replaces the one before"
    done = client("send", "+4601", "hello", *where)
    assert "encrypted end to end" in done.stdout, "the secret of the provisioning is used"

    cms.list_clients("+4602")
    server.ok("apply", cms.issue())
    done = client("updates", folder, *where)
    assert done.returncode == 1 and "was listed and is not any more" in done.stderr


def test_an_update_that_cannot_be_kept_is_not_confirmed(server: CrsServer, cms: Cms, tmp_path: Path) -> None:
    cms.list_clients("+4601")
    server.ok("apply", cms.issue())
    paper, folder = tmp_path / "anna.crs", tmp_path / "updates"
    cms("provision", "+4601", "--output", str(paper))
    (folder / f"{THIS}.update" / "in the way").mkdir(parents=True)
    done = client("updates", folder, "--provisioning", paper)
    assert "not taken: " in done.stdout and "confirmed" not in done.stdout
    assert server.ok("show", "update", ACCOUNT).splitlines()[1].split()[-1] == "0"
