"""The Grafana dashboard of genproxy asks for metrics that the proxy has."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
BOARD = json.loads((ROOT / "etc" / "grafana" / "genproxy.json").read_text())


def measured(path: Path) -> Iterator[str]:
    """The names under which Prometheus sees what a module declares."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.args:
            first, kind = node.args[0], node.func.attr
            if (
                kind in {"gauge", "counter"}
                and isinstance(first, ast.Constant)
                and isinstance(first.value, str)
            ):
                yield f"genproxy_{first.value}" + ("_total" if kind == "counter" else "")


def declared() -> set[str]:
    """All that the proxy declares, and what both daemons do."""
    modules = [*(ROOT / "haproxy").rglob("*.py"), *(ROOT / "rtlib").glob("*.py")]
    return {name for module in modules for name in measured(module)}


def shown() -> set[str]:
    """What the panels, and the variables above them, ask for."""
    queries = [target["expr"] for panel in BOARD["panels"] for target in panel["targets"]]
    queries += [each["query"] for each in BOARD["templating"]["list"] if each["type"] == "query"]
    return {name for query in queries for name in re.findall(r"genproxy_\w+", query)}


def test_every_metric_that_a_panel_shows_exists() -> None:
    assert len(shown()) > 50
    assert shown() - declared() == set()


def test_every_metric_has_a_panel() -> None:
    """A metric that nobody looks at is either missing there or of no use."""
    assert declared() - shown() == {"genproxy_build_info"}


def test_a_counter_is_shown_as_a_rate_and_a_gauge_as_it_is() -> None:
    for panel in BOARD["panels"]:
        for target in panel["targets"]:
            counter = "_total" in target["expr"]
            assert counter == bool(re.search(r"\b(rate|increase)\(", target["expr"])), panel["title"]


def test_seconds_and_numbers_share_no_panel() -> None:
    for panel in BOARD["panels"]:
        seconds = {"_seconds{" in target["expr"] for target in panel["targets"]}
        assert seconds == {panel["fieldConfig"]["defaults"]["unit"] == "s"}, panel["title"]


def test_panels_do_not_overlap() -> None:
    places = [tuple(panel["gridPos"][key] for key in "xy") for panel in BOARD["panels"]]
    assert len(set(places)) == len(places)
    assert len({panel["id"] for panel in BOARD["panels"]}) == len(places)
