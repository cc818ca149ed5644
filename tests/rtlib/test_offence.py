from __future__ import annotations

from rtlib.offence import LINES, OffenceLog


def test_logged_once_for_each_source_and_kind_within_the_limit() -> None:
    offences = OffenceLog(limit=60, sources=10)
    assert offences.count("garbage", "192.0.2.1", 0)
    assert not offences.count("garbage", "192.0.2.1", 59.9)
    assert offences.count("too long", "192.0.2.1", 59.9)
    assert offences.count("garbage", "192.0.2.2", 59.9)
    assert offences.count("garbage", "192.0.2.1", 60)
    assert not offences.count("garbage", "192.0.2.1", 119.9)
    assert offences.totals == {"garbage": 5, "too long": 1}


def test_the_table_is_bounded_and_forgets_the_longest_silent() -> None:
    offences = OffenceLog(limit=60, sources=3)
    for source in "abc":
        assert offences.count("k", source, 0)
    assert not offences.count("k", "a", 1)  # a is now the most recent
    assert offences.count("k", "d", 2)  # forgets b
    assert not offences.count("k", "a", 3)
    assert offences.count("k", "b", 3)
    assert len(offences._logged) == 3
    assert offences.totals["k"] == 7


def test_many_sources_at_a_time_get_a_few_lines_of_each_kind() -> None:
    offences = OffenceLog(limit=60, sources=3)
    assert sum(offences.count("garbage", str(source), 10 + source / 2000) for source in range(1000)) == LINES
    assert offences.count("too long", "0", 10.5)
    assert offences.count("garbage", "999", 11)  # it has not been in the log yet
    assert offences.unlogged == 1000 - LINES
    assert offences.totals == {"garbage": 1001, "too long": 1}
