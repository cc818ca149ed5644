"""The best of several final responses: RFC 3261 section 16.7 steps 6 and 7. Sans-IO."""

from __future__ import annotations

from collections.abc import Sequence

from haproxy.sip.message import Response

INFORMATIVE = frozenset({401, 407, 415, 420, 484})
"""Responses of the 4xx class that help the sender to do better."""

CHALLENGES = ((b"www-authenticate", b"WWW-Authenticate"), (b"proxy-authenticate", b"Proxy-Authenticate"))


def choose(responses: Sequence[Response]) -> Response:
    """The response to pass on, with the challenges of all."""
    best = min(responses, key=_rank)
    if best.status in {401, 407}:
        _collect_challenges(best, responses)
    return best


def _rank(response: Response) -> tuple[int, int]:
    status = response.status
    if status >= 600:
        return 0, 0
    return status // 100, 0 if status in INFORMATIVE else 1


def _collect_challenges(best: Response, responses: Sequence[Response]) -> None:
    for other in responses:
        if other is best or other.status not in {401, 407}:
            continue
        for key, name in CHALLENGES:
            for value in other.all(key):
                best.append(name, value)
