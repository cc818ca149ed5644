"""The rendezvous server under load: `twistd crs` as it comes, with an account."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from bench.forwarder.load import favoured
from bench.signaling.load import Party
from bench.sip.load import Server, alone
from crs.client.testing import CrsServer

SETTINGS: Final = ("limit requests-per-address 1000000",)
"""All load comes from one address."""


@contextmanager
def crs(core: int, folder: Path) -> Iterator[Party]:
    """Run it."""
    server = CrsServer(folder, SETTINGS)
    server.daemon.command = alone(favoured(core, *server.daemon.command))
    with server:
        yield Party(Server("crs", server.daemon.pid, server.address.port), "crs", server.secret)
