"""What a registrar's 2xx grants: RFC 3261 section 10.2.4. Sans-IO."""

from __future__ import annotations

from typing import NamedTuple

from haproxy.sip.address import NameAddr
from haproxy.sip.message import Response
from haproxy.sip.syntax import ParseError
from haproxy.sip.uri import Uri, UriError


class Grant(NamedTuple):
    """How long calls come to us."""

    life: int
    """Seconds; 0 where the registrar does not have our contact."""
    complaint: str = ""
    """What is wrong with the answer; empty where nothing is."""


def grant_of(response: Response, contact: Uri, asked: int) -> Grant:
    """Read the answer to a REGISTER that asked for so many seconds; never more than these are granted.

    A contact is ours by its user part, which is unique: some registrars put another host in. An answer
    that lists no contact at all is taken for a yes, as other user agents take it.
    """
    try:
        contacts = response.addresses(b"contact")
    except ParseError:
        return _limited(_general(response, asked), asked, "malformed Contact in the answer")
    if not contacts:
        return _limited(_general(response, asked), asked, "no Contact in the answer")
    ours = [each for each in contacts if _is_ours(each, contact)]
    if not ours:
        return Grant(0, "the answer lists other contacts, not ours")
    # One of another time, with another host, may be there too.
    exact = [each for each in ours if each.target.sent_by == contact.sent_by]
    own = (exact or ours)[0].param(b"expires")
    life = _seconds(own)
    if life is not None:
        return _limited(life, asked, "")
    complaint = "" if own is None else f"malformed expires in the answer: {_shown(own)}"
    return _limited(_general(response, asked), asked, complaint)


def _is_ours(address: NameAddr, contact: Uri) -> bool:
    try:
        return address.target.username == contact.username
    except UriError:
        return False


def _general(response: Response, asked: int) -> int:
    """What the Expires header says; what was asked for where it says nothing."""
    life = _seconds(response.first(b"expires"))
    return asked if life is None else life


def _limited(life: int, asked: int, complaint: str) -> Grant:
    if life == 0:
        return Grant(0, complaint or "granted for 0 seconds")
    if life > asked:
        return Grant(asked, complaint or f"granted for {life} s, which is more than asked for")
    return Grant(life, complaint)


def _seconds(value: bytes | None) -> int | None:
    """Delta-seconds; None where absent or malformed."""
    return int(value[:12]) if value is not None and value.isdigit() else None


def _shown(value: bytes) -> str:
    return value[:20].decode("ascii", "replace")
