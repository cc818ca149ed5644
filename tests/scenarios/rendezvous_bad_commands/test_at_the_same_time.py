"""Commands that meet: each is done whole or refused in one line, and nothing of either is lost."""

from __future__ import annotations

import subprocess
import tarfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier
from typing import Any

import pytest

from crs.client.testing import ACCOUNT, CrsServer, program
from crs.cms.testing import Cms
from crs.update.archive import Archive
from rtlib.command.client import Client
from rtlib.command.error import CommandError, Unavailable
from rtlib.command.file import File
from rtlib.command.server import MAX_CONNECTIONS
from rtlib.testing.daemon import ROOT


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CrsServer]:
    with CrsServer(tmp_path_factory.mktemp("crs")) as running:
        yield running


def together(*works: Callable[[], Any]) -> list[Any]:
    """What each of these gives, or the CommandError that it raises; all begin at one moment."""
    barrier = Barrier(len(works))

    def begun(work: Callable[[], Any]) -> Any:
        barrier.wait(30)
        try:
            return work()
        except CommandError as error:
            return error

    with ThreadPoolExecutor(len(works)) as pool:
        return list(pool.map(begun, works))


def calling(server: CrsServer, name: str, /, **arguments: Any) -> Callable[[], Any]:
    client = Client("crs", server.home / "run" / "crs.sock")
    return lambda: client.call(name, arguments)


def applying(server: CrsServer, path: str) -> Callable[[], Any]:
    return lambda: calling(server, "apply", update_file=File.open(Path(path)))()


def errors(results: list[Any]) -> list[str]:
    return [str(each) for each in results if isinstance(each, CommandError)]


def test_two_that_make_the_same(server: CrsServer) -> None:
    for name, arguments, told in (
        ("create account", {"account_id": "twice"}, "account twice exists already"),
        ("create admin", {"name": "eve"}, "administrator eve exists already"),
        (
            "blacklist add",
            {"account_id": ACCOUNT, "uri": "+1"},
            f"+1 is on the blacklist of {ACCOUNT} already",
        ),
        (
            "rotate secret",
            {"account_id": ACCOUNT},
            f"the former secret of {ACCOUNT} is still valid; rotate finish ends that",
        ),
        ("delete account", {"account_id": "twice"}, "there is no account twice"),
        ("delete admin", {"name": "eve"}, "there is no administrator eve"),
    ):
        results = together(*[calling(server, name, **arguments)] * 4)
        assert errors(results) == [told] * 3, (name, results)
    assert "Traceback" not in server.daemon.output


def test_many_changes_of_one_file(server: CrsServer) -> None:
    """More than may run at once: who is refused is told so, and of the others none is lost."""
    server.ok("create", "account", "many")
    uris = [f"+{number:02}" for number in range(3 * MAX_CONNECTIONS)]
    results = together(*(calling(server, "blacklist add", account_id="many", uri=uri) for uri in uris))
    refused = [each for each in results if isinstance(each, CommandError)]
    assert all(type(each) is Unavailable for each in refused)
    done = [uri for uri, result in zip(uris, results, strict=True) if result is None]
    assert len(done) >= MAX_CONNECTIONS
    assert server.ok("show", "blacklist", "many").split() == ["URI", *done]
    assert (server.home / "accounts" / "many" / "blacklist").read_text().split() == done


def test_two_updates(server: CrsServer, tmp_path: Path) -> None:
    cms = Cms(tmp_path / "cms", server)
    cms.list_clients("+1")
    first = cms.issue("-o", str(tmp_path / "first.upd"))
    cms.list_clients("+1", "+2")
    second = cms.issue("-o", str(tmp_path / "second.upd"))
    results = together(applying(server, first), applying(server, second), applying(server, second))
    assert sum("2 clients are listed" in str(each) for each in results) == 1
    assert sum("nothing has changed" in str(each) for each in results) == 1
    assert len(errors(results)) <= 1 and all("is applied already" in each for each in errors(results))
    assert server.ok("show", "update", ACCOUNT).splitlines()[1].split()[-3] == "2"


def test_backups_while_an_update_is_applied(server: CrsServer, tmp_path: Path) -> None:
    """An archive has the update before or the one after, whole."""
    cms = Cms(tmp_path / "cms", server)
    counts = (1001, 2000)
    updates = []
    for count in counts:
        cms.list_clients(*(f"+46{number}" for number in range(count)))
        updates.append(cms.issue("-o", str(tmp_path / f"{count}.upd")))
    server.ok("apply", updates[0])

    def backup() -> subprocess.CompletedProcess[str]:
        command = program("crs.cli", "--home", str(server.home), "backup")
        return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)

    *backups, applied = together(backup, backup, backup, applying(server, updates[1]))
    assert "2000 clients are listed" in applied
    refused = [done for done in backups if done.returncode]
    for done in refused:
        assert (done.returncode, done.stdout, done.stderr.count("\n")) == (1, "", 1), done
        assert "another backup is being made" in done.stderr or "exists already" in done.stderr
    archives = [Path(done.stdout.strip()) for done in backups if not done.returncode]
    assert archives and sorted(archives) == sorted((server.home / "backup").iterdir())
    for number, path in enumerate(archives):
        place = tmp_path / f"restored{number}"
        with tarfile.open(path) as archive:
            archive.extractall(place, filter="data")
        accounts = place / str(server.home / "accounts").lstrip("/")
        [update] = Archive(accounts).read(ACCOUNT).applied.values()
        assert len(update.outline) in counts


def test_two_health_checks_of_one_account(server: CrsServer) -> None:
    def check() -> subprocess.CompletedProcess[str]:
        words = ("health-check", "account", ACCOUNT, "--output-format", "summary")
        command = program("crs.cli", "--home", str(server.home), *words)
        return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)

    results = together(check, check)
    well = [done for done in results if (done.returncode, done.stdout, done.stderr) == (0, "ok\n", "")]
    refused = [done for done in results if done not in well]
    assert well
    for done in refused:
        told = f"crs-cli: another health check of {ACCOUNT} is running\n"
        assert (done.returncode, done.stdout, done.stderr) == (1, "", told)
