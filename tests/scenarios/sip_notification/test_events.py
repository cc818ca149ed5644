"""What servers are told: in order, nothing lost, and nobody harmed by one that hangs (guide 10)."""

from __future__ import annotations

import json
import re
import socket
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from haproxy.testing.genproxy import Genproxy, own_host
from haproxy.testing.stage import SUBSCRIBERS, Stage, play
from haproxy.testing.webserver import Nginx
from rtlib.testing.daemon import ROOT, wait_until

SCHEMA = json.loads((ROOT / "docs" / "notification.schema.json").read_text())
GOOD, BROKEN, LATE, SILENT = 8001, 8002, 8003, 8004
NODE = socket.gethostname()


def row(proxy: Genproxy, target: str) -> dict[str, Any]:
    """What `show notifications` says of a target."""
    rows = proxy.reply("show notifications")
    found: dict[str, Any] = next(each for each in rows if each["target"] == target)
    return found


def brief(told: dict[str, Any]) -> tuple[str, str, str, str, str]:
    """A notification without what is never the same."""
    subject = re.sub(r"[\d.]+:\d+|;.*", "", told["subject"])
    return told["type"], told["event"], subject, told["previous"], told["current"]


@pytest.mark.peer("nginx")
def test_events_in_order_while_one_server_fails_and_one_hangs(tmp_path: Path) -> None:
    host = own_host()
    flag = tmp_path / "broken"
    flag.touch()
    servers = [
        f"listen {host}:{GOOD}; location / {{ $take }}",
        f"listen {host}:{BROKEN}; location / {{ if (-f {flag}) {{ return 500; }} $take }}",
        f"listen {host}:{LATE}; location / {{ $take }}",
    ]
    tables = {"notifications": [{"notifyURL": f"{host}:{port}"} for port in (GOOD, BROKEN, SILENT)]}

    async def story(stage: Stage) -> None:
        first, _ = await stage.registered("genesis_a", "genesis_b")
        proxy.cli("dispatcher", "set", "0")
        proxy.cli("dispatcher", "set", "1")
        await stage.within(first.register(expires=0))
        (caller,) = await stage.registered("5000")
        call = await stage.within(caller.call(stage.uri("5001")))
        proxy.cli("drain")
        proxy.cli("drain", "--cancel")
        await stage.within(call.hang_up())

    # No probes: a slow machine must not add events of its own.
    quiet = {"proxy": {"enableAstFailover": False}}
    with (
        socket.create_server((host, SILENT)),
        Nginx(tmp_path / "nginx", host, servers, (GOOD, BROKEN, LATE)) as nginx,
        Genproxy(
            tmp_path / "proxy", host=host, settings=quiet, tables=tables, subscribers=SUBSCRIBERS
        ) as proxy,
    ):
        play(proxy, story)
        expected = [
            ("node", "state", NODE, "offline", "online"),
            ("dispatcher", "destination", "sip:genesis_a@", "none", "active"),
            ("dispatcher", "destination", "sip:genesis_b@", "none", "active"),
            ("dispatcher", "primary", "genproxysa", "1", "0"),
            ("dispatcher", "primary", "genproxysa", "0", "1"),
            ("dispatcher", "destination", "sip:genesis_a@", "active", "removed"),
            ("dispatcher", "primary", "genproxysa", "1", "0"),
            ("node", "state", NODE, "online", "draining"),
            ("node", "state", NODE, "draining", "online"),
        ]
        wait_until(lambda: len(nginx.told(GOOD)) == len(expected), 20)
        assert [brief(each) for each in nginx.told(GOOD)] == expected
        for each in nginx.told(GOOD):
            jsonschema.validate(each, SCHEMA)

        # One answers 500, one nothing at all: all waits for them, and nobody else waits.
        for port in (BROKEN, SILENT):
            assert row(proxy, f"{host}:{port}")["queued"] == len(expected)
        assert nginx.told(BROKEN) == []
        text = proxy.config.read_text() + f'\n[[notifications]]\nnotifyURL = "{host}:{LATE}"\n'
        proxy.config.write_text(text)
        assert "notifications" in proxy.cli("reload")
        flag.unlink()
        assert "ok" in proxy.cli("notify", "test", f"{host}:{BROKEN}")

        def arrived() -> list[dict[str, Any]]:
            return [each for each in nginx.told(BROKEN) if each["event"] != "test"]

        wait_until(lambda: len(arrived()) == len(expected), 20)
        assert arrived() == nginx.told(GOOD)
        assert row(proxy, f"{host}:{BROKEN}")["state"] == "ok"
        assert f"{host}:{BROKEN} was not notified: 500 Internal Server Error" in proxy.daemon.text
        assert f"{host}:{BROKEN} is notified again" in proxy.daemon.text

        # A stop is told, to the new server too, and does not wait for the one that hangs.
        proxy.daemon.stop(within=10)
        goodbye = ("node", "state", NODE, "online", "offline")
        for port in (GOOD, BROKEN, LATE):
            assert brief(nginx.told(port)[-1]) == goodbye
        assert len(nginx.told(LATE)) == 1
        assert "Traceback" not in proxy.daemon.text
