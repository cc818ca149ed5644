"""KEY=value files: crs-relay.conf."""

from __future__ import annotations

from pathlib import Path

import pytest

from rtlib.settings import Section, SettingsError, setting
from rtlib.settings.keyvalue import parse, read


class Relay(Section):
    rtp: int | None = setting(None, "Most relays.", alias="MAX_RTP_RELAYS", ge=0)
    name: str = setting("x", "A name.", alias="NAME")


def test_values_comments_and_absence() -> None:
    relay = parse('# limits\n\nMAX_RTP_RELAYS = 10 # ten\nNAME="a b"\n', "f", Relay)
    assert (relay.rtp, relay.name) == (10, "a b")
    assert parse("", "f", Relay).rtp is None


def test_problems_have_lines() -> None:
    with pytest.raises(SettingsError) as caught:
        parse("MAX_RTP_RELAY=1\nMAX_RTP_RELAYS=-1\nhello\nNAME=a\nNAME=b\n", "r.conf", Relay)
    assert str(caught.value).splitlines() == [
        "r.conf:1: MAX_RTP_RELAY: unknown key (did you mean MAX_RTP_RELAYS?)",
        "r.conf:2: MAX_RTP_RELAYS: '-1' must be at least 0",
        "r.conf:3: 'hello' is not KEY=value",
        "r.conf:5: NAME is given twice, first in line 4",
    ]


def test_an_optional_file_may_be_missing(tmp_path: Path) -> None:
    assert read(tmp_path / "none", Relay, optional=True).name == "x"
    with pytest.raises(SettingsError, match="does not exist"):
        read(tmp_path / "none", Relay)
