"""Header lines of a message: lookup by key, edits by splicing, attributes kept in step with them.

The lines stay as they came; an edit touches only the lines it names. Headers are asked for by key
(`b"call-id"`: the long name in lower case) and written by name (`b"Call-ID"`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import ClassVar, Final

from haproxy.sip import address, header, syntax
from haproxy.sip.address import NameAddr
from haproxy.sip.syntax import ParseError
from haproxy.sip.via import Via


class Message:
    """What requests and responses share. Change it only by its methods, `body` by `replace_body`."""

    __slots__ = (
        "_first",
        "_lines",
        "_names",
        "_via",
        "body",
        "call_id",
        "cseq_method",
        "cseq_number",
        "from_tag",
        "to_tag",
    )

    # Compiled classes let only these be deleted.
    __deletable__: ClassVar[tuple[str, ...]] = ("_first", "_lines", "_names")

    _names: list[bytes]
    _lines: list[bytes]
    _first: dict[bytes, bytes]
    _via: Via | None
    body: bytes
    call_id: bytes
    cseq_number: int
    cseq_method: bytes
    from_tag: bytes | None
    to_tag: bytes | None

    def __init__(self, headers: Iterable[tuple[bytes, bytes]] = (), body: bytes = b"") -> None:
        self._names, self._lines, self._first, self._via = [], [], {}, None
        self.body = body
        for name, value in headers:
            self._add(name, value)
        self._derive()

    @property
    def start_line(self) -> bytes:
        """The first line, without its line end."""
        raise NotImplementedError

    def first(self, key: bytes) -> bytes | None:
        """The value of the first line with this key, unfolded and stripped; None where there is none."""
        line = self._first.get(key)
        return None if line is None else _value(line)

    def all(self, key: bytes) -> list[bytes]:
        """The values of all header lines with this key, in order; one line of a list header is one value."""
        line = self._first.get(key)
        if line is None:
            return []
        if self._names.count(key) == 1:
            return [_value(line)]
        return [_value(line) for name, line in zip(self._names, self._lines, strict=True) if name == key]

    def values(self, key: bytes) -> list[bytes]:
        """The values of a list header: all lines, split at commas (RFC 3261 §7.3.1)."""
        return [part for value in self.all(key) for part in header.split(value)]

    def headers(self) -> list[tuple[bytes, bytes]]:
        """Key and value of every header line, in order."""
        return [(name, _value(line)) for name, line in zip(self._names, self._lines, strict=True)]

    def __contains__(self, key: bytes) -> bool:
        return key in self._first

    @property
    def cseq(self) -> tuple[int, bytes]:
        """Number and method of CSeq."""
        return self.cseq_number, self.cseq_method

    @property
    def top_via(self) -> Via:
        """The first Via value. Raises ParseError where there is none any more, or it is malformed."""
        if self._via is None:
            line = self._first.get(b"via")
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
        line = self._first.get(b"max-forwards")
        if line is None:
            return None
        hops = syntax.USUAL_HOPS.get(line)
        return int(_value(line)) if hops is None else hops

    def set_max_forwards(self, hops: int) -> None:
        """Say how many hops are left, 0 to 255."""
        line = syntax.HOPS_LINES[hops]
        if b"max-forwards" in self._first:
            self._lines[self._names.index(b"max-forwards")] = line
        else:
            self._names.append(b"max-forwards")
            self._lines.append(line)
        self._first[b"max-forwards"] = line

    def push_via(self, value: bytes) -> None:
        """Put a Via on top."""
        line = b"Via: " + value
        self._names.insert(0, b"via")
        self._lines.insert(0, line)
        self._first[b"via"] = line
        self._via = None

    def pop_via(self) -> None:
        """Take the first Via value off."""
        names = self._names
        if b"," in self._first[b"via"]:
            self.remove_first(b"via")
            return
        index = names.index(b"via")
        del names[index], self._lines[index]
        self._via = None
        if b"via" in names:
            self._first[b"via"] = self._lines[names.index(b"via", index)]
        else:
            del self._first[b"via"]

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
        line = name + b": " + value
        self._names.insert(0, key)
        self._lines.insert(0, line)
        self._first[key] = line
        if key in _DERIVED:
            _DERIVED[key](self)

    def append(self, name: bytes, value: bytes) -> None:
        """Add a header line after all others."""
        self._add(name, value)

    def set(self, name: bytes, value: bytes) -> None:
        """Replace the first line of this header in its place, drop others of the name; add it if absent."""
        key = header.KNOWN.get(name) or name.lower()
        names = self._names
        if key not in self._first:
            self._add(name, value)
            return
        index = names.index(key)
        if names.count(key) > 1:
            self._drop(key, index + 1)
        self._lines[index] = self._first[key] = name + b": " + value
        if key in _DERIVED:
            _DERIVED[key](self)

    def replace_first(self, name: bytes, value: bytes) -> None:
        """Replace the first *value* of an existing header; of a comma-separated list, only that value."""
        key = header.KNOWN.get(name) or name.lower()
        rest = header.cut_first(_value(self._first[key]))[1] if key in header.LISTS else b""
        value = value + b", " + rest if rest else value
        self._lines[self._names.index(key)] = self._first[key] = name + b": " + value
        self._changed(key)

    def remove_first(self, key: bytes) -> bytes | None:
        """Take the first *value* of a header out, of a list only that value; None where there is none."""
        line = self._first.get(key)
        if line is None:
            return None
        value = _value(line)
        names = self._names
        index = names.index(key)
        if b"," in value and key in header.LISTS:
            value, rest = header.cut_first(value)
            if rest:
                self._lines[index] = self._first[key] = line.partition(b":")[0] + b": " + rest
                self._changed(key)
                return value
        del names[index], self._lines[index]
        if key in names:
            self._first[key] = self._lines[names.index(key, index)]
        else:
            del self._first[key]
        if key in _DERIVED:
            _DERIVED[key](self)
        return value

    def remove(self, key: bytes) -> None:
        """Drop all lines of a header."""
        if key in self._first:
            self._drop(key, 0)
            del self._first[key]
            self._changed(key)

    def replace_body(self, body: bytes, content_type: bytes | None = None) -> None:
        """Put another body in, with its length. None keeps the Content-Type; an empty body drops it."""
        self.body = body
        self.set(b"Content-Length", b"%d" % len(body))
        if not body:
            self.remove(b"content-type")
        elif content_type is not None:
            self.set(b"Content-Type", content_type)

    def _copy_to(self, twin: Message) -> None:
        twin._names, twin._lines = self._names.copy(), self._lines.copy()
        twin._first, twin._via, twin.body = self._first.copy(), self._via, self.body
        twin.call_id, twin.cseq_number, twin.cseq_method = self.call_id, self.cseq_number, self.cseq_method
        twin.from_tag, twin.to_tag = self.from_tag, self.to_tag

    def shed(self) -> None:
        """Let header lines and body go for good. The attributes stay: tags, Call-ID, CSeq, start line.

        To look at its lines or to edit them after that is a defect, and raises AttributeError.
        """
        if hasattr(self, "_lines"):
            del self._names, self._lines, self._first
        self._via, self.body = None, b""

    def __bytes__(self) -> bytes:
        return b"\r\n".join([self.start_line, *self._lines, b"", self.body])

    def __repr__(self) -> str:
        return f"<{self.start_line.decode(errors='replace')} {self.call_id.decode(errors='replace')}>"

    def _add(self, name: bytes, value: bytes) -> None:
        key = header.KNOWN.get(name) or name.lower()
        line = name + b": " + value
        self._names.append(key)
        self._lines.append(line)
        if key not in self._first:
            self._first[key] = line
            self._changed(key)

    def _drop(self, key: bytes, start: int) -> None:
        kept = [index for index, name in enumerate(self._names) if name != key or index < start]
        self._lines = [self._lines[index] for index in kept]
        self._names = [self._names[index] for index in kept]

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
    return value if b"\n" not in value else header.unfold(value)


def _derive_via(message: Message) -> None:
    message._via = None


def _derive_call_id(message: Message) -> None:
    message.call_id = message.first(b"call-id") or b""


def _derive_cseq(message: Message) -> None:
    message.cseq_number, message.cseq_method = syntax.cseq(message._first.get(b"cseq", b"")) or (0, b"")


def _derive_from(message: Message) -> None:
    message.from_tag = syntax.tag_or_none(message._first.get(b"from", b""))


def _derive_to(message: Message) -> None:
    message.to_tag = syntax.tag_or_none(message._first.get(b"to", b""))


_DERIVED: Final[dict[bytes, Callable[[Message], None]]] = {
    b"via": _derive_via,
    b"call-id": _derive_call_id,
    b"cseq": _derive_cseq,
    b"from": _derive_from,
    b"to": _derive_to,
}
