"""Digest credentials as nearly everybody writes them (RFC 7616 section 3.4).

They are read by what stands around their quotes, which is the same for many and looked at once. What needs a
closer look is left to `rtlib.digest`.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache
from operator import itemgetter
from typing import Any, Final, TypeAlias

COUNT: Final = re.compile(r"[0-9A-Fa-f]{8}")
"""A nonce count."""

Fields: TypeAlias = tuple[str, str, str, str, str, str, str | None, int, str, str | None]
"""Those of `rtlib.digest.Credentials`."""

_REQUIRED: Final = ("username", "realm", "nonce", "uri", "response")
_Form: TypeAlias = tuple[list[Any], Callable[[list[Any]], Fields]]
"""What to add to the parts between quotes, and how to pick then the fields from all of them."""


def fields(value: bytes) -> Fields | None:
    """The fields of credentials; None where they need a closer look, are malformed, or of another scheme."""
    if len(value) > _LONGEST or not value.isascii() or b"\\" in value:
        return None
    parts: list[Any] = value.decode().split('"')
    known = _form(tuple(parts[::2]))
    if known is None or len(parts) % 2 == 0:
        return None
    rest, pick = known
    parts += rest
    return pick(parts)


def _read_form(around: tuple[str, ...]) -> _Form | None:
    """How to read credentials of which this is left without the values in quotes."""
    scheme, _, first = around[0].lstrip(" ").partition(" ")
    return _read_parts((first, *around[1:])) if scheme.lower() == "digest" else None


def _read_parts(around: tuple[str, ...]) -> _Form | None:
    places: dict[str, int] = {}
    rest: list[Any] = [None, "MD5", "", 0]
    size = 2 * len(around) - 1
    absent, md5, empty, zero = range(size, size + len(rest))
    for position, between in enumerate(around):
        items = [item.strip(" ") for item in between.split(",")]
        # What follows a value in quotes begins with a comma; what is before one ends with its name.
        if position and items.pop(0):
            return None
        last = position + 1 == len(around)
        name, equals, nothing = ("" if last or not items else items.pop()).partition("=")
        for item in items:
            plain, _, value = item.partition("=")
            plain, value = plain.rstrip(" ").lower(), value.lstrip(" ")
            if plain in places or not plain.isalpha() or not value or " " in value or not value.isprintable():
                return None
            places[plain] = size + len(rest)
            rest.append(value.lower() if plain == "qop" else value)
        if not last:
            name = name.rstrip(" ").lower()
            if name in places or not name.isalpha() or not equals or nothing or name == "qop":
                return None
            places[name] = 2 * position + 1
    if not all(name in places for name in _REQUIRED):
        return None
    count = zero
    if "qop" in places:
        count = places.get("nc", absent)
        if count < size or not COUNT.fullmatch(rest[count - size] or ""):
            return None
        rest[count - size] = int(rest[count - size], 16)
    named = [places[name] for name in _REQUIRED]
    algorithm, qop = places.get("algorithm", md5), places.get("qop", absent)
    cnonce, opaque = places.get("cnonce", empty), places.get("opaque", absent)
    return rest, itemgetter(*named, algorithm, qop, count, cnonce, opaque)


_LONGEST: Final = 1024
_form: Final = lru_cache(1024)(_read_form)
