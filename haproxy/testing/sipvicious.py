"""sipvicious (Debian's package), the scanner that every SIP server in the internet meets."""

from __future__ import annotations

import subprocess
from pathlib import Path


def attack(folder: Path, tool: str, *arguments: str) -> str:
    """Run `svmap`, `svwar` or `svcrack` to its end, and give what it prints. `folder` is for its files."""
    found = subprocess.run(
        [tool, *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        cwd=folder,
        env={"HOME": str(folder), "PATH": "/usr/bin:/bin"},
        check=False,
    )
    assert "Traceback" not in found.stderr, found.stderr
    return found.stdout + found.stderr
