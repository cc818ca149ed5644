"""Whether updates are up to date."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

from crs.health.report import Verdict
from crs.health.update import check
from crs.update import content
from crs.update.archive import Archive
from crs.update.content import Head

NOW = datetime(2026, 11, 23, tzinfo=UTC)


def test_without_updates_all_is_well(tmp_path: Path) -> None:
    (tmp_path / "acc").mkdir()
    found = check(tmp_path, "acc", NOW)
    assert (found.result, "not in use" in found.description) == (Verdict.ok, True)


def test_a_damaged_update_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "acc").mkdir()
    (tmp_path / "acc" / "2026-11.applied").write_bytes(b"damaged")
    found = check(tmp_path, "acc", NOW)
    assert found.result is Verdict.error
    assert "2026-11.applied" in found.description


def test_the_current_update_or_an_expired_one(tmp_path: Path) -> None:
    (tmp_path / "acc").mkdir()
    head = Head(account="acc", month="2026-11", created=int(NOW.timestamp() * 1000))
    Archive(tmp_path).write(content.build(head, {}), "acc", NOW)
    found = check(tmp_path, "acc", NOW)
    assert found.result is Verdict.ok
    assert found.description == "the update for 2026-11 is applied, that for 2026-12 is not there yet"
    found = check(tmp_path, "acc", NOW + timedelta(days=30))
    assert found.result is Verdict.warning
    assert "no update for 2026-12" in found.description
