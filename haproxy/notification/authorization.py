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
        self._challenge: digest.Challenge | None = None
        self._basic = False
        self._uses = 0

    def learn(self, challenges: Sequence[bytes]) -> bool:
        """Take the values of WWW-Authenticate; False where there is nothing to answer them with."""
        if not self._user:
            return False
        found = digest.strongest(_digests(challenges))
        basic = any(value.strip().partition(b" ")[0].lower() == b"basic" for value in challenges)
        if found is None and not basic:
            return False
        self._challenge, self._uses = found, 0
        self._basic = found is None
        return True

    def header(self, method: str, path: str, body: bytes) -> bytes | None:
        """The value of Authorization for a request; None as long as the server has not asked."""
        if self._basic:
            return b"Basic " + b64encode(f"{self._user}:{self._password}".encode())
        if self._challenge is None:
            return None
        challenge = self._challenge
        secret = digest.ha1(self._user, challenge.realm, self._password, challenge.algorithm)
        self._uses += 1
        cnonce = self._entropy(8).hex()
        answer = digest.answer(
            challenge, self._user, secret, method, path, cnonce=cnonce, nc=self._uses, body=body
        )
        return bytes(answer)


def _digests(values: Sequence[bytes]) -> list[digest.Challenge]:
    known = digest.parse_challenges(values)
    return [each for each in known if not each.qop or {"auth", "auth-int"} & set(each.qop)]
