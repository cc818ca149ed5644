"""The Grafana dashboard of genproxy asks for metrics that the proxy has."""

from __future__ import annotations

import ast
import json
import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
BOARD = json.loads((ROOT / "etc" / "grafana" / "genproxy.json").read_text())


def declared() -> set[str]:
    """The names under which Prometheus sees what `haproxy/measure.py` declares."""
    names = set()
    for node in ast.walk(ast.parse((ROOT / "haproxy" / "measure.py").read_text())):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.args:
            first, kind = node.args[0], node.func.attr
            if (
                kind in {"gauge", "counter"}
                and isinstance(first, ast.Constant)
                and isinstance(first.value, str)
            ):
                names.add(f"genproxy_{first.value}" + ("_total" if kind == "counter" else ""))
    return names


def test_every_metric_exists() -> None:
    asked = {
        name
        for panel in BOARD["panels"]
        for target in panel["targets"]
        for name in re.findall(r"genproxy_\w+", target["expr"])
    }
    assert len(asked) > 25
    assert asked - declared() == set()


def test_panels_do_not_overlap() -> None:
    places = [tuple(panel["gridPos"][key] for key in "xy") for panel in BOARD["panels"]]
    assert len(set(places)) == len(places)
    assert len({panel["id"] for panel in BOARD["panels"]}) == len(places)
