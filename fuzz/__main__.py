"""Fuzz all targets, or some, each for a time; what is found is kept and named, and the exit code is 1.

    python -m fuzz [SECONDS [TARGET...]]

The corpus grows in build/fuzz/TARGET from run to run. An input that shows a defect is written to
build/fuzz/found; put it into tests/vectors/fuzz/TARGET, where a test keeps it from coming back.
"""

from __future__ import annotations

import subprocess
import sys
from hashlib import sha1
from pathlib import Path
from typing import Final

from fuzz.seed import FOUND, ROOT, seeds
from fuzz.target import TARGETS

SECONDS: Final = 60
OUTPUT: Final = ROOT / "build" / "fuzz"
LONGEST: Final = 8192
"""Bytes of an input: what takes longer is for the tests of bad input."""

SLOW: Final = 20
"""Seconds that an input may take, instrumented and on a busy machine."""


def plant(target: str) -> Path:
    """The target's corpus, with its seeds."""
    corpus = OUTPUT / target
    corpus.mkdir(parents=True, exist_ok=True)
    for seed in seeds(target):
        (corpus / sha1(seed, usedforsecurity=False).hexdigest()).write_bytes(seed)
    return corpus


def fuzz(target: str, seconds: int) -> list[Path]:
    """Run one target; the inputs that showed a defect, none where all is well."""
    found = OUTPUT / "found"
    found.mkdir(parents=True, exist_ok=True)
    before = set(found.iterdir())
    options = [
        f"-max_total_time={seconds}",
        f"-max_len={LONGEST}",
        f"-timeout={SLOW}",
        f"-artifact_prefix={found}/{target}-",
        "-print_final_stats=1",
    ]
    command = [sys.executable, "-m", "fuzz.run", target, *options, str(plant(target))]
    done = subprocess.run(command, cwd=ROOT, check=False, capture_output=True, text=True, errors="replace")
    print(f"{target:10} {_summary(done.stderr)}", flush=True)
    if done.returncode == 0:
        return []
    print(done.stdout[-3000:] + done.stderr[-3000:], file=sys.stderr)
    return sorted(set(found.iterdir()) - before) or [found]


def _summary(text: str) -> str:
    names = ("number_of_executed_units", "new_units_added", "peak_rss_mb")
    lines = [line.removeprefix("stat::") for line in text.splitlines() if line.startswith("stat::")]
    values = dict(line.replace(" ", "").split(":", 1) for line in lines)
    return ", ".join(f"{name.replace('_', ' ')} {values.get(name, '?')}" for name in names)


def main(seconds: int, names: list[str]) -> int:
    """Fuzz; the exit code."""
    failed = False
    for name in names or list(TARGETS):
        for path in fuzz(name, seconds):
            failed = True
            print(f"DEFECT: {path.relative_to(ROOT)}; keep it as {FOUND.relative_to(ROOT)}/{name}/NAME")
    return int(failed)


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]) if len(sys.argv) > 1 else SECONDS, sys.argv[2:]))
