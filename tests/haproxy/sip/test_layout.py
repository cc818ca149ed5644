from __future__ import annotations

from haproxy.sip.layout import Layout, Layouts

LINES = [b"Via: a", b"Via: b", b"To: c"]


def known(lines: list[bytes], kind: bytes = b"INVITE") -> tuple[Layouts, Layout]:
    layouts = Layouts()
    layout = Layout(tuple(line.partition(b":")[0].lower() for line in lines))
    layouts.keep(kind, lines, layout)
    return layouts, layout


def test_first_places_and_edits() -> None:
    layout = Layout((b"via", b"via", b"to"))
    assert layout.index == {b"via": 0, b"to": 2}
    assert layout.prepended(b"route").index == {b"route": 0, b"via": 1, b"to": 3}
    assert layout.appended(b"server").keys == (b"via", b"via", b"to", b"server")
    assert layout.without(0).keys == (b"via", b"to")
    lines = [b"1", b"2", b"3"]
    for key, picked in ((b"via", [b"1", b"2"]), (b"to", [b"3"]), (b"cseq", [])):
        assert list(layout.chosen(frozenset([key]))[0](lines)) == picked


def test_the_same_edit_leads_to_the_same_layout() -> None:
    layout = Layout((b"via", b"to"))
    assert layout.prepended(b"via") is layout.prepended(b"via")
    assert layout.without(1) is layout.without(1)


def test_lines_that_begin_alike_are_recognised() -> None:
    layouts, layout = known(LINES)
    assert layouts.find(b"INVITE", [b"Via:x", b"Via: y;z", b"To:"]) is layout


def test_whatever_differs_is_not() -> None:
    layouts, _ = known(LINES)
    assert layouts.find(b"BYE", LINES) is None
    assert layouts.find(b"INVITE", LINES[:2]) is None
    for other in (b"Tox: c", b"to: c", b" To: c", b"T"):
        assert layouts.find(b"INVITE", [*LINES[:2], other]) is None


def test_only_so_many_are_kept() -> None:
    layouts, layout = known(LINES)
    for number in range(8):
        lines = [b"X-%d: a" % number, *LINES[1:]]
        layouts.keep(b"INVITE", lines, Layout((b"x-%d" % number, b"via", b"to")))
    assert layouts.find(b"INVITE", LINES) is None
    assert layouts.find(b"INVITE", [b"X-7: a", *LINES[1:]]) is not None
    for number in range(600):
        layouts.keep(b"M%d" % number, LINES, layout)
    assert layouts.find(b"M0", LINES) is None
    assert layouts.find(b"M599", LINES) is layout


def test_a_long_header_is_not_kept() -> None:
    lines = [b"A: b"] * 49
    layouts, _ = known(lines)
    assert layouts.find(b"INVITE", lines) is None


def test_long_names_are_not_kept() -> None:
    """Thousands of layouts are, and the sender chooses the names."""
    lines = [b"X" * 1024 + b": a"]
    layouts, _ = known(lines)
    assert layouts.find(b"INVITE", lines) is None
