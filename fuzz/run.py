"""Fuzzes one target in this process, until libFuzzer ends it: `python -m fuzz.run TARGET OPTIONS`."""

from __future__ import annotations

import sys

import atheris

with atheris.instrument_imports(include=["haproxy", "rtlib"]):
    from fuzz.target import TARGETS


def main() -> None:
    """Never returns: libFuzzer exits, with 0 unless it has found something."""
    name, *options = sys.argv[1:]
    atheris.Setup([sys.argv[0], *options], TARGETS[name]())
    atheris.Fuzz()


main()
