"""Prometheus can read a server's metrics, and the Grafana dashboard shows them."""

import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from urllib.request import urlopen

import pytest

from crs.client.testing import CrsServer
from rtlib.testing.daemon import ROOT

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
