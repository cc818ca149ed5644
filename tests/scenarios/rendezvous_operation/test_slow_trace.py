"""Who reads a trace too slowly loses events and is told how many; the server and others lose nothing."""

from __future__ import annotations

import re
import signal
import socket
from functools import partial
from pathlib import Path

from crs.client.testing import CrsServer
from rtlib.testing.daemon import Daemon, wait_until

BATCH = 200
BATCHES = 20
COUNT = re.compile(r"^(\d+) events were left out: they came too fast$", re.M)


def knock(server: CrsServer) -> None:
    """Connections that are opened and closed: two events or more for each."""
    for _ in range(BATCH):
        socket.create_connection((server.address.host, server.address.port), timeout=10).close()


def has(trace: Daemon, connections: int) -> bool:
    return trace.output.count(", closed\n") >= connections


def goes_on(server: CrsServer, trace: Daemon) -> bool:
    socket.create_connection((server.address.host, server.address.port), timeout=10).close()
    return COUNT.search(trace.output) is not None


def test_a_reader_that_stands_still(tmp_path: Path) -> None:
    with CrsServer(tmp_path / "crs", ["limit handshakes-per-address 1000"]) as server:
        with server.trace("connection") as slow, server.trace("connection") as quick:
            slow.process.send_signal(signal.SIGSTOP)
            # More than the sockets between hold, and the queue behind them.
            for batch in range(BATCHES):
                knock(server)
                wait_until(partial(has, quick, BATCH * (batch + 1)), 30, "the events")
            slow.process.send_signal(signal.SIGCONT)
            # With the rows that follow.
            wait_until(partial(goes_on, server, slow), 60, "the count of lost events")
            assert COUNT.search(quick.output) is None
            seen = sum(line.startswith("event, ") for line in slow.output.splitlines())
            lost = sum(map(int, COUNT.findall(slow.output)))
            assert lost > 0 and seen > 0
        assert "Traceback" not in server.daemon.output
