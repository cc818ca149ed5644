"""The log and the metrics are where and as the operator wants them."""

from __future__ import annotations

import json
import re
import socket
from pathlib import Path
from urllib.request import urlopen

import pytest

from haproxy.testing.genproxy import METRICS_PORT, Genproxy, own_host
from haproxy.testing.sipsak import register
from haproxy.testing.stage import SUBSCRIBERS
from rtlib.testing.daemon import wait_until

TEXT = re.compile(r"\[\S+Z \| (INIT|INFO|WARN) \| \w+\(\d+\)\] .+")
MOVED = "of set 1 is active"


@pytest.mark.parametrize("form", ["text", "json"])
def test_log_file_and_format(tmp_path: Path, form: str) -> None:
    place = tmp_path / "elsewhere.log"
    settings = {"system": {"logFile": str(place), "logFormat": form}}
    with Genproxy(tmp_path / "proxy", settings=settings) as proxy:
        assert not proxy.log.exists()
        lines = place.read_text().splitlines()
        assert len(lines) > 2
        for line in lines:
            if form == "json":
                assert json.loads(line).keys() == {"time", "type", "module", "pid", "information"}
            else:
                assert TEXT.fullmatch(line)


@pytest.mark.peer("sipsak")
def test_log_level(tmp_path: Path) -> None:
    with Genproxy(tmp_path / "proxy", subscribers=SUBSCRIBERS) as proxy:
        assert " 200 " in register(proxy.host, "genesis_a")
        wait_until(lambda: MOVED in proxy.log.read_text())
        assert proxy.change("[system]\n", '[system]\nlogLevel = "warn"\n') == {"system.logLevel": "applied"}
        assert " 200 " in register(proxy.host, "genesis_a-2")
        assert "genesis_a-2" in proxy.cli("show", "bindings")
        proxy.change('"warn"', '"info"')
        assert " 200 " in register(proxy.host, "genesis_b")
        wait_until(lambda: "of set 0 is active" in proxy.log.read_text())
        assert "genesis_a-2" not in proxy.log.read_text()


def test_metrics_listen(tmp_path: Path) -> None:
    host = own_host()
    with Genproxy(tmp_path / "proxy", settings={"system": {"metricsListen": f"{host}:9200"}}) as proxy:
        with urlopen(f"http://{host}:9200/metrics", timeout=5) as page:
            assert b"genproxy_bindings" in page.read()
        with socket.socket() as sock:
            assert sock.connect_ex((proxy.host, METRICS_PORT)) != 0
