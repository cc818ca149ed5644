"""What can go wrong for a client, named by what its user can do about it."""

from __future__ import annotations

from typing import Final

import msgspec

from crs.signaling.message import ChangeEnd, EndReason, ErrorCode, Who

UNDECODABLE: Final = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
"""What msgspec raises for malformed bytes: also for strings that are not UTF-8, and for deep nesting."""


class ClientError(Exception):
    """Base of the family; the text is a sentence for the user."""


class Unreachable(ClientError):
    """No server answers there, or it does not speak crs.v1."""


class Denied(ClientError):
    """The TLS handshake failed: the server does not know the identity, or the key is wrong."""


class Closed(ClientError):
    """The connection is closed; `code` is the server's close code, None if it gave none."""

    def __init__(self, text: str, code: int | None = None) -> None:
        super().__init__(text)
        self.code = code


class NoAnswer(ClientError):
    """The server, or the relay, has not answered in time."""


class Refused(ClientError):
    """The server refused a request."""

    def __init__(self, code: ErrorCode, reason: str) -> None:
        super().__init__(f"{reason} ({code.value})")
        self.code = code
        self.reason = reason


class ChangeDeclined(ClientError):
    """The other party, or the server, has not agreed to a change of streams."""

    def __init__(self, reason: ChangeEnd) -> None:
        super().__init__(f"the change of streams was not made: {reason}")
        self.reason = reason


class CallEnded(ClientError):
    """The call is over."""

    def __init__(self, reason: EndReason, who: Who) -> None:
        super().__init__(f"the call has ended: {reason.value} by the {who.value}")
        self.reason = reason
        self.who = who
