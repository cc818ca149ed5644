"""HTTP control of the dispatcher: GET tells the primary set, POST sets it (guide 7.1.24 to 7.1.29).

The guide documents the bodies elsewhere. Here both are JSON, `{"primary": 1}`, or the number as text.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Protocol

from twisted.logger import Logger
from twisted.web.resource import Resource
from twisted.web.server import Request

from rtlib.digest import Authenticator, DigestError, Verdict, ha1, parse_credentials
from rtlib.nonce import Nonces

ALGORITHMS = ("SHA-256", "MD5")
"""Offered with a password, best first; hashes of the guide are for MD5."""

METHODS = (b"GET", b"HEAD", b"POST")

NONCES = 1024
"""Nonces in use that are remembered, against replay."""

_TEXT = re.compile(rb"\s*(?:primary\s*=\s*)?(\d+)\s*")

log = Logger()

Secrets = Mapping[tuple[str, str], str]
"""User name and algorithm -> HA1."""


class Sets(Protocol):
    """What the control acts on: `haproxy.dispatcher.set.Dispatcher`."""

    @property
    def primary(self) -> int:
        """The set that calls go to."""

    @property
    def preferred(self) -> int:
        """The set that is primary while it has a system that is up."""


def secrets_of(
    user: str, realm: str, *, password: str = "", ha1_hash: str = "", ha1b_hash: str = ""
) -> Secrets:
    """What proves a client: from the password, or else from the guide's hashes (7.1.27 to 7.1.29)."""
    names = user, f"{user}@{realm}"
    if password:
        return {(name, each): ha1(name, realm, password, each) for name in names for each in ALGORITHMS}
    hashes = zip(names, (ha1_hash, ha1b_hash), strict=True)
    return {(name, "MD5"): value.lower() for name, value in hashes if value}


class Doorman:
    """Knows who may come in: digest authentication of RFC 7616."""

    def __init__(self, realm: str, secrets: Secrets, entropy: Callable[[int], bytes]) -> None:
        offered = [each for each in ALGORITHMS if any(key[1] == each for key in secrets)]
        self._secrets = secrets
        nonces = Nonces(entropy(32), entropy, limit=NONCES)
        self._authenticator = Authenticator(realm, nonces, algorithms=offered or ["MD5"])

    def judge(self, request: Request, now: float) -> tuple[Verdict, str]:
        """What a request's credentials are worth, and the name in them; "" where there are none."""
        header = request.getHeader(b"authorization")
        try:
            credentials = parse_credentials(header) if header is not None else None
        except DigestError:
            return Verdict.invalid, "?"
        if credentials is None:
            return Verdict.invalid, "" if header is None else "?"
        if credentials.uri.encode("utf-8", "surrogateescape") != request.uri:
            return Verdict.invalid, credentials.username
        secret = self._secrets.get((credentials.username, credentials.algorithm))
        method = request.method.decode("ascii", "replace")
        return self._authenticator.verify(credentials, method, secret, now), credentials.username

    def challenge(self, request: Request, now: float, *, stale: bool) -> None:
        """Ask for credentials."""
        values = self._authenticator.challenges(now, stale=stale)
        request.responseHeaders.setRawHeaders(b"www-authenticate", values)


class Control(Resource):
    """Every path of the HTTP server."""

    isLeaf = True

    def __init__(
        self,
        sets: Sets,
        *,
        set_primary: Callable[[int, str], None],
        offence: Callable[[str, str], None],
        now: Callable[[], float],
        doorman: Doorman | None = None,
    ) -> None:
        """`set_primary` takes number and reason, and raises ValueError; `offence` a host and what it did."""
        super().__init__()
        self._sets = sets
        self._set_primary = set_primary
        self._offence = offence
        self._now = now
        self.doorman = doorman
        """None lets everybody in. May be changed while running."""
        self.requests: Counter[str] = Counter()
        """By what was done: read, set, challenged, stale, denied, malformed."""

    def render(self, request: Request) -> bytes:
        """Refuse every other method; HEAD is GET without a body."""
        if request.method in METHODS:
            body: bytes = super().render(request)
            return body
        request.setResponseCode(405)
        request.setHeader(b"allow", b", ".join(METHODS))
        request.setHeader(b"content-type", b"text/plain; charset=utf-8")
        return b"GET tells the primary dispatch set, POST sets it\n"

    def render_GET(self, request: Request) -> bytes:
        """Tell the primary set."""
        if self._admits(request) is None:
            return b""
        self.requests["read"] += 1
        return self._state(request, _wants_text(request, False))

    def render_POST(self, request: Request) -> bytes:
        """Set the primary set."""
        user = self._admits(request)
        if user is None:
            return b""
        assert request.content is not None
        body = request.content.read()
        host = _host(request)
        try:
            number, plain = _number(body)
            by = f"{user} at {host}" if user else host
            self._set_primary(number, f"set over HTTP by {by}")
        except ValueError as error:
            return self._malformed(request, str(error))
        self.requests["set"] += 1
        now, wanted = self._sets.primary, self._sets.preferred
        log.info("{by} has set the primary dispatch set to {wanted} over HTTP", by=by, wanted=number)
        # Accepted, but not done: the set has no system that is up, and calls stay where they are answered.
        request.setResponseCode(200 if now == wanted else 202)
        return self._state(request, _wants_text(request, plain))

    def _admits(self, request: Request) -> str | None:
        """The name of who asks, "" where names do not matter; None: the request is answered with 401."""
        doorman = self.doorman
        if doorman is None:
            return ""
        now = self._now()
        verdict, name = doorman.judge(request, now)
        if verdict is Verdict.valid:
            return name
        stale = verdict is Verdict.stale
        self.requests["stale" if stale else "denied" if name else "challenged"] += 1
        if stale:
            self._offence(_host(request), "used a nonce again, or one that is too old")
        elif name:
            self._offence(_host(request), f"has wrong credentials for {name!r}")
        doorman.challenge(request, now, stale=stale)
        request.setResponseCode(401)
        request.setHeader(b"content-type", b"text/plain; charset=utf-8")
        return None

    def _malformed(self, request: Request, reason: str) -> bytes:
        self.requests["malformed"] += 1
        self._offence(_host(request), reason)
        request.setResponseCode(400)
        request.setHeader(b"content-type", b"text/plain; charset=utf-8")
        return reason.encode() + b"\n"

    def _state(self, request: Request, plain: bool) -> bytes:
        request.setHeader(b"cache-control", b"no-store")
        if plain:
            request.setHeader(b"content-type", b"text/plain; charset=utf-8")
            return b"%d\n" % self._sets.primary
        request.setHeader(b"content-type", b"application/json")
        return json.dumps({"primary": self._sets.primary, "preferred": self._sets.preferred}).encode() + b"\n"


def _number(body: bytes) -> tuple[int, bool]:
    """The number of a set in a request's body, and whether it is text. Raises ValueError."""
    text = _TEXT.fullmatch(body)
    if text is not None and len(text[1]) < 10:
        return int(text[1]), True
    try:
        value = json.loads(body)["primary"]
    except (ValueError, TypeError, KeyError, RecursionError):
        value = None
    if type(value) is int:
        return value, False
    raise ValueError('the body must be {"primary": 1} or 1, or the same with 0')


def _wants_text(request: Request, default: bool) -> bool:
    accept = request.getHeader(b"accept") or b""
    text, structured = b"text/plain" in accept, b"application/json" in accept
    return text if text != structured else default


def _host(request: Request) -> str:
    return str(getattr(request.getClientAddress(), "host", ""))
