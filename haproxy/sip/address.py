"""Name-addr headers: From, To, Contact, Route, Record-Route, Path (RFC 3261 §20.10, §25.1)."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

from haproxy.sip import header, uri
from haproxy.sip.cache import kept
from haproxy.sip.uri import Uri

_NAMED: Final = re.compile(
    rb'\s*+(?:"([^"\\]*+(?:\\.[^"\\]*+)*)"\s*+|([^"<>]*+))<\s*+([^<>\s"]++)\s*+>(.*)', re.DOTALL
)
_BARE: Final = re.compile(rb"\s*+([^\s<>\";?,]++)((?:\s*+;.*)?)", re.DOTALL)


class AddressError(ValueError):
    """Not an address of a SIP header; the text says what is wrong with it."""


class NameAddr:
    """`"display" <uri>;params`, or the same without brackets, whose parameters are the header's (§20).

    Never changed once it is made: parsed ones are shared.
    """

    __slots__ = ("display", "raw_params", "uri")

    def __init__(self, uri: bytes, raw_params: bytes = b"", display: bytes = b"") -> None:
        self.uri = uri
        """As written, without brackets."""
        self.raw_params = raw_params
        """`;name=value...` as written."""
        self.display = display
        """The display name without quotes."""

    @property
    def params(self) -> dict[bytes, bytes | None]:
        """Header parameters: names in lower case, values as written, None for flags."""
        return header.parameters(self.raw_params) or {}

    def param(self, name: bytes) -> bytes | None:
        """A parameter's value by its lower-case name; b"" for a flag, None where absent."""
        if name not in self.raw_params.lower():
            return None
        params = self.params
        return None if name not in params else params[name] or b""

    @property
    def tag(self) -> bytes | None:
        """The dialog tag; None where there is none."""
        return self.param(b"tag")

    @property
    def target(self) -> Uri:
        """The URI in parts. Raises `uri.UriError`."""
        return uri.parse(self.uri)

    def __bytes__(self) -> bytes:
        display = header.quote(self.display) + b" " if self.display else b""
        return display + b"<" + self.uri + b">" + self.raw_params


def parse(value: bytes) -> NameAddr:
    """Parse one value. Raises AddressError.

    Lenient where a sender's meaning is plain: blanks inside the brackets (RFC 4475 badaspec) and
    unquoted display names with punctuation (baddn) are accepted. Short ones are cached: the To and the
    Contact of a REGISTER are looked at by several, and come again with the next one.
    """
    return _cached[value]


def _parse(value: bytes) -> NameAddr:
    match = _NAMED.fullmatch(value)
    if match is not None:
        quoted, plain, target, params = match.groups()
        display = header.unquote(b'"' + quoted + b'"') if quoted is not None else plain.strip()
        return _checked(target, params, display)
    bare = _BARE.fullmatch(value)
    if bare is None:
        raise AddressError("malformed address")
    return _checked(bare[1], bare[2], b"")


_cached: Final = kept("addresses", _parse)


def _checked(target: bytes, params: bytes, display: bytes) -> NameAddr:
    if b":" not in target:
        raise AddressError("address without a URI scheme")
    if params and header.parameters(params) is None:
        raise AddressError("malformed parameters after the address")
    return NameAddr(target, params.strip(), display)


def parse_list(values: Iterable[bytes]) -> list[NameAddr]:
    """Parse the comma-separated values of all lines of a header, in order. Raises AddressError.

    A Contact of `*` is not an address: compare the value before.
    """
    return [parse(part) for value in values for part in header.split(value)]
