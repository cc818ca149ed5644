"""What a reload would change."""

from __future__ import annotations

from rtlib.settings import Section, setting
from rtlib.settings.change import changes
from rtlib.settings.schema import rows


class Limits(Section):
    calls: int = setting(1, "Calls.", live=True, alias="MAX_CALLS")
    port: int = setting(1, "Port.")


class Peer(Section):
    name: str = setting("", "Name.")


class File(Section):
    limits: Limits = setting(Limits, "Limits.")
    peers: list[Peer] = setting(list, "Peers.", live=True)
    name: str = setting("", "Name.")


def test_changes_are_split_by_what_they_need() -> None:
    new = File(limits=Limits(calls=2, port=3), peers=[Peer(name="x")], name="n")
    assert changes(File(), new) == (["limits.MAX_CALLS", "peers"], ["limits.port", "name"])


def test_equal_settings_have_no_changes() -> None:
    assert changes(File(), File()) == ([], [])


class Entry(Section):
    name: str = setting("", "Its name.")


class Lists(Section):
    applied: list[Entry] = setting(list, "A reload takes these.", live=True)
    fixed: list[Entry] = setting(list, "And not these.")


def test_documents_say_what_a_reload_does_to_a_list_as_a_whole() -> None:
    assert {row.path: row.live for row in rows(Lists)} == {
        ("applied[]", "name"): True,
        ("fixed[]", "name"): False,
    }
