"""Server transactions and how requests are matched to them (RFC 3261 §17.2, §17.2.3)."""

from __future__ import annotations

from typing import Any

from haproxy.sip.flow import Flow
from haproxy.sip.message import Request
from haproxy.sip.step import Alarms, Beginning, Key, Transaction
from haproxy.sip.via import COOKIE, Via


class ServerTransaction(Transaction):
    """One request from outside and our responses. Only the layer changes it; `context` is the user's."""

    __slots__ = ("source", "status", "to_tag")

    def __init__(self, request: Request, source: Flow, flow: Flow, key: Key, beginning: Beginning) -> None:
        self.request = request
        self.method = request.method
        self.call_id = request.call_id
        self.source = source
        """Where the request came from."""
        self.flow = flow
        self.key = key
        self.context: Any = None
        self.sent = b""
        self.status = 0
        """The status of the last response, 0 before the first."""
        self.to_tag: bytes | None = None
        """The To tag of the last response, by which an old-style ACK is recognised."""
        self.row = beginning.row
        self.timers: Beginning | Alarms | None = beginning


def key_for(request: Request, via: Via, method: bytes) -> Key:
    """What the retransmissions of a request share; `method` is INVITE to find what an ACK or CANCEL means.

    `via` is the top Via as it came. The spelling of sent-by counts: a sender repeats its own. Requests
    without a unique branch are matched as in RFC 2543: by Request-URI, tags, Call-ID, CSeq and Via.
    """
    branch = via.branch
    if branch.startswith(COOKIE) and len(branch) > len(COOKIE):
        # From behind: a method and an origin have no space in them.
        return branch + via.origin + method
    return _old_key(request, via, method, request.to_tag)


def invite_key(cancel: ServerTransaction) -> Key:
    """The key of the INVITE that a CANCEL means."""
    key = cancel.key
    if isinstance(key, bytes):
        return key.removesuffix(cancel.method) + b"INVITE"
    return *key[:-1], b"INVITE"


def _old_key(request: Request, via: Via, method: bytes, to_tag: bytes | None) -> Key:
    return request.uri, to_tag, request.from_tag, request.call_id, request.cseq_number, via.raw, method


def old_invite_key(request: Request, via: Via) -> Key | None:
    """The INVITE's key for an old-style ACK, whose To tag the INVITE did not have; None for any other."""
    return None if via.has_cookie else _old_key(request, via, b"INVITE", None)
