"""Prometheus can read a server's metrics, and the Grafana dashboard shows them."""

import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from urllib.request import urlopen

import pytest

from crs.client.testing import CrsServer, program
from rtlib.testing.daemon import ROOT, Daemon, wait_until

DASHBOARD = ROOT / "etc" / "grafana" / "crs.json"
METRIC = re.compile(r"\b(?:crs|process)_[a-z_]+\b")


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The metrics of a running server."""
    with (
        CrsServer(tmp_path_factory.mktemp("crs")) as server,
        urlopen(f"http://127.0.0.1:{server.metrics_port}/metrics") as reply,
    ):
        yield reply.read().decode()


@pytest.mark.peer("promtool")
def test_prometheus_finds_nothing_wrong(page: str) -> None:
    done = subprocess.run(
        ["promtool", "check", "metrics"], input=page, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


def test_the_dashboard_shows_metrics_that_exist(page: str) -> None:
    board = json.loads(DASHBOARD.read_text())
    queries = [target["expr"] for panel in board["panels"] for target in panel["targets"]]
    queries += [each["query"]["query"] for each in board["templating"]["list"] if each["type"] == "query"]
    shown = {name for query in queries for name in METRIC.findall(query)}
    there = set(re.findall(r"^# TYPE (\S+) ", page, re.MULTILINE))
    assert len(shown) > 15
    assert shown <= there, f"no such metric: {sorted(shown - there)}"


def test_the_dashboard_shows_every_metric_of_ours(page: str) -> None:
    """A metric that nobody looks at is either missing there or of no use."""
    board = DASHBOARD.read_text()
    ours = set(re.findall(r"^# TYPE (crs_\S+) ", page, re.MULTILINE))
    missing = {name for name in ours if name not in board}
    assert missing == set(), "a new metric needs a panel in etc/grafana/crs.json"


def test_panels_do_not_overlap() -> None:
    places = [tuple(panel["gridPos"].values()) for panel in json.loads(DASHBOARD.read_text())["panels"]]
    assert len({place[:2] for place in places}) == len(places)
    assert Path(DASHBOARD).stat().st_size < 100_000


def test_what_operators_do_is_measured(tmp_path: Path) -> None:
    with CrsServer(tmp_path / "crs") as server:
        server.ok("create", "account", "blue")
        server.cli("create", "account", "blue")
        server.ok("blacklist", "add", "blue", "+1")
        server.ok("rotate", "secret", "blue")
        metrics = server.metrics()
        assert metrics["crs_accounts"] == 2
        assert metrics["crs_accounts_with_two_secrets"] == metrics["crs_blacklisted"] == 1
        assert metrics["crs_accounts_expired"] == metrics["crs_draining"] == metrics["crs_store_failed"] == 0
        for outcome in ("ok", "failed"):
            assert metrics[f'crs_commands_total{{command="create account",outcome="{outcome}"}}'] == 1
        command = program("crs.cli", "--home", str(server.home), "trace", "attach")
        with Daemon(command, lambda: server.metrics()["crs_traces"] == 1):
            pass
        wait_until(lambda: server.metrics()["crs_traces"] == 0, 10, "the end of the trace")
