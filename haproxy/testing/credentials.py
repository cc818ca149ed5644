"""A phone's answer to a digest challenge (RFC 3261 §22, RFC 8760)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from haproxy.sip.message import Request, Response
from rtlib import digest

_HEADERS: Final = {
    401: (b"www-authenticate", b"Authorization"),
    407: (b"proxy-authenticate", b"Proxy-Authorization"),
}


class Credentials:
    """User name and password."""

    def __init__(self, user: str, password: str, entropy: Callable[[int], bytes]) -> None:
        self._user = user
        self._password = password
        self._entropy = entropy

    def answer(self, request: Request, response: Response) -> bool:
        """Put credentials and the next CSeq into `request`; False where sending it again is no use."""
        asked, given = _HEADERS[response.status]
        challenge = digest.strongest(digest.parse_challenges(response.all(asked)))
        if challenge is None or not self._password:
            return False
        secret = digest.ha1(self._user, challenge.realm, self._password, challenge.algorithm)
        credentials = digest.answer(
            challenge,
            self._user,
            secret,
            request.method.decode(),
            request.uri.decode(),
            cnonce=self._entropy(8).hex(),
            body=request.body,
        )
        request.append(given, bytes(credentials))
        request.set(b"CSeq", b"%d %b" % (request.cseq_number + 1, request.method))
        return True
