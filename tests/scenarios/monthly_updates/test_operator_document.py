"""docs/running-crs.md on monthly updates and secrets: each of its commands works, in its order."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from crs.client.testing import CrsServer, run
from rtlib.testing.daemon import ROOT

DOCUMENT = (ROOT / "docs" / "running-crs.md").read_text()
SECTIONS = ("Monthly updates", "Changing an account's secret")
PROGRAMS = ("crs-cli", "crs-cms", "crs-client")


def script(section: str) -> str:
    """The commands of a section."""
    text = re.search(rf"^## {re.escape(section)}\n(.*?)(?=^## |\Z)", DOCUMENT, re.M | re.S)
    assert text is not None
    return "".join(re.findall(r"^```sh\n(.*?)^```", text[1], re.M | re.S))


@pytest.mark.skipif(
    not all((Path(sys.executable).parent / name).exists() for name in PROGRAMS),
    reason="the programs are not installed beside the interpreter",
)
def test_the_commands_work(server: CrsServer, tmp_path: Path) -> None:
    server.ok("create", "account", "EXAMPLE", "-s", "YW4gZXhhbXBsZSBzZWNyZXQ=")
    (tmp_path / "secret").write_text("YW4gZXhhbXBsZSBzZWNyZXQ=")
    for words in (
        ("create", "EXAMPLE", "--server", "192.0.2.1", "--secret-file", str(tmp_path / "secret")),
        ("issue", "-o", str(tmp_path / "EXAMPLE.upd")),
    ):
        done = run("crs.cms.cli", "-d", str(tmp_path / "theirs"), *words)
        assert done.returncode == 0, done
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    environment = os.environ | {"CRS_HOME": str(server.home), "PATH": path, "HOME": str(tmp_path)}
    for section in SECTIONS:
        commands = script(section)
        assert commands.count("crs-cli") >= 3
        ran = subprocess.run(
            ["bash", "-exc", commands],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert ran.returncode == 0, f"{ran.stdout}\n{ran.stderr}"
        assert "Traceback" not in ran.stderr
    assert "+4612345,+4667890" in server.ok("list", "team-code", "HOME-MADE")
    assert (tmp_path / "anna").read_text().startswith("crs://127.0.0.1:5223/HOME-MADE/")
