"""Months."""

from datetime import UTC, datetime, timedelta, timezone

import pytest

from crs.update.month import Month


def test_text_and_order() -> None:
    assert str(Month.parse("2026-09")) == "2026-09"
    assert Month.parse("2026-12") < Month.parse("2027-01") == Month.parse("2026-12").next
    assert Month.parse("2026-09").next == Month(2026, 10)


def test_months_are_utc() -> None:
    east = timezone(timedelta(hours=2))
    assert Month.of(datetime(2026, 10, 1, 1, tzinfo=east)) == Month(2026, 9)
    assert Month.of(datetime(2026, 9, 30, 23, 59, tzinfo=UTC)) == Month(2026, 9)


@pytest.mark.parametrize(
    "text",
    ["", "2026", "2026-13", "2026-00", "2026-9", "26-09", "2026-09 ", "2026-09\n", "1969-12", "²026-09"],
)
def test_others_are_no_months(text: str) -> None:
    with pytest.raises(ValueError, match="is not a month like 2026-09"):
        Month.parse(text)
