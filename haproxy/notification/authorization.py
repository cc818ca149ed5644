"""User and password for one server, as it asks for them: Basic (RFC 7617) or Digest (RFC 7616). No I/O."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Callable, Sequence

from rtlib import digest


class Authorization:
    """Answers challenges, and the next requests without being asked again."""

    def __init__(self, user: str, password: str, entropy: Callable[[int], bytes]) -> None:
        self._user = user
        self._password = password
        self._entropy = entropy
        self._session: digest.Session | None = None
        self._basic = False

    def learn(self, challenges: Sequence[bytes]) -> bool:
        """Take the values of WWW-Authenticate; False where answering them is no use."""
        if not self._user:
            return False
        known = [each for each in digest.parse_challenges(challenges) if each.is_qop_known]
        found = digest.strongest(known)
        basic = any(value.strip().partition(b" ")[0].lower() == b"basic" for value in challenges)
        if found is not None:
            if self._session is not None and self._session.is_refused_by(found):
                return False
            secret = digest.ha1(self._user, found.realm, self._password, found.algorithm)
            self._session = digest.Session(found, self._user, secret, self._entropy)
        elif not basic:
            return False
        self._basic = found is None
        return True

    def header(self, method: str, path: str, body: bytes) -> bytes | None:
        """The value of Authorization for a request; None as long as the server has not asked."""
        if self._basic:
            return b"Basic " + b64encode(f"{self._user}:{self._password}".encode())
        if self._session is None:
            return None
        return bytes(self._session.answer(method, path, body))
