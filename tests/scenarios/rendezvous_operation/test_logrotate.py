"""logrotate moves the logs away while the server writes, and no line is lost."""

import re
import subprocess
from pathlib import Path
from time import time
from typing import Any

import pytest

from crs.client.testing import ACCOUNT, CrsServer
from rtlib.command.client import Client
from rtlib.testing.daemon import ROOT

ACTS = 60


@pytest.mark.peer("logrotate")
def test_no_line_is_lost(tmp_path: Path) -> None:
    text = (ROOT / "etc" / "logrotate.d" / "crs").read_text()
    home = tmp_path / "crs"
    assert "/var/log/crs/*.log {" in text
    # The test has neither the place nor the user of an installation.
    text = text.replace("/var/log/crs/", f"{home}/log/").replace("    su crsuser crsuser\n", "")
    configuration = tmp_path / "logrotate.conf"
    configuration.write_text(text)
    configuration.chmod(0o600)
    command = ["logrotate", "--force", "--state", str(tmp_path / "state"), str(configuration)]
    with CrsServer(home) as server:
        client = Client("crs", home / "run" / "crs.sock")
        for number in range(ACTS):
            call(client, "blacklist add", uri=f"+{number:04}")
            if number % 20 == 10:
                done = subprocess.run(command, capture_output=True, text=True, check=False)
                assert (done.returncode, done.stdout + done.stderr) == (0, "")
                write_until_reopened(client, home / "log" / "crs.log", int(time()))
        call(client, "show blacklist")
        server.daemon.wait_for_text("show blacklist")
    logs = written(home / "log", "crs.log")
    assert len(logs) == 4, "three rotations, and the log of now"
    assert sum(log.count("blacklist add") for log in logs) == ACTS
    audited = re.findall(r'uri="(\+\d+)"', "".join(written(home / "log", "audit.log")))
    assert sorted(audited) == [f"+{number:04}" for number in range(ACTS)]


def call(client: Client, name: str, **arguments: Any) -> Any:
    return client.call(name, {"account_id": ACCOUNT, **arguments})


def written(folder: Path, name: str) -> list[str]:
    """The texts of a log, those that were moved away and compressed included."""
    return [
        subprocess.run(["zcat", "-f", str(path)], capture_output=True, text=True, check=True).stdout
        for path in sorted(folder.glob(f"{name}*"))
    ]


def write_until_reopened(client: Client, log: Path, second: int) -> None:
    """The server looks once a second; and two rotations in one second would have one name."""
    while not log.exists() or int(time()) == second:
        call(client, "show blacklist")
