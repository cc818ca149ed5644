"""`openssl s_client`, the reference of a TLS client."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Timer
from typing import IO, Final

from rtlib.address import join

PATIENCE: Final = 20.0
"""Seconds until it is killed; it ends long before, unless something is wrong."""


class SClient:
    """One connection, open until the end of the context."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        self.text = ""
        """What it has printed so far."""

    def ask(self, data: str, until: str) -> str:
        """Send something, and read until a line matches, or the connection has ended; all of its text."""
        try:
            _pipe(self._process.stdin).write(data)
            _pipe(self._process.stdin).flush()
        except BrokenPipeError:
            pass  # the server has refused us: what it printed says why
        seen = len(self.text)
        for line in _pipe(self._process.stdout):
            self.text += line
            if re.search(until, self.text[seen:]):
                break
        return self.text


@contextmanager
def s_client(host: str, port: int, *options: str | Path) -> Iterator[SClient]:
    """Connect; the handshake may still fail, which `ask` shows."""
    command = ["openssl", "s_client", "-connect", join(host, port), "-ign_eof", *map(str, options)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        timer = Timer(PATIENCE, process.kill)
        timer.start()
        try:
            yield SClient(process)
        finally:
            timer.cancel()
            process.kill()


def _pipe(pipe: IO[str] | None) -> IO[str]:
    assert pipe is not None
    return pipe
