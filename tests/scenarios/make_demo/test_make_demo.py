"""The demonstration, as a newcomer runs it."""

import re
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from rtlib.testing.daemon import ROOT, Daemon

PATIENCE = 200
"""Seconds. It takes 15 on a quiet machine; here it shares two cores with the rest of the suite."""


@pytest.mark.timeout(PATIENCE + 40)
def test_every_step_holds() -> None:
    # Not tmp_path: UNIX sockets are made below it, and their paths are limited to 107 bytes.
    with TemporaryDirectory(prefix="d-") as folder:
        check(Path(folder))


def check(folder: Path) -> None:
    daemon = Daemon(
        [sys.executable, "-m", "demo"],
        "steps held",
        directory=ROOT,
        environment={"TMPDIR": str(folder)},
        timeout=PATIENCE,
    )
    try:
        daemon.start()
        code = daemon.process.wait(10)
        text = daemon.output
    finally:
        daemon.process.terminate()  # killed, it would leave its servers running
        daemon.process.wait(15)
        daemon.close()
    held = re.search(r"^(\d+) of (\d+) steps held", text, re.MULTILINE)
    assert held is not None
    assert (code, held[1]) == (0, held[2]), text
    assert int(held[1]) >= 15
    assert "FAILED" not in text
    assert "Traceback" not in text
    assert max(map(len, text.splitlines())) <= 130
    assert list(folder.iterdir()) == []
