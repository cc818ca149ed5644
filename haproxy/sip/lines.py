"""Header lines of a message: lookup by key, edits by splicing, attributes kept in step with them.

The lines stay as they came; an edit touches only the lines it names. Headers are asked for by key
(`b"call-id"`: the long name in lower case) and written by name (`b"Call-ID"`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Final

from haproxy.sip import address, header, syntax
from haproxy.sip.address import NameAddr
from haproxy.sip.layout import Layout
from haproxy.sip.syntax import ParseError
from haproxy.sip.via import Via


class Message:
    """What requests and responses share. Change it only by its methods, `body` by `replace_body`."""

    __slots__ = (
        "_layout",
        "_lines",
        "_via",
        "body",
        "call_id",
        "cseq_method",
        "cseq_number",
        "from_tag",
        "to_tag",
    )

    _layout: Layout
    _lines: list[bytes]
    """All that is sent: start line, header lines, the empty line, body."""
    _via: Via | None
    body: bytes
    call_id: bytes
    cseq_number: int
    cseq_method: bytes
    from_tag: bytes | None
    to_tag: bytes | None

    def __init__(self, start: bytes, headers: Iterable[tuple[bytes, bytes]], body: bytes) -> None:
        headers = list(headers)
        self._layout = Layout(tuple(header.KNOWN.get(name) or name.lower() for name, _ in headers))
        self._lines = [start, *(name + b": " + value for name, value in headers), b"", body]
        self._via = None
        self.body = body
        self._derive()

    @property
    def start_line(self) -> bytes:
        """The first line, without its line end."""
        return self._lines[0]

    def line(self, key: bytes) -> bytes | None:
        """The first line with this key, as it stands; None where there is none."""
        position = self._layout.index.get(key)
        return None if position is None else self._lines[position]

    def first(self, key: bytes) -> bytes | None:
        """The value of the first line with this key, unfolded and stripped; None where there is none."""
        position = self._layout.index.get(key)
        return None if position is None else _value(self._lines[position])

    def all(self, key: bytes) -> list[bytes]:
        """The values of all header lines with this key, in order; one line of a list header is one value."""
        if key not in self._layout.index:
            return []
        lines = self._lines
        return [_value(lines[place]) for place in self._layout.places(key)]

    def chosen(self, keys: frozenset[bytes]) -> Sequence[bytes]:
        """The lines with these keys, in order, as they stand."""
        return self._layout.chosen(keys)[0](self._lines)

    def says(self, key: bytes, texts: Sequence[bytes]) -> bool:
        """Whether one of some texts is anywhere in the lines with this key."""
        for place in self._layout.places(key):
            line = self._lines[place]
            for text in texts:
                if text in line:
                    return True
        return False

    def is_alone(self, key: bytes) -> bool:
        """Whether one line at most has this key, and it is no list of several values."""
        places = self._layout.places(key)
        return not places or (len(places) == 1 and header.COMMA not in self._lines[places[0]])

    def take_line(self, key: bytes) -> None:
        """Drop the first line of a header, whatever it says."""
        layout = self._layout
        position = layout.index[key]
        del self._lines[position]
        self._layout = layout.without(position)
        if key in _DERIVED:
            self._changed(key)

    @property
    def route(self) -> bytes | None:
        """The first Route line, as it stands; None where there is none."""
        position = self._layout.route
        return self._lines[position] if position else None

    def values(self, key: bytes) -> list[bytes]:
        """The values of a list header: all lines, split at commas (RFC 3261 §7.3.1)."""
        return [part for value in self.all(key) for part in header.split(value)]

    def headers(self) -> list[tuple[bytes, bytes]]:
        """Key and value of every header line, in order."""
        return [(name, _value(line)) for name, line in zip(self._layout.keys, self._lines[1:-2], strict=True)]

    def __contains__(self, key: bytes) -> bool:
        return key in self._layout.index

    @property
    def cseq(self) -> tuple[int, bytes]:
        """Number and method of CSeq."""
        return self.cseq_number, self.cseq_method

    @property
    def top_via(self) -> Via:
        """The first Via value. Raises ParseError where there is none any more, or it is malformed."""
        if self._via is None:
            line = self.line(b"via")
            if line is None:
                raise ParseError(None, "no Via header")
            self._via = syntax.top_via(line)
        return self._via

    @property
    def branch(self) -> bytes:
        """The branch of the first Via; b"" where it has none."""
        return self.top_via.branch

    @property
    def max_forwards(self) -> int | None:
        """The hops left; None where the header is missing."""
        position = self._layout.hops
        if position == 0:
            return None
        line = self._lines[position]
        hops = syntax.USUAL_HOPS.get(line)
        return int(_value(line)) if hops is None else hops

    def take_hop(self, most: int) -> None:
        """Say that there is one hop less left; `most`, where the sender has not said how many."""
        layout, lines = self._layout, self._lines
        position = layout.hops
        if position == 0:
            lines.insert(-2, syntax.HOPS_LINES[most])
            self._layout = layout.appended(b"max-forwards")
        else:
            lines[position] = syntax.LESS_HOPS.get(lines[position]) or syntax.less_hops(lines[position])

    def push_via(self, value: bytes) -> None:
        """Put a Via on top."""
        self._lines.insert(1, b"Via: " + value)
        self._layout = self._layout.prepended(b"via")
        self._via = None

    def pop_via(self) -> None:
        """Take the first Via value off."""
        layout, lines = self._layout, self._lines
        position = layout.index[b"via"]
        if header.COMMA in lines[position]:
            self.remove_first(b"via")
        else:
            del lines[position]
            self._layout, self._via = layout.without(position), None

    @property
    def from_(self) -> NameAddr:
        """The From header."""
        return self._address(b"from")

    @property
    def to(self) -> NameAddr:
        """The To header."""
        return self._address(b"to")

    def addresses(self, key: bytes) -> list[NameAddr]:
        """Contact, Route, Record-Route or Path as addresses; a Contact of `*` is left out (see `all`).

        Raises ParseError with status 400.
        """
        try:
            return address.parse_list(value for value in self.all(key) if value != b"*")
        except address.AddressError as error:
            raise ParseError(400, f"{syntax.display(key)}: {error}", self) from None

    def _address(self, key: bytes) -> NameAddr:
        return address.parse(self.first(key) or b"")

    def prepend(self, name: bytes, value: bytes) -> None:
        """Add a header line before all others: a Via, Route or Record-Route that becomes the first one."""
        key = header.KNOWN.get(name) or name.lower()
        self._lines.insert(1, name + b": " + value)
        self._layout = self._layout.prepended(key)
        if key in _DERIVED:
            self._changed(key)

    def append(self, name: bytes, value: bytes) -> None:
        """Add a header line after all others."""
        key = header.KNOWN.get(name) or name.lower()
        self._lines.insert(-2, name + b": " + value)
        self._layout = self._layout.appended(key)
        self._changed(key)

    def set(self, name: bytes, value: bytes) -> None:
        """Replace the first line of this header in its place, drop others of the name; add it if absent."""
        key = header.KNOWN.get(name) or name.lower()
        position = self._layout.index.get(key)
        if position is None:
            self.append(name, value)
            return
        if self._layout.keys.count(key) > 1:
            self._drop(key, position + 1)
        self._lines[position] = name + b": " + value
        self._changed(key)

    def replace_first(self, name: bytes, value: bytes) -> None:
        """Replace the first *value* of an existing header; of a comma-separated list, only that value."""
        key = header.KNOWN.get(name) or name.lower()
        position = self._layout.index[key]
        rest = header.cut_first(_value(self._lines[position]))[1] if key in header.LISTS else b""
        self._lines[position] = name + b": " + (value + b", " + rest if rest else value)
        self._changed(key)

    def remove_first(self, key: bytes) -> bytes | None:
        """Take the first *value* of a header out, of a list only that value; None where there is none."""
        position = self._layout.index.get(key)
        if position is None:
            return None
        line = self._lines[position]
        value = _value(line)
        if header.COMMA in value and key in header.LISTS:
            value, rest = header.cut_first(value)
            if rest:
                self._lines[position] = line.partition(b":")[0] + b": " + rest
                self._changed(key)
                return value
        self.take_line(key)
        return value

    def remove(self, key: bytes) -> None:
        """Drop all lines of a header."""
        if key in self._layout.index:
            self._drop(key, 0)
            self._changed(key)

    def replace_body(self, body: bytes, content_type: bytes | None = None) -> None:
        """Put another body in, with its length. None keeps the Content-Type; an empty body drops it."""
        self._lines[-1] = self.body = body
        self.set(b"Content-Length", b"%d" % len(body))
        if not body:
            self.remove(b"content-type")
        elif content_type is not None:
            self.set(b"Content-Type", content_type)

    def __bytes__(self) -> bytes:
        return b"\r\n".join(self._lines)

    def __repr__(self) -> str:
        return f"<{self.start_line.decode(errors='replace')} {self.call_id.decode(errors='replace')}>"

    def _drop(self, key: bytes, start: int) -> None:
        keys = self._layout.keys
        dropped = {place for place, name in enumerate(keys, 1) if name == key and place >= start}
        self._lines = [line for place, line in enumerate(self._lines) if place not in dropped]
        self._layout = Layout(tuple(name for place, name in enumerate(keys, 1) if place not in dropped))

    def _changed(self, key: bytes) -> None:
        derive = _DERIVED.get(key)
        if derive is not None:
            derive(self)

    def _derive(self) -> None:
        """Fill in the attributes that come from headers, as far as they can be read."""
        for derive in _DERIVED.values():
            derive(self)


def _value(line: bytes) -> bytes:
    value = line.partition(b":")[2].strip()
    return value if header.LINE_FEED not in value else header.unfold(value)


def _derive_via(message: Message) -> None:
    message._via = None


def _derive_call_id(message: Message) -> None:
    message.call_id = message.first(b"call-id") or b""


def _derive_cseq(message: Message) -> None:
    message.cseq_number, message.cseq_method = syntax.CSEQS[message.line(b"cseq") or b""] or (0, b"")


def _derive_from(message: Message) -> None:
    message.from_tag = syntax.tag_or_none(syntax.FROM_TAGS, message.line(b"from") or b"")


def _derive_to(message: Message) -> None:
    message.to_tag = syntax.tag_or_none(syntax.TO_TAGS, message.line(b"to") or b"")


_DERIVED: Final[dict[bytes, Callable[[Message], None]]] = {
    b"via": _derive_via,
    b"call-id": _derive_call_id,
    b"cseq": _derive_cseq,
    b"from": _derive_from,
    b"to": _derive_to,
}
