"""SIP, SIPS and other URIs: RFC 3261 §19.1, IPv6 references of RFC 3986; tel of RFC 3966 by its parts."""

from __future__ import annotations

import re
from ipaddress import IPv6Address
from typing import Final, NamedTuple
from urllib.parse import unquote_to_bytes

from haproxy.sip.cache import kept

HOST: Final = rb"(?:[A-Za-z0-9](?:[\w.-]*[A-Za-z0-9.])?|\[[0-9A-Fa-f:.]+\])"
"""Regular expression of a host name, IPv4 address or IPv6 reference. Underscores are tolerated."""

_SIP: Final = re.compile(
    rb"(?i:(sips?)):"
    rb"(?:([^\s@<>\"]++)@)?"
    rb"(" + HOST + rb")(?::([0-9]{1,5}))?"
    rb"((?:;[^\s;?<>\"=@]++(?:=[^\s;?<>\"@]*+)?)*)"
    rb"(?:\?([^\s<>\"?]*+))?"
)
_OTHER: Final = re.compile(rb"([A-Za-z][A-Za-z0-9+.-]*):([^\s<>\"]+)")
_ESCAPE: Final = re.compile(rb"%(?![0-9A-Fa-f]{2})")
_ALWAYS_COMPARED: Final = frozenset([b"user", b"ttl", b"method", b"maddr", b"transport"])


class UriError(ValueError):
    """Not a URI; the text says what is wrong with it."""


class Uri(NamedTuple):
    """A URI in parts, all as written (escapes kept) except scheme and host: see `canonical_host`.

    For schemes other than sip and sips only `scheme` and `opaque` are set, and `params` for tel.
    `params` and `headers` are the raw text without the leading `;` or `?`. IPv6 hosts keep their brackets.
    """

    scheme: bytes
    user: bytes | None = None
    password: bytes | None = None
    host: bytes = b""
    port: int | None = None
    params: bytes = b""
    headers: bytes = b""
    opaque: bytes = b""

    @property
    def is_sip(self) -> bool:
        """Whether this is a sip or sips URI, which a SIP element can route."""
        return self.scheme in (b"sip", b"sips")

    def param(self, name: bytes) -> bytes | None:
        """A parameter's value by its lower-case name; b"" for a flag such as `;lr`, None where absent."""
        params = self.params
        if not params or (name not in params.lower() and b"%" not in params):
            return None
        return _pairs(self.params, b";").get(name)

    @property
    def transport(self) -> bytes:
        """The transport parameter in lower case; b"" where there is none."""
        return (self.param(b"transport") or b"").lower()

    @property
    def username(self) -> bytes:
        """The user part with its escapes resolved; b"" where there is none."""
        return unescape(self.user or b"")

    @property
    def aor(self) -> bytes:
        """The canonical address-of-record `scheme:user@host[:port]` to look bindings up by (§10.3 step 5).

        Without parameters and headers; escapes that need not be are resolved.
        """
        if not self.is_sip:
            return self.scheme + b":" + self.opaque.partition(b";")[0]
        user = escape_user(self.username) + b"@" if self.user is not None else b""
        return self.scheme + b":" + user + self.sent_by

    @property
    def sent_by(self) -> bytes:
        """host[:port], as written in a Via."""
        return self.host if self.port is None else b"%b:%d" % (self.host, self.port)

    def without(self, *names: bytes) -> Uri:
        """This URI without the named parameters (lower case)."""
        kept = [item for item in self.params.split(b";") if item.partition(b"=")[0].lower() not in names]
        return self._replace(params=b";".join(item for item in kept if item))

    def matches(self, other: Uri) -> bool:
        """URI equality of RFC 3261 §19.1.4. It is not transitive, so it is not `==`."""
        if not self.is_sip or not other.is_sip:
            return self.scheme == other.scheme and self.opaque.lower() == other.opaque.lower()
        return (
            (self.scheme, self.host, self.port) == (other.scheme, other.host, other.port)
            and _user(self) == _user(other)
            and _params_match(_pairs(self.params, b";"), _pairs(other.params, b";"))
            and _folded(_pairs(self.headers, b"&")) == _folded(_pairs(other.headers, b"&"))
        )

    def __bytes__(self) -> bytes:
        if not self.is_sip:
            return self.scheme + b":" + self.opaque
        user = b""
        if self.user is not None:
            user = self.user + (b"" if self.password is None else b":" + self.password) + b"@"
        params = b";" + self.params if self.params else b""
        headers = b"?" + self.headers if self.headers else b""
        return b"%b:%b%b%b%b" % (self.scheme, user, self.sent_by, params, headers)


def parse(data: bytes) -> Uri:
    """Parse a URI. Raises UriError. Short ones are cached: a proxy sees the same few again and again."""
    return _cached[data]


def _parse(data: bytes) -> Uri:
    match = _SIP.fullmatch(data)
    if match is not None:
        return _sip(match)
    other = _OTHER.fullmatch(data)
    if other is None:
        raise UriError("not a URI")
    scheme = other[1].lower()
    if scheme in (b"sip", b"sips"):
        raise UriError("malformed SIP URI")
    return Uri(scheme, opaque=other[2], params=other[2].partition(b";")[2] if scheme == b"tel" else b"")


_cached: Final = kept("URIs", _parse)


def _sip(match: re.Match[bytes]) -> Uri:
    scheme, userinfo, host, port, params, headers = match.groups()
    user = password = None
    if userinfo is not None:
        user, colon, secret = userinfo.partition(b":")
        password = secret if colon else None
        if not user or _ESCAPE.search(userinfo):
            raise UriError("malformed user part in SIP URI")
    number = int(port) if port is not None else None
    if number is not None and not 0 < number <= 65535:
        raise UriError("port out of range in SIP URI")
    return Uri(scheme.lower(), user, password, canonical_host(host), number, params[1:], headers or b"")


def canonical_host(host: bytes) -> bytes:
    """A host in lower case, an IPv6 reference in its shortest form, so that equal ones are equal bytes.

    RFC 5954 §4. `[::ffff:192.0.2.1]` names an IPv4 address, and is that (RFC 4291 §2.5.5.2).

    What stands in brackets and is no address stays as it is: a Contact nobody calls does no harm.
    """
    if host[:1] != b"[":
        return host.lower()
    try:
        address = IPv6Address(host[1:-1].decode("ascii"))
    except ValueError:
        return host.lower()
    if address.ipv4_mapped is not None:
        return str(address.ipv4_mapped).encode()
    return b"[%b]" % address.compressed.encode("ascii")


def unescape(text: bytes) -> bytes:
    """`text` with its %XX escapes resolved."""
    return unquote_to_bytes(text) if b"%" in text else text


_reserved = re.compile(rb"[^A-Za-z0-9\-_.!~*'()&=+$,;?/]")


def escape_user(text: bytes) -> bytes:
    """`text` with everything escaped that a user part must not contain (§25.1 user)."""
    return _reserved.sub(lambda match: b"%%%02X" % match[0][0], text)


def _pairs(text: bytes, separator: bytes) -> dict[bytes, bytes]:
    pairs: dict[bytes, bytes] = {}
    for item in text.split(separator):
        name, _, value = item.partition(b"=")
        if name:
            pairs.setdefault(unescape(name).lower(), value)
    return pairs


def _folded(pairs: dict[bytes, bytes]) -> dict[bytes, bytes]:
    return {name: unescape(value).lower() for name, value in pairs.items()}


def _user(uri: Uri) -> tuple[bytes | None, bytes | None]:
    """User and password are compared with case, but an escape equals the character (§19.1.4)."""
    user = None if uri.user is None else unescape(uri.user)
    return user, None if uri.password is None else unescape(uri.password)


def _params_match(ours: dict[bytes, bytes], theirs: dict[bytes, bytes]) -> bool:
    """Parameters in both must be equal; of those in one only, some never match absence."""
    ours, theirs = _folded(ours), _folded(theirs)
    if any(ours[name] != theirs[name] for name in ours.keys() & theirs.keys()):
        return False
    return not (ours.keys() ^ theirs.keys()) & _ALWAYS_COMPARED
