"""docs/crs-protocol.md is enough to write a client: `stranger.py` was written from it, and works."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from crs.client.testing import ACCOUNT, CrsServer

PROGRAM = Path(__file__).with_name("stranger.py")
STORY = [
    "attached",
    "message exchanged",
    "packets exchanged",
    "resumed",
    "ended",
    "met in a group",
    "stored",
    "refused as documented",
]


@pytest.mark.peer("openssl")
def test_a_stranger_needs_the_document_only(tmp_path: Path) -> None:
    with CrsServer(tmp_path / "crs") as server:
        place = (server.address.host, str(server.address.port))
        command = [sys.executable, str(PROGRAM), *place, ACCOUNT, server.secret.hex()]
        # Not in our folder: whatever it imports is installed, or its own.
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=100)
        assert (done.stdout.splitlines(), done.returncode) == (STORY, 0), done.stderr
