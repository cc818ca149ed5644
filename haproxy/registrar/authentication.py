"""Digest authentication of subscribers: 401 for REGISTER, 407 for calls (RFC 3261 section 22, guide 7.1.5).

The realm is the domain of the address-of-record, as in Kamailio, because HA1 hashes are made with it.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

from haproxy.registrar.subscriber import Subscriber, Subscribers
from haproxy.sip.message import Request
from haproxy.sip.uri import UriError
from haproxy.sip.uri import parse as parse_uri
from rtlib.digest import (
    Authenticator,
    Credentials,
    DigestError,
    Verdict,
    parse_credentials,
)
from rtlib.nonce import Nonces

REALMS = 256
"""Realms whose authenticators are kept; they are made again when needed."""

Headers: TypeAlias = tuple[tuple[bytes, bytes], ...]
"""Names and values."""


@dataclass(frozen=True, slots=True)
class Kind:
    """The headers and the status of one way to ask for credentials."""

    status: int
    challenge: bytes
    credentials: bytes


WWW = Kind(401, b"WWW-Authenticate", b"authorization")
PROXY = Kind(407, b"Proxy-Authenticate", b"proxy-authorization")


class Authentication:
    """Challenges requests and judges their credentials."""

    def __init__(
        self, subscribers: Subscribers, nonces: Nonces, algorithms: Sequence[str] = ("MD5",)
    ) -> None:
        """`algorithms` are offered in this order; a subscriber known by MD5 hashes alone is offered MD5."""
        self._algorithms = tuple(algorithms)
        self._subscribers = subscribers
        self._nonces = nonces
        self._realms: OrderedDict[bytes, Authenticator] = OrderedDict()
        self.accepted = 0
        self.rejected = 0

    def check(self, request: Request, kind: Kind, aor: bytes, now: float) -> Headers | None:
        """None if `request` proves to come from the user of `aor`; else the challenge's headers."""
        domain = aor[aor.rfind(b"@") + 1 :]
        authenticator = self._realms.get(domain) or self._authenticator(domain)
        subscriber = self._subscribers.find(aor)
        stale = False
        if kind.credentials in request:
            for credentials in _offered(request, kind, authenticator.realm):
                verdict = _judge(authenticator, request, credentials, subscriber, now)
                if verdict is Verdict.valid:
                    self.accepted += 1
                    return None
                stale = stale or verdict is Verdict.stale
                self.rejected += verdict is Verdict.invalid
        asked = authenticator.challenges(now, stale, self._known_to(subscriber))
        return tuple([(kind.challenge, value) for value in asked])

    def consume(self, request: Request, aor: bytes) -> None:
        """Take off the credentials that were for us as a proxy: those behind us have no use for them.

        Those for other proxies stay (RFC 3261 section 22.3).
        """
        realm = self._authenticator(aor.rpartition(b"@")[2]).realm
        values = request.all(PROXY.credentials)
        request.remove(PROXY.credentials)
        for value in values:
            credentials = _parsed(value)
            if credentials is None or credentials.realm != realm:
                request.append(b"Proxy-Authorization", value)

    def _known_to(self, subscriber: Subscriber | None) -> tuple[str, ...]:
        """Those that the user's hashes can answer; all where there is no such user, who must not be told."""
        if subscriber is None or len(self._algorithms) == 1:
            return self._algorithms
        name = subscriber.username
        known = [each for each in self._algorithms if subscriber.hash_for(name, each)]
        return tuple(known) or self._algorithms

    def _authenticator(self, domain: bytes) -> Authenticator:
        found = self._realms.get(domain)
        if found is None:
            realm = domain.decode("ascii", "replace")
            found = self._realms[domain] = Authenticator(
                realm, self._nonces, algorithms=self._algorithms, qop=("auth", "auth-int")
            )
            if len(self._realms) > REALMS:
                self._realms.popitem(last=False)
        return found


def _judge(
    authenticator: Authenticator,
    request: Request,
    credentials: Credentials,
    subscriber: Subscriber | None,
    now: float,
) -> Verdict:
    secret = _secret(subscriber, credentials) if subscriber is not None else None
    try:
        verdict = authenticator.verify(credentials, request.method.decode(), secret, now, request.body)
    except DigestError:
        return Verdict.invalid
    return verdict if _means(credentials.uri, request) else Verdict.invalid


def _offered(request: Request, kind: Kind, realm: str) -> list[Credentials]:
    """The credentials for a realm."""
    offered = []
    for value in request.all(kind.credentials):
        credentials = _parsed(value)
        if credentials is not None and credentials.realm == realm:
            offered.append(credentials)
    return offered[:4]


def _parsed(value: bytes) -> Credentials | None:
    """Credentials; None for what is malformed, or for no digest."""
    try:
        return parse_credentials(value)
    except DigestError:
        return None


def _secret(subscriber: Subscriber, credentials: Credentials) -> str | None:
    name = credentials.username.encode("utf-8", "surrogateescape")
    return subscriber.hash_for(name, credentials.algorithm).decode() or None


def _means(text: str, request: Request) -> bool:
    """Whether the URI in the credentials is the request's own: its user at least, hosts may differ."""
    uri = text.encode("utf-8", "surrogateescape")
    if uri == request.uri:
        return True
    try:
        return parse_uri(uri).username == request.target.username
    except UriError:
        return False
