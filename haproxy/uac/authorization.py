"""The client's side of digest authentication, over many requests: RFC 3261 section 22, RFC 8760. Sans-IO."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from haproxy.sip.message import Request, Response
from haproxy.uac.account import Credentials
from rtlib import digest

_HEADERS: Final = {
    401: (b"www-authenticate", b"Authorization"),
    407: (b"proxy-authenticate", b"Proxy-Authorization"),
}


class Unanswerable(Exception):
    """A challenge that cannot be answered, or whose answer was refused; the text says why."""


class Authorization:
    """Answers the challenges of a registrar and of the proxies before it.

    A nonce is used again with the next request, so that a refresh needs no challenge of its own.
    """

    def __init__(self, credentials: Credentials, entropy: Callable[[int], bytes]) -> None:
        self._credentials = credentials
        self._entropy = entropy
        self._sessions: dict[tuple[bytes, str], digest.Session] = {}
        """By header and realm."""
        self._answered: set[tuple[bytes, str]] = set()

    def begin(self) -> None:
        """A new request begins, whose challenges have not been answered yet."""
        self._answered.clear()

    def forget(self) -> None:
        """Use no nonce again."""
        self._sessions.clear()

    def challenged(self, response: Response) -> None:
        """Take a 401 or 407. Raises Unanswerable where sending the request again is no use."""
        asked, given = _HEADERS[response.status]
        challenge, secret = self._choose(digest.parse_challenges(response.all(asked)))
        key = given, challenge.realm
        before = self._sessions.get(key)
        if before is not None and before.is_refused_by(challenge):
            raise Unanswerable("the credentials are refused: challenged again with the same nonce")
        if key in self._answered and not challenge.stale:
            raise Unanswerable("the credentials are refused")
        self._sessions[key] = digest.Session(challenge, self._credentials.username, secret, self._entropy)
        self._answered.add(key)

    def sign(self, request: Request) -> None:
        """Add what the challenges so far ask for."""
        uri = request.uri.decode("utf-8", "surrogateescape")
        for (header, _), session in self._sessions.items():
            credentials = session.answer(request.method.decode(), uri, request.body)
            request.append(header, bytes(credentials))

    def _choose(self, challenges: list[digest.Challenge]) -> tuple[digest.Challenge, str]:
        ours = self._credentials
        if not ours.password and not ours.ha1:
            raise Unanswerable("the registrar asks for credentials, and none are configured")
        if not challenges:
            raise Unanswerable("the challenge is no digest challenge, or malformed")
        fitting = [each for each in challenges if ours.realm in {"", each.realm}]
        if not fitting:
            realms = ", ".join(dict.fromkeys(repr(each.realm) for each in challenges))
            raise Unanswerable(f"the registrar's realm is {realms}, not {ours.realm!r}")
        known = [each for each in fitting if each.is_algorithm_known]
        if not known:
            names = ", ".join(dict.fromkeys(each.algorithm for each in fitting))
            raise Unanswerable(f"the registrar asks for an unknown algorithm: {names}")
        answerable = [each for each in known if ours.secret(each) is not None]
        chosen = digest.strongest(answerable)
        if chosen is None:
            names = ", ".join(dict.fromkeys(each.algorithm for each in known))
            raise Unanswerable(f"the registrar asks for {names}, which auth_ha1 cannot answer")
        if not chosen.is_qop_known:
            raise Unanswerable(f"the registrar asks for an unknown qop: {', '.join(chosen.qop)}")
        return chosen, ours.secret(chosen) or ""
