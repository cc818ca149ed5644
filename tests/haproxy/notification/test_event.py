"""What servers are told is what the document says: docs/notification.schema.json."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import msgspec
import pytest

from haproxy.notification import event
from haproxy.notification.event import Change, announce

SCHEMA = json.loads((Path(__file__).parents[3] / "docs" / "notification.schema.json").read_text())


def told(change: Change, time: float = 1_795_703_400.0625) -> dict[str, Any]:
    """A notification as it leaves, held against the schema."""
    notification = announce(change, id="0" * 32, time=time, system="genproxysa", node="node1")
    found: dict[str, Any] = json.loads(msgspec.json.encode(notification))
    jsonschema.validate(found, SCHEMA)
    return found


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (
            event.primary_changed("genproxysa", 1, 0, "set by the operator"),
            ("dispatcher", "primary", "genproxysa", "1", "0", "set by the operator"),
        ),
        (
            event.node_changed("node1", "offline", "online", "started"),
            ("node", "state", "node1", "offline", "online", "started"),
        ),
        (
            event.certificate_ends("default server", "expires in 4 days"),
            ("node", "certificate", "default server", "", "warning", "expires in 4 days"),
        ),
        (
            event.fence_changed("apc1", "inactive", "active", "node2 does not answer"),
            ("fence", "state", "apc1", "inactive", "active", "node2 does not answer"),
        ),
        (event.test("node1"), ("node", "test", "node1", "", "", "asked for by an operator")),
    ],
)
def test_each_kind(change: Change, expected: tuple[str, ...]) -> None:
    keys = ("type", "event", "subject", "previous", "current", "reason")
    assert told(change) == {
        **dict(zip(keys, expected, strict=True)),
        "id": "0" * 32,
        "time": "2026-11-26T14:30:00.062Z",
        "system": "genproxysa",
        "node": "node1",
    }


def test_a_destination_has_its_set_and_texts_are_bounded() -> None:
    change = event.destination_changed("sip:" + "x" * 5000, 0, "active", "inactive", "y" * 5000)
    found = told(change)
    assert found["set"] == 0
    assert len(found["subject"]) == len(found["reason"]) == event.LONGEST


def test_the_schema_refuses_something_else() -> None:
    with pytest.raises(jsonschema.ValidationError):
        told(Change("weather", "state", "", "", "", ""))  # type: ignore[arg-type]
