"""crs-cli as a program: what it loads, and how long that takes."""

from __future__ import annotations

import os
import subprocess
import sys
from base64 import b64decode

LIMIT = 0.25
"""Seconds of CPU."""


def test_it_loads_nothing_of_the_server() -> None:
    """Else it would start too slowly."""
    code = (
        "import sys, crs.cli\n"
        "heavy = ('twisted', 'pydantic', 'cryptography', 'crs.settings', 'crs.signaling', 'crs.relay')\n"
        "print(sorted(name for name in sys.modules if name.startswith(heavy)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_it_starts_within_a_quarter_second() -> None:
    """The least of some runs, in CPU time: others use this machine as well."""
    code = "from crs.cli import main; main()"

    def cost() -> float:
        before = os.times()
        done = subprocess.run(
            [sys.executable, "-c", code, "create", "sharedSecret"], capture_output=True, text=True, check=True
        )
        after = os.times()
        assert len(b64decode(done.stdout)) == 16
        return (after.children_user - before.children_user) + (after.children_system - before.children_system)

    assert min(cost() for _ in range(5)) < LIMIT
