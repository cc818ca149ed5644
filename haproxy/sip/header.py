"""Header names, compact forms and parameters: RFC 3261 §7.3 and §25.1, compact forms of the IANA registry.

A header is known inside the cores by its *key*: its long name in lower case, as bytes (`b"call-id"`).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

COMPACT: Final = {
    b"a": b"accept-contact",
    b"b": b"referred-by",
    b"c": b"content-type",
    b"d": b"request-disposition",
    b"e": b"content-encoding",
    b"f": b"from",
    b"i": b"call-id",
    b"j": b"reject-contact",
    b"k": b"supported",
    b"l": b"content-length",
    b"m": b"contact",
    b"n": b"identity-info",
    b"o": b"event",
    b"r": b"refer-to",
    b"s": b"subject",
    b"t": b"to",
    b"u": b"allow-events",
    b"v": b"via",
    b"x": b"session-expires",
    b"y": b"identity",
}
"""Compact form to key."""

_USUAL: Final = (
    b"Accept Accept-Contact Accept-Encoding Accept-Language Alert-Info Allow Allow-Events "
    b"Authorization Call-ID Call-Info Contact Content-Disposition Content-Encoding Content-Language "
    b"Content-Length Content-Type CSeq Date Diversion Error-Info Event Expires From Geolocation "
    b"History-Info Identity Identity-Info In-Reply-To Join Max-Forwards MIME-Version Min-Expires Min-SE "
    b"Organization P-Access-Network-Info P-Asserted-Identity P-Preferred-Identity Path Priority "
    b"Privacy Proxy-Authenticate Proxy-Authorization Proxy-Require RAck Reason Record-Route Refer-To "
    b"Referred-By Reject-Contact Remote-Party-ID Replaces Reply-To Request-Disposition Require Retry-After "
    b"Route RSeq Server Service-Route Session-Expires SIP-ETag SIP-If-Match Subject "
    b"Subscription-State Supported Timestamp To Unsupported User-Agent Via Warning WWW-Authenticate "
).split()

DISPLAY: Final = {name.lower(): name for name in _USUAL}
"""Key to the spelling we write."""


def _known() -> dict[bytes, bytes]:
    known: dict[bytes, bytes] = {}
    for key, name in DISPLAY.items():
        for spelling in (name, key, name.upper(), name.title()):
            known[spelling] = key
    keys = {key: key for key in DISPLAY}
    for letter, key in COMPACT.items():
        known[letter] = known[letter.upper()] = keys.get(key, key)
    return known


KNOWN: Final = _known()
"""Usual spellings to key: one lookup settles nearly every header of nearly every message."""

LISTS: Final = frozenset(
    [b"via", b"route", b"record-route", b"path", b"service-route", b"contact", b"allow", b"supported"]
    + [b"require", b"proxy-require", b"unsupported", b"accept", b"history-info", b"p-asserted-identity"]
)
"""Headers whose value is a comma-separated list, so that one line may hold several values (§7.3.1)."""

SINGLE: Final = frozenset(
    [b"call-id", b"content-length", b"content-type", b"cseq", b"date", b"expires", b"from", b"max-forwards"]
    + [b"min-expires", b"mime-version", b"to", b"content-disposition"]
)
"""Headers that a message must not have twice (§7.3.1; RFC 4475 §3.3.8, §3.3.9)."""

COMMA: Final = 0x2C
SEMICOLON: Final = 0x3B
PERCENT: Final = 0x25
LINE_FEED: Final = 0x0A
"""As numbers: `b"," in line` takes seven times as long, for Python first raises that b"," is no number."""

TOKEN: Final = rb"[\w.!%*+`'~-]+"
"""Regular expression of a `token`; compile it without re.LOCALE: for bytes, \\w is ASCII."""

TOKEN_BYTES: Final = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_.!%*+`'~-"
"""The bytes of a token; `text.strip(TOKEN_BYTES)` leaves something where there are others."""

# Python 3.11.2, which is Debian 12's, loses captures and matches inside possessive groups such as `(...)*+`
# (https://github.com/python/cpython/issues/106052). Only character classes are repeated possessively here
# and in the modules around, groups by what cannot match in two ways.
_token = re.compile(TOKEN)
# Looks behind so that a search does not start again at every blank of a long run.
_folding = re.compile(rb"(?<![ \t])[ \t]*\r\n[ \t]+")
_parameter = re.compile(
    rb"\s*;\s*(" + TOKEN + rb")"
    rb'(?:\s*=\s*("[^"\\]*+(?:\\.[^"\\]*+)*"|[^\s;,"<>?=]++))?\s*',
    re.DOTALL,
)


def key_of(name: bytes) -> bytes | None:
    """The key of a header name in any spelling; None where `name` is not a token."""
    known = KNOWN.get(name)
    if known is not None:
        return known
    name = name.rstrip(b" \t").lower()
    if not _token.fullmatch(name):
        return None
    return KNOWN.get(name, name)


def unfold(value: bytes) -> bytes:
    """A header value on one line: every folding becomes one space (§7.3.1)."""
    return _folding.sub(b" ", value) if LINE_FEED in value else value


def split(value: bytes) -> list[bytes]:
    """The parts of a comma-separated value; commas inside quotes or angle brackets do not count.

    Empty parts are left out. An unterminated quote or bracket extends to the end.
    """
    if COMMA not in value:
        value = value.strip()
        return [value] if value else []
    parts = (value[start:end].strip() for start, end in _spans(value))
    return [part for part in parts if part]


def cut_first(value: bytes) -> tuple[bytes, bytes]:
    """The first part of a comma-separated value, and the rest as it stands (empty when there is none)."""
    if COMMA not in value:
        return value.strip(), b""
    end = next(_spans(value))[1]
    return value[:end].strip(), value[end + 1 :].strip()


_delimiter = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*(?:"|$)|<[^>]*+(?:>|$)|,', re.DOTALL)


def _spans(value: bytes) -> Iterator[tuple[int, int]]:
    start = 0
    for match in _delimiter.finditer(value):
        if match.group() == b",":
            yield start, match.start()
            start = match.end()
    yield start, len(value)


def parameters(raw: bytes) -> dict[bytes, bytes | None] | None:
    """Parameters of `;name=value;flag`: names in lower case, values as written (quotes kept), None for flags.

    Returns None where the text is not a list of parameters. A parameter given twice keeps its first value.
    """
    found: dict[bytes, bytes | None] = {}
    position, end = 0, len(raw)
    while position < end:
        match = _parameter.match(raw, position)
        if match is None:
            return None if raw[position:].strip() else found
        found.setdefault(match[1].lower(), match[2])
        position = match.end()
    return found


def unquote(value: bytes) -> bytes:
    """The content of a quoted string; anything else unchanged."""
    if len(value) < 2 or value[:1] != b'"' or value[-1:] != b'"':
        return value
    return re.sub(rb"\\(.)", rb"\1", value[1:-1], flags=re.DOTALL)


def quote(text: bytes) -> bytes:
    """`text` as a quoted string."""
    return b'"' + text.replace(b"\\", b"\\\\").replace(b'"', b'\\"') + b'"'
