"""health-check against a running server, one without a server, and one whose relay is dead."""

import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from crs.client.testing import ACCOUNT, CrsServer, run


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CrsServer]:
    with CrsServer(tmp_path_factory.mktemp("crs")) as running:
        yield running


def test_a_healthy_account(server: CrsServer) -> None:
    """A real call and a real message; twice, and the test clients are listed nowhere."""
    for options in ((), ("--local-only",)):
        done = server.cli("health-check", "account", ACCOUNT, *options)
        assert (done.returncode, done.stderr) == (0, ""), done
        health = json.loads(done.stdout)
        assert health["summary"] == "ok"
        assert {test["name"]: test["result"] for test in health["tests"]} == dict.fromkeys(
            ("attach", "message", "call", "update files"), "ok"
        )
        call = next(test for test in health["tests"] if test["name"] == "call")
        packets = int("".join(filter(str.isdigit, call["description"])))
        assert packets > 50, "one second of 50 packets in each direction, less the start"
    for element in ("attach", "session", "message"):
        assert len(server.cli("show", element).stdout.splitlines()) == 1
    assert "Traceback" not in server.daemon.output
    assert '"health-check account" account_id="demo"' in (server.home / "log" / "audit.log").read_text()


def test_its_other_forms(server: CrsServer) -> None:
    done = server.cli("health-check", "account", ACCOUNT, "--output-format", "tsv")
    assert (done.returncode, done.stderr) == (0, "")
    rows = [line.split("\t") for line in done.stdout.splitlines()]
    assert [row[:2] for row in rows] == [
        [name, "ok"] for name in ("attach", "message", "call", "update files")
    ]
    done = server.cli("health-check", "system", "--output-format", "summary")
    assert (done.returncode, done.stdout, done.stderr) == (0, "ok\n", "")


def test_a_warning_has_exit_code_3(server: CrsServer) -> None:
    script = server.home / "scripts" / "notify.sh"
    script.chmod(0o644)
    try:
        done = server.cli("health-check", "system")
    finally:
        script.chmod(0o755)
    assert done.returncode == 3
    health = json.loads(done.stdout)
    assert health["summary"] == "warning"
    [found] = [test for test in health["tests"] if test["result"] == "warning"]
    assert (found["name"], str(script) in found["description"]) == ("notification script", True)


def test_a_server_that_hangs_is_an_error(server: CrsServer) -> None:
    pid = server.daemon.process.pid
    os.kill(pid, signal.SIGSTOP)
    try:
        done = server.cli("health-check", "account", ACCOUNT)
    finally:
        os.kill(pid, signal.SIGCONT)
    assert done.returncode == 1
    health = json.loads(done.stdout)
    assert health["summary"] == "error"
    assert [test["name"] for test in health["tests"]] == ["attach", "update files"]
    assert health["tests"][0]["result"] == "error"


@pytest.mark.parametrize(
    ("words", "code", "reason"),
    [
        (("account", "nobody"), 1, "no account nobody"),
        (("account", "no body"), 2, "a-z"),
        (("account",), 2, "ACCOUNT-ID"),
        (("system", "--output-format", "xml"), 2, "xml"),
        (("weather",), 2, "No such command"),
    ],
)
def test_failures(server: CrsServer, words: tuple[str, ...], code: int, reason: str) -> None:
    done = server.cli("health-check", *words)
    assert (done.returncode, done.stdout) == (code, ""), done
    assert reason in done.stderr
    assert "Traceback" not in done.stderr


def test_without_a_server(tmp_path: Path) -> None:
    server = CrsServer(tmp_path / "crs")
    done = run("crs.cli", "--home", str(server.home), "health-check", "system", "--output-format", "tsv")
    assert done.returncode == 1
    results = {row[0]: row[1] for row in (line.split("\t") for line in done.stdout.splitlines())}
    assert results["service crs"] == results["client port"] == "error"
    done = run("crs.cli", "--home", str(server.home), "health-check", "account", ACCOUNT)
    assert done.returncode == 1
    assert json.loads(done.stdout)["summary"] == "error"
