"""crs_relay.log has the events of the manual's 6.2, also where the relay is a part of the server."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from twisted.internet.threads import deferToThread

from crs.client.testing import CrsServer
from rtlib.testing.loop import installed_reactor, run

LINE = re.compile(r"\[\S+Z \| (?:INFO|INIT) \| crs_relay\((\d+)\)\] (.*)")


def test_start_connection_commands_close_and_stop(tmp_path: Path) -> None:
    reactor: Any = installed_reactor()

    async def story() -> None:
        alice, _ = await server.attached(reactor, "+1")
        bob, told = await server.attached(reactor, "+2")
        call = await alice.call("+2")
        await told.calls.get()
        await deferToThread(server.ok, "show", "relays")
        await call.hangup()
        await alice.close()
        await bob.close()

    with CrsServer(tmp_path / "crs") as server:
        run(story, timeout=60)
        server.daemon.stop()
        found = [
            LINE.fullmatch(line) for line in (server.home / "log" / "crs_relay.log").read_text().splitlines()
        ]
        events = [match[2] for match in found if match is not None]
        assert len(events) == len(found)
        assert {match[1] for match in found if match is not None} == {str(server.daemon.pid)}
        heartbeats = events.count("Command poll")
        assert heartbeats >= 1
        events = [event for event in events if event != "Command poll"]
        assert events[:2] == [
            f"crs_relay started, a part of crs, process {server.daemon.pid}",
            "CONNECTION of crs",
        ]
        assert re.fullmatch(r"Command add: rtp, identifiers \d+, \d+", events[2])
        assert events[3:] == ["CLOSE of crs", "crs_relay stopped"]
        assert "Command" not in (server.home / "log" / "crs.log").read_text()
