"""Which header lines a message has, in which order: shared by all messages that look alike.

A user agent writes the same headers in the same order again and again. So the names are sorted out once,
and the next message is only compared with what is known: its lines must have the same names. What a
proxy does to a message's lines leads from one layout to another, which is kept with the first one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from operator import itemgetter
from typing import Any, Final, TypeAlias

_KINDS: Final = 512
"""Kinds of messages whose layouts are kept, before all are forgotten."""

_EACH: Final = 8
"""Layouts that are kept of one kind."""

_LONGEST: Final = 48
"""Lines of a header whose layout is kept."""

_AROUND: Final = 3
"""Pieces of a message beside the lines of its header: start line, empty line, body."""

LONGEST: Final = _LONGEST + _AROUND + 1
"""So many pieces are one too many for a layout that is kept."""

_LONGEST_NAMES: Final = 1024
"""Bytes of all names together: they are kept, and the sender chooses them."""

NEEDED: Final = (b"via", b"from", b"to", b"call-id", b"cseq")
"""What every message has (RFC 3261 §8.1.1, §8.2.6.2)."""

CHECKED: Final = (*NEEDED, b"max-forwards", b"content-length")
"""Of which `syntax.check` reads the first line."""

Picked: TypeAlias = Sequence[bytes]
Pick: TypeAlias = Callable[[list[bytes]], Picked]
"""Takes some of a message's lines."""


class Layout:
    """The keys of header lines, in order, and where each stands first. It never changes.

    Places count from 1: before the header is the start line.
    """

    __slots__ = (
        "_appended",
        "_chosen",
        "_places",
        "_prepended",
        "_without",
        "call_id",
        "complete",
        "cseq",
        "from_",
        "hops",
        "index",
        "keys",
        "length",
        "lone",
        "others",
        "route",
        "to",
        "via",
    )

    keys: tuple[bytes, ...]
    index: dict[bytes, int]
    others: tuple[tuple[int, bytes, bytes], ...]
    complete: bool
    via: int
    from_: int
    to: int
    call_id: int
    cseq: int
    hops: int
    length: int
    route: int
    lone: bool
    _places: dict[bytes, tuple[int, ...]]
    _prepended: dict[bytes, Layout]
    _appended: dict[bytes, Layout]
    _without: dict[int, Layout]
    _chosen: dict[frozenset[bytes], tuple[Pick, Layout]]

    def __init__(self, keys: tuple[bytes, ...]) -> None:
        self.keys = keys
        self.index = dict(zip(keys[::-1], range(len(keys), 0, -1), strict=True))
        self.others = ()
        """Where the lines stand that `syntax.check` does not look at, and how they begin, as what they stand
        between in the order of bytes: what begins with `Allow:` is not before that, but before `Allow;`. To
        compare is cheaper than `startswith`.

        Only where the layout is one of those that are kept.
        """
        index = self.index
        places = [index.get(key, 0) for key in NEEDED]
        self.via, self.from_, self.to, self.call_id, self.cseq = places
        """Where the first lines with the keys of NEEDED stand."""
        self.complete = min(places) > 0
        """Each of these is there."""
        self.hops, self.length = index.get(b"max-forwards", 0), index.get(b"content-length", 0)
        """Where the first Max-Forwards and the first Content-Length stand; 0 where there is none."""
        self.route = index.get(b"route", 0)
        self.lone = keys.count(b"via") == 1 and b"proxy-require" not in index
        """One Via line and no Proxy-Require: nothing to find out before a request is forwarded."""
        self._places, self._prepended, self._appended, self._without, self._chosen = {}, {}, {}, {}, {}

    def places(self, key: bytes) -> tuple[int, ...]:
        """Where all lines with this key stand; only for keys that we ask for ourselves."""
        places = self._places.get(key)
        if places is None:
            places = tuple(place for place, each in enumerate(self.keys, 1) if each == key)
            self._places[key] = places
        return places

    def prepended(self, key: bytes) -> Layout:
        """With one more line before all others."""
        layout = self._prepended.get(key)
        if layout is None:
            layout = self._prepended[key] = Layout((key, *self.keys))
        return layout

    def appended(self, key: bytes) -> Layout:
        """With one more line after all others."""
        layout = self._appended.get(key)
        if layout is None:
            layout = self._appended[key] = Layout((*self.keys, key))
        return layout

    def without(self, position: int) -> Layout:
        """Without the line at a position."""
        layout = self._without.get(position)
        if layout is None:
            keys = self.keys
            layout = self._without[position] = Layout(keys[: position - 1] + keys[position:])
        return layout

    def chosen(self, keys: frozenset[bytes]) -> tuple[Pick, Layout]:
        """What takes the lines with these keys, in order, and the layout that they make by themselves."""
        found = self._chosen.get(keys)
        if found is None:
            places = [place for place, key in enumerate(self.keys, 1) if key in keys]
            pick = _taking(places)
            found = self._chosen[keys] = pick, Layout(tuple(key for key in self.keys if key in keys))
        return found


def _taking(places: list[int]) -> Pick:
    """What takes the lines at these places: in one go, as no loop can."""
    if not places:
        return _none
    if len(places) == 1:
        return itemgetter(slice(places[0], places[0] + 1))
    several: Any = itemgetter(*places)
    return several  # type: ignore[no-any-return]  # of bytes all the same


def _none(lines: list[bytes]) -> Picked:
    return ()


class Layouts:
    """Those that were seen of late, by kind of message (method or status) and number of lines."""

    known: list[dict[bytes | int, list[Layout]]]

    def __init__(self) -> None:
        self.known = [{} for _ in range(LONGEST)]
        """By number of the message's pieces, then by kind: to look up a pair would make one first.

        A message has one of these layouts where the others of its lines begin as the layout says, and
        `syntax.check` is content: it knows by its name each line that it looks at.
        """

    def keep(self, kind: bytes | int, lines: list[bytes], layout: Layout) -> None:
        """Know the layout of these lines from now on; each is `Name: value`, without a folding."""
        if len(lines) > _LONGEST:
            return
        starts = [line[: line.index(b":") + 1] for line in lines]
        if sum(map(len, starts)) > _LONGEST_NAMES:
            return
        checked = {layout.index[key] for key in CHECKED if key in layout.index}
        layout.others = tuple(
            (place, start, start[:-1] + b";") for place, start in enumerate(starts, 1) if place not in checked
        )
        if self.kinds >= _KINDS:
            self.forget()
        known = self.known[len(lines) + _AROUND]
        known[kind] = [layout, *known.get(kind, ())[: _EACH - 1]]

    @property
    def kinds(self) -> int:
        """How many pairs of kind and number of lines are known."""
        return sum(map(len, self.known))

    def forget(self) -> None:
        """Know nothing any more."""
        for known in self.known:
            known.clear()
