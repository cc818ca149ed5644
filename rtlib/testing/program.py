"""A command line program run in this process: what it prints and its exit code, without a new interpreter."""

from __future__ import annotations

import io
import sys
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from typing import NamedTuple


class Ended(NamedTuple):
    """How a program ended."""

    code: int
    out: str
    err: str


def ended(main: Callable[[], object], *words: str) -> Ended:
    """Run a program's `main` with the arguments `words`. One at a time: it changes this process's `sys`.

    Raises what the program lets through, which its user would see as a traceback.
    """
    out, err = io.StringIO(), io.StringIO()
    before, sys.argv = sys.argv, ["program", *words]
    try:
        with redirect_stdout(out), redirect_stderr(err):
            main()
    except SystemExit as end:
        return Ended(end.code if isinstance(end.code, int) else 1, out.getvalue(), err.getvalue())
    finally:
        sys.argv = before
    return Ended(0, out.getvalue(), err.getvalue())
