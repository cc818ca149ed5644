"""docs/running-crs.md: all of its commands in their order against a live server; they print what it shows."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Final, NamedTuple

import pytest

from crs.cli import COMMANDS
from crs.client.testing import ACCOUNT, CrsServer, run
from crs.settings import load
from rtlib.command.registry import declared
from rtlib.testing.daemon import ROOT, wait_until

DOCUMENT: Final = (ROOT / "docs" / "running-crs.md").read_text()
PROGRAMS: Final = ("crs-cli", "crs-cms", "crs-client")
BESIDE: Final = Path(sys.executable).parent

needs_programs = pytest.mark.skipif(
    not all((BESIDE / name).exists() for name in PROGRAMS),
    reason="the programs are not installed beside the interpreter",
)


class Step(NamedTuple):
    """Commands, and what they print."""

    section: str
    script: str
    shown: str | None
    """None where the document shows nothing."""


def steps() -> Iterator[Step]:
    for section, text in re.findall(r"^## ([^\n]+)\n(.*?)(?=^## |\Z)", DOCUMENT, re.M | re.S):
        for script, _, shown in re.findall(r"^```sh\n(.*?)^```\n(```text\n(.*?)^```\n)?", text, re.M | re.S):
            yield Step(section, script, shown or None)


def pattern(shown: str) -> re.Pattern[str]:
    """What is shown, as wide columns as ever; `...` is anything in a line, or any lines."""
    lines = []
    for line in shown.splitlines():
        words = " ".join(line.split())
        lines.append(r"(.*\n)*" if words == "..." else re.escape(words).replace(r"\.\.\.", ".*") + r"\n")
    return re.compile("".join(lines))


class Operator:
    """Somebody at a shell of the server's machine, with the document."""

    def __init__(self, server: CrsServer, folder: Path) -> None:
        self._server = server
        self._folder = folder
        path = f"{BESIDE}:{os.environ['PATH']}"
        self._environment = os.environ | {"CRS_HOME": str(server.home), "PATH": path, "HOME": str(folder)}
        self._shells: list[int] = []

    def do(self, step: Step) -> None:
        """Run the commands of a step. Raises AssertionError."""
        output = self._run(self._here(step.script))
        assert "Traceback" not in output
        if step.shown is not None:
            told = "".join(f"{' '.join(line.split())}\n" for line in output.splitlines())
            wanted = pattern(self._here(step.shown))
            assert wanted.fullmatch(told), f"{step.section}: {step.script}{output}\nand not {step.shown}"
        if step.script.endswith("&\n"):
            self._wait_for(step.script)

    def _wait_for(self, script: str) -> None:
        """Until what was begun in a terminal of its own is there."""
        for uri in re.findall(r"--uri (\S+)", script):
            wait_until(partial(self._is_attached, uri), 30, f"{uri} is attached")
        for trace in re.findall(r"trace \w+", script):
            self._server.daemon.wait_for_text(trace)

    def _is_attached(self, uri: str) -> bool:
        return uri in self._server.ok("show", "attach")

    def leave(self) -> None:
        """End what runs in the background."""
        for group in self._shells:
            with suppress(ProcessLookupError):
                os.killpg(group, signal.SIGKILL)

    def _here(self, text: str) -> str:
        """The document's server is elsewhere."""
        text = text.replace("127.0.0.1:5223", str(self._server.address))
        return text.replace("/opt/crs", str(self._server.home)).replace(
            "/var/log/crs", f"{self._server.home}/log"
        )

    def _run(self, script: str) -> str:
        place = self._folder / f"output{len(self._shells)}"
        with place.open("wb") as output:
            shell = subprocess.Popen(
                ["bash", "-ec", script],
                cwd=self._folder,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self._shells.append(shell.pid)
        code = shell.wait(60)
        text = place.read_text()
        assert code == 0, f"{script}{text}\nexit code {code}"
        return text


def send_the_update(server: CrsServer, folder: Path) -> None:
    """What the administrator of EXAMPLE's CMS does: an update file is in the mail."""
    place = folder / "theirs.secret"
    [line] = [each for each in server.ok("list", "account").splitlines() if each.startswith("EXAMPLE ")]
    place.write_text(line.split()[-1])
    for words in (
        ("create", "EXAMPLE", "--server", str(server.address), "--secret-file", str(place)),
        ("issue", "-o", str(folder / "EXAMPLE.upd")),
    ):
        done = run("crs.cms.cli", "-d", str(folder / "theirs"), *words)
        assert done.returncode == 0, done


@needs_programs
@pytest.mark.long
@pytest.mark.timeout(300)
def test_its_commands_in_their_order(tmp_path: Path) -> None:
    folder = tmp_path / "operator"
    folder.mkdir()
    with CrsServer(tmp_path / "crs") as server:
        server.ok("delete", "account", ACCOUNT)
        operator = Operator(server, folder)
        try:
            for step in steps():
                if "apply EXAMPLE.upd" in step.script:
                    send_the_update(server, folder)
                operator.do(step)
            assert server.daemon.process.wait(20) == 0, "the last command is drain"
        finally:
            operator.leave()
        assert "Traceback" not in server.daemon.output
    assert (folder / "anna").read_text().startswith("crs://127.0.0.1:5223/HOME-MADE/")


def test_every_command_that_it_names_exists() -> None:
    names = {spec.name for spec in declared(*COMMANDS)}
    for line in re.findall(r"crs-cli ([a-zA-Z][^`\n]*)", DOCUMENT):
        words = re.match(r"[a-zA-Z -]+", line)
        assert words is not None
        assert any(f"{words[0]} ".startswith(f"{name} ") for name in names) or words[0].startswith(
            "trace "
        ), line


@pytest.mark.parametrize("section", ["Connections", "Limits", "Redis"])
def test_its_configuration_is_taken(section: str, tmp_path: Path) -> None:
    [text] = re.findall(rf"^## {section}\n(.*?)^## ", f"{DOCUMENT}\n## ", re.M | re.S)
    lines = re.findall(r"^```\n(.*?)^```", text, re.M | re.S)[0]
    (tmp_path / "crs.conf").write_text(lines)
    main = load(tmp_path).main
    assert main.model_fields_set, lines


def test_it_has_each_procedure_of_the_manual() -> None:
    scripts = "".join(step.script for step in steps())
    for command in (
        "create sharedSecret -B32",
        "create account",
        "list account",
        "delete account",
        "add iw-crs",
        "list iw-crs",
        "delete iw-crs",
        "create admin",
        "add admin-account",
        "add admin-account-authorization",
        "backup",
        "apply",
        "blacklist add",
        "blacklist remove",
        "show blacklist",
        "drain",
    ):
        assert f"crs-cli {command}" in scripts, command
