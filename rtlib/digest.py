"""Digest access authentication for SIP and HTTP, both sides: RFC 7616, RFC 8760, RFC 3261 §22.

Header values are bytes as on the wire; names, realms and passwords are text. Nothing here keeps
passwords: the server side needs only HA1, the hash of user name, realm and password.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from enum import Enum
from functools import lru_cache
from hmac import compare_digest
from typing import Final, NamedTuple

from rtlib import digestform
from rtlib.nonce import Nonces

_HASHES: Final[dict[str, hashlib._Hash]] = {
    "MD5": hashlib.md5(usedforsecurity=False),
    "SHA-256": hashlib.sha256(),
    "SHA-512-256": hashlib.new("sha512_256"),
}
"""Of nothing yet: to copy one takes less time than to make one."""
ALGORITHMS: Final = tuple(_HASHES)
"""The algorithms without `-sess`, weakest first."""
_QOPS: Final = ("auth", "auth-int")
"""The qualities of protection that an answer can have, the preferred one first."""

_MAX_HEADER: Final = 8192
_PARAMETER: Final = re.compile(
    rb'[\s,]*([\w.!%*+`\'~-]+)\s*=\s*(?:"([^"\\]*+(?:\\.[^"\\]*+)*)"|([^\s,"]*+))(?=\s*(?:,|$))', re.DOTALL
)


class DigestError(ValueError):
    """A challenge or credentials that cannot be used; the text says why."""


class Challenge(NamedTuple):
    """What a server asks for."""

    realm: str
    nonce: str
    algorithm: str = "MD5"
    """As on the wire, possibly with `-sess`."""
    qop: tuple[str, ...] = ()
    """Offered qualities of protection; empty for RFC 2069 servers."""
    opaque: str | None = None
    stale: bool = False
    """The credentials were right, only their nonce was too old: try again without asking anybody."""

    @property
    def is_algorithm_known(self) -> bool:
        """Whether we can answer with its algorithm."""
        return _base(self.algorithm) in _HASHES

    @property
    def is_qop_known(self) -> bool:
        """Whether there is a quality of protection that we know, or none is offered."""
        return not self.qop or self.preferred_qop is not None

    @property
    def preferred_qop(self) -> str | None:
        """The quality of protection to answer with; None where we know none, or none is offered."""
        return next((word for word in _QOPS if word in self.qop), None)

    def __bytes__(self) -> bytes:
        before, behind = _around_nonce(self.realm, self.algorithm, self.qop, self.opaque, stale=self.stale)
        return _encode(before + _quoted(self.nonce) + behind)


class Credentials(NamedTuple):
    """What a client answers."""

    username: str
    realm: str
    nonce: str
    uri: str
    response: str
    algorithm: str = "MD5"
    qop: str | None = None
    nc: int = 0
    """The nonce count; 0 without qop."""
    cnonce: str = ""
    opaque: str | None = None

    def __bytes__(self) -> bytes:
        parts = [
            f"username={_quoted(self.username)}",
            f"realm={_quoted(self.realm)}",
            f"nonce={_quoted(self.nonce)}",
            f"uri={_quoted(self.uri)}",
            f"response={_quoted(self.response)}",
            f"algorithm={self.algorithm}",
        ]
        if self.qop is not None:
            parts.append(f"qop={self.qop}, nc={self.nc:08x}")
        if self.cnonce:
            parts.append(f"cnonce={_quoted(self.cnonce)}")
        if self.opaque is not None:
            parts.append(f"opaque={_quoted(self.opaque)}")
        return _encode("Digest " + ", ".join(parts))


def parse_challenge(value: bytes) -> Challenge | None:
    """Read a (Proxy- or WWW-)Authenticate value; None for another scheme. Raises DigestError."""
    rest = _behind_scheme(value)
    if rest is None:
        return None
    found = _parameters(rest)
    try:
        realm, nonce = found["realm"], found["nonce"]
    except KeyError as missing:
        raise DigestError(f"challenge without {missing.args[0]}") from None
    qop = tuple(word.strip().lower() for word in found.get("qop", "").split(",") if word.strip())
    stale = found.get("stale", "").lower() == "true"
    return Challenge(realm, nonce, found.get("algorithm", "MD5"), qop, found.get("opaque"), stale)


def parse_challenges(values: Iterable[bytes]) -> list[Challenge]:
    """The digest challenges among (Proxy- or WWW-)Authenticate values; malformed ones are left out."""
    found = []
    for value in values:
        try:
            challenge = parse_challenge(value)
        except DigestError:
            continue
        if challenge is not None:
            found.append(challenge)
    return found


def parse_credentials(value: bytes) -> Credentials | None:
    """Read a (Proxy-)Authorization value; None for another scheme, as if none had come (RFC 4475 §3.3.7).

    Raises DigestError for malformed credentials.
    """
    fields = digestform.fields(value)
    if fields is not None:
        return _made(Credentials, fields)
    rest = _behind_scheme(value)
    return None if rest is None else _credentials(_parameters(rest))


_made: Final = tuple.__new__
"""To make a named tuple of a tuple; its own `_make` is for what may have another length."""


def _credentials(found: Mapping[str, str]) -> Credentials:
    try:
        username, realm, nonce = found["username"], found["realm"], found["nonce"]
        uri, given = found["uri"], found["response"]
    except KeyError as missing:
        raise DigestError(f"credentials without {missing.args[0]}") from None
    qop, count = found.get("qop"), 0
    if qop is not None:
        qop, text = qop.lower(), found.get("nc", "")
        if not digestform.COUNT.fullmatch(text):
            raise DigestError("malformed nonce count")
        count = int(text, 16)
    algorithm, cnonce = found.get("algorithm", "MD5"), found.get("cnonce", "")
    return Credentials(username, realm, nonce, uri, given, algorithm, qop, count, cnonce, found.get("opaque"))


def ha1(username: str, realm: str, password: str, algorithm: str = "MD5") -> str:
    """The hash that stands for a password, in hexadecimal, for an algorithm with or without `-sess`."""
    return _digest(algorithm, f"{username}:{realm}:{password}")


def response(credentials: Credentials, secret: str, method: str, body: bytes = b"") -> str:
    """The right `response` for these credentials, given HA1 as `ha1` makes it. Raises DigestError."""
    algorithm = credentials.algorithm
    if algorithm not in _HASHES and algorithm.upper().endswith("-SESS"):
        secret = _digest(algorithm, f"{secret}:{credentials.nonce}:{credentials.cnonce}")
    a2 = f"{method}:{credentials.uri}"
    if credentials.qop == "auth-int":
        a2 += ":" + _digest_of(algorithm, body)
    ha2 = _usual_digest(algorithm, a2) if len(a2) <= _LONGEST_CACHED else _digest(algorithm, a2)
    nonce, qop = credentials.nonce, credentials.qop
    if qop is None:
        return _digest(algorithm, f"{secret}:{nonce}:{ha2}")
    return _digest(algorithm, f"{secret}:{nonce}:{credentials.nc:08x}:{credentials.cnonce}:{qop}:{ha2}")


def answer(
    challenge: Challenge,
    username: str,
    secret: str,
    method: str,
    uri: str,
    *,
    cnonce: str,
    nc: int = 1,
    body: bytes = b"",
) -> Credentials:
    """The credentials for a challenge; `secret` is HA1 for the challenge's realm and algorithm.

    `cnonce` must be random, `nc` counts the uses of the challenge's nonce from 1. Raises DigestError
    where the challenge offers nothing we know.
    """
    if not challenge.is_qop_known:
        raise DigestError("no known quality of protection offered")
    qop = challenge.preferred_qop
    if qop is None and not challenge.algorithm.upper().endswith("-SESS"):
        nc, cnonce = 0, ""
    draft = Credentials(
        username,
        challenge.realm,
        challenge.nonce,
        uri,
        "",
        challenge.algorithm,
        qop,
        nc,
        cnonce,
        challenge.opaque,
    )
    return draft._replace(response=response(draft, secret, method, body))


def strongest(challenges: Sequence[Challenge]) -> Challenge | None:
    """The challenge with the best algorithm that we know; the first of equals (RFC 8760 §2.4)."""
    known = [each for each in challenges if each.is_algorithm_known]
    return max(known, key=lambda each: ALGORITHMS.index(_base(each.algorithm)), default=None)


class Session:
    """A challenge and what a client answers to it, request after request (RFC 7616 §3.6).

    Its nonce is used until the server gives another one, so that only the first request is sent twice.
    """

    def __init__(
        self, challenge: Challenge, username: str, secret: str, entropy: Callable[[int], bytes]
    ) -> None:
        """`secret` is HA1 for the challenge's realm and algorithm; `entropy` gives that many random bytes."""
        self._challenge = challenge
        self._user = username
        self._secret = secret
        self._entropy = entropy
        self._uses = 0

    def answer(self, method: str, uri: str, body: bytes = b"") -> Credentials:
        """The credentials for the next request. Raises DigestError as `answer` does."""
        self._uses += 1
        cnonce = self._entropy(8).hex()
        return answer(
            self._challenge, self._user, self._secret, method, uri, cnonce=cnonce, nc=self._uses, body=body
        )

    def is_refused_by(self, challenge: Challenge) -> bool:
        """Whether a challenge that came after an answer asks for the same again: then the secret is wrong."""
        return challenge.nonce == self._challenge.nonce


class Verdict(Enum):
    """What credentials are worth."""

    valid = "valid"
    stale = "stale"
    """Right secret, but the nonce is too old or its count used before: challenge with stale=true."""
    invalid = "invalid"


class Authenticator:
    """Challenges and verifies for one realm.

    `algorithms` in order of preference; the challenge names each in a header of its own (RFC 8760 §2.3).
    """

    def __init__(
        self,
        realm: str,
        nonces: Nonces,
        *,
        algorithms: Sequence[str] = ("MD5",),
        qop: Sequence[str] = ("auth",),
    ) -> None:
        self.realm = realm
        self._nonces = nonces
        self._algorithms = tuple(algorithms)
        self._qops = (None, *qop) if qop else ()
        """What answers may have; anything where nothing is offered."""
        self._fresh, self._stale = (
            {algorithm: _quotes(realm, algorithm, tuple(qop), stale=stale) for algorithm in algorithms}
            for stale in (False, True)
        )

    def challenges(
        self, now: float, stale: bool = False, algorithms: Sequence[str] | None = None
    ) -> list[bytes]:
        """Header values, one for each algorithm, or for those given of them; all with one new nonce."""
        nonce = self._nonces.issue(now)
        around = self._stale if stale else self._fresh
        values = []
        for algorithm in self._algorithms if algorithms is None else algorithms:
            before, behind = around[algorithm]
            values.append(before + nonce + behind)
        return values

    def verify(
        self, credentials: Credentials, method: str, secret: str | None, now: float, body: bytes = b""
    ) -> Verdict:
        """Judge credentials; `secret` is HA1 for their user and algorithm, None for an unknown user.

        The caller checks that `credentials.username` may do what it asks, and that `credentials.uri`
        means the request's own (RFC 7616 §3.4.6; proxies on the way may have changed it in SIP).
        An unknown user takes as long as a wrong password.
        """
        if credentials.realm != self.realm or credentials.algorithm not in self._algorithms:
            return Verdict.invalid
        if self._qops and credentials.qop not in self._qops:
            return Verdict.invalid
        expected = response(credentials, secret or "", method, body)
        given = credentials.response.lower()
        if not given.isascii() or not compare_digest(expected, given) or secret is None:
            return Verdict.invalid
        fresh = self._nonces.check(credentials.nonce, credentials.nc, now)
        return Verdict.valid if fresh else Verdict.stale


def _base(algorithm: str) -> str:
    return algorithm.upper().removesuffix("-SESS")


def _digest(algorithm: str, text: str) -> str:
    return _digest_of(algorithm, text.encode() if text.isascii() else _encode(text))


def _digest_of(algorithm: str, data: bytes) -> str:
    found = _HASHES.get(algorithm) or _HASHES.get(_base(algorithm))
    if found is None:
        raise DigestError(f"unknown algorithm {algorithm}")
    digest = found.copy()
    digest.update(data)
    return digest.hexdigest()


_LONGEST_CACHED: Final = 256
_usual_digest: Final = lru_cache(1024)(_digest)
"""For what is no secret, and the same for many: method and URI."""


def _behind_scheme(value: bytes) -> bytes | None:
    scheme, _, rest = value.strip().partition(b" ")
    if scheme.lower() != b"digest":
        return None
    if len(rest) > _MAX_HEADER:
        raise DigestError("longer than any digest header has to be")
    return rest


def _parameters(rest: bytes) -> dict[str, str]:
    found: dict[str, str] = {}
    position = 0
    while rest[position:].strip(b" \t\r\n,"):
        match = _PARAMETER.match(rest, position)
        if match is None:
            raise DigestError("malformed digest header")
        name, quoted, plain = match.groups()
        text = re.sub(rb"\\(.)", rb"\1", quoted, flags=re.DOTALL) if quoted is not None else plain
        if found.setdefault(_decode(name).lower(), _decode(text)) != _decode(text):
            raise DigestError("contradicting digest parameters")
        position = match.end()
    return found


def _write_around_nonce(
    realm: str, algorithm: str, qop: tuple[str, ...], opaque: str | None, *, stale: bool
) -> tuple[str, str]:
    """A challenge before and behind its nonce."""
    parts = [""]
    if qop:
        parts.append(f"qop={_quoted(','.join(qop))}")
    parts.append(f"algorithm={algorithm}")
    if opaque is not None:
        parts.append(f"opaque={_quoted(opaque)}")
    if stale:
        parts.append("stale=true")
    return f"Digest realm={_quoted(realm)}, nonce=", ", ".join(parts)


_around_nonce: Final = lru_cache(256)(_write_around_nonce)


def _quotes(realm: str, algorithm: str, qop: tuple[str, ...], *, stale: bool) -> tuple[bytes, bytes]:
    """The same with the nonce's quotes: of the base64 of one there is nothing to quote."""
    before, behind = _around_nonce(realm, algorithm, qop, None, stale=stale)
    return _encode(f'{before}"'), _encode(f'"{behind}')


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _encode(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


def _decode(data: bytes) -> str:
    return data.decode("utf-8", "surrogateescape")
