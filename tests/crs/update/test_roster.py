"""Who was listed in updates that are gone."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crs.update import roster
from crs.update.error import TooLarge
from crs.update.month import Month
from crs.update.roster import Roster, parse

SEPTEMBER, OCTOBER, NOVEMBER = Month(2026, 9), Month(2026, 10), Month(2026, 11)


def test_since_which_month() -> None:
    listed = Roster().extended(["+461"], OCTOBER)
    assert [listed.listed_by("+461", month) for month in (SEPTEMBER, OCTOBER, NOVEMBER)] == [
        False,
        True,
        True,
    ]
    assert not listed.listed_by("+462", NOVEMBER)
    assert listed.extended(["+461"], SEPTEMBER).listed_by("+461", SEPTEMBER)
    assert not listed.extended(["+461"], NOVEMBER).listed_by("+461", SEPTEMBER)
    assert not listed.listed_by("+461", SEPTEMBER), "extending makes another roster"


uris = st.text(st.characters(codec="utf-8", categories=("L", "N", "P", "S")), min_size=1, max_size=20)


@given(st.dictionaries(uris, st.builds(Month, st.integers(1970, 9999), st.integers(1, 12))))
def test_lines_are_read_again(since: dict[str, Month]) -> None:
    listed = Roster(since)
    again = parse(list(listed.lines()))
    assert again == listed and len(again) == len(since)


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b"2026-09", "line 2: no valid URI"),
        (b"2026-09 ", "line 2: no valid URI"),
        (b"2026-13 +46", "line 2: '2026-13' is not a month"),
        (b"+46", "line 2: '\\+46' is not a month"),
        (b"2026-09 +46 1", "line 2: no valid URI"),
        (b"2026-09 \xff", "line 2: .* can't decode"),
        (b"", "line 2: '' is not a month"),
    ],
)
def test_a_wrong_line_is_named(line: bytes, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        parse([b"2026-09 +461\n", line + b"\n"])


def test_it_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(roster, "MAX_CLIENTS", 3)
    listed = Roster().extended(["+461", "+462", "+463"], OCTOBER)
    assert len(listed.extended(["+461"], OCTOBER)) == 3
    with pytest.raises(TooLarge, match="more than 3 different clients"):
        listed.extended(["+464"], OCTOBER)
    with pytest.raises(TooLarge, match="more than 3 lines"):
        parse([*listed.lines(), b"2026-10 +464\n"])
