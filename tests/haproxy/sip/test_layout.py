from __future__ import annotations

from haproxy.sip.layout import LONGEST, Layout, Layouts

LINES = [b"Via: a", b"Via: b", b"To: c"]


def like(layouts: Layouts, kind: bytes, lines: list[bytes]) -> list[Layout]:
    """Those that a message with these header lines may have."""
    count = len([b"INVITE a SIP/2.0", *lines, b"", b"body"])
    return layouts.known[count].get(kind, []) if count < LONGEST else []


def known(lines: list[bytes], kind: bytes = b"INVITE") -> tuple[Layouts, Layout]:
    layouts = Layouts()
    layout = Layout(tuple(line.partition(b":")[0].lower() for line in lines))
    layouts.keep(kind, lines, layout)
    return layouts, layout


def test_first_places_and_edits() -> None:
    layout = Layout((b"via", b"via", b"to"))
    assert layout.index == {b"via": 1, b"to": 3}
    assert layout.prepended(b"route").index == {b"route": 1, b"via": 2, b"to": 4}
    assert layout.appended(b"server").keys == (b"via", b"via", b"to", b"server")
    assert layout.without(1).keys == (b"via", b"to")
    assert layout.without(3).keys == (b"via", b"via")
    lines = [b"start", b"1", b"2", b"3", b"", b"body"]
    for key, picked in ((b"via", [b"1", b"2"]), (b"to", [b"3"]), (b"cseq", [])):
        chosen = layout.chosen(frozenset([key]))
        assert (list(chosen[0](lines)), chosen[1].keys) == (picked, (key,) * len(picked))


def test_the_same_edit_leads_to_the_same_layout() -> None:
    layout = Layout((b"via", b"to"))
    assert layout.prepended(b"via") is layout.prepended(b"via")
    assert layout.without(1) is layout.without(1)


def test_it_is_known_how_the_lines_begin_that_nobody_checks() -> None:
    layouts, layout = known(LINES)
    assert like(layouts, b"INVITE", LINES) == [layout]
    assert layout.others == ((2, b"Via:", b"Via;"),), "but the first Via, and To"
    for line in (b"Via:x", b"Via: y;z", b"Via:"):
        assert b"Via:" <= line < b"Via;"
    for line in (b"Viax: c", b"via: c", b" Via: c", b"V", b"Via", b""):
        assert not b"Via:" <= line < b"Via;"


def test_kind_and_number_of_lines_must_be_the_same() -> None:
    layouts, _ = known(LINES)
    assert not like(layouts, b"BYE", LINES)
    assert not like(layouts, b"INVITE", LINES[:2])
    assert not like(layouts, b"INVITE", [])


def test_only_so_many_are_kept() -> None:
    layouts, layout = known(LINES)
    for number in range(8):
        lines = [b"X-%d: a" % number, *LINES[1:]]
        layouts.keep(b"INVITE", lines, Layout((b"x-%d" % number, b"via", b"to")))
    alike = like(layouts, b"INVITE", LINES)
    assert [each.keys[0] for each in alike] == [b"x-%d" % number for number in range(7, -1, -1)]
    for number in range(600):
        layouts.keep(b"M%d" % number, LINES, layout)
    assert not like(layouts, b"M0", LINES)
    assert like(layouts, b"M599", LINES) == [layout]


def test_a_long_header_is_not_kept() -> None:
    lines = [b"A: b"] * 49
    layouts, _ = known(lines)
    assert not like(layouts, b"INVITE", lines)


def test_long_names_are_not_kept() -> None:
    """Thousands of layouts are, and the sender chooses the names."""
    lines = [b"X" * 1024 + b": a"]
    layouts, _ = known(lines)
    assert not like(layouts, b"INVITE", lines)
