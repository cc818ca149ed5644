"""What a message must look like to be processed at all: RFC 3261 §7, §8.1.1, §16.3 item 1; RFC 4475 §3.

The checks are for what transactions and proxies stand on: start line, Via, From, To, Call-ID, CSeq,
Max-Forwards, Content-Length, and the Contact of a REGISTER. Everything else is forwarded unread.
Start lines are taken strictly (RFC 4475 lwsstart, trws: 400); addresses as `haproxy.sip.address` says.
"""

from __future__ import annotations

import re
import sys
from typing import TYPE_CHECKING, Final, TypeAlias

from haproxy.sip import address, header, uri, via
from haproxy.sip.cache import Kept, kept
from haproxy.sip.layout import NEEDED
from haproxy.sip.uri import Uri
from haproxy.sip.via import Via

if TYPE_CHECKING:
    from haproxy.sip.layout import Layout
    from haproxy.sip.lines import Message
    from haproxy.sip.message import Request

MAX_HEADER_BYTES: Final = 32 * 1024
"""Longest start line and header of a request together; a response's may be as long as a message."""

MAX_MESSAGE_BYTES: Final = 64 * 1024
"""Longest message."""

MAX_HEADERS: Final = 512
"""Most header lines of a request."""

MAX_LINES: Final = 1 + MAX_HEADERS
"""The same with the start line."""

MAX_RESPONSE_LINES: Final = 2 * MAX_LINES
"""As many lines may a response have: see `message._parse_unusual`."""

MAX_CSEQ: Final = 2**31 - 1

Fault: TypeAlias = tuple[int, str]
"""Status code and reason phrase that a malformed request gets."""

RequestLine: TypeAlias = tuple[bytes, bytes, Uri | None, Fault | None, bytes]
"""Method, URI as written and, where it is well-formed, in parts; what is wrong with the line, and how we
write it.
"""

StatusLine: TypeAlias = tuple[int, bytes, bytes]
"""Status and reason phrase; how we write the line."""

StartLine: TypeAlias = RequestLine | StatusLine

METHODS: Final = frozenset(
    b"INVITE ACK BYE CANCEL REGISTER OPTIONS INFO PRACK UPDATE SUBSCRIBE NOTIFY REFER MESSAGE PUBLISH".split()
)
_TOKEN: Final = re.compile(header.TOKEN)
_VERSION: Final = re.compile(rb"(?i:SIP)/[0-9]+\.[0-9]+")
_STATUS_LINE: Final = re.compile(rb"(?i:SIP)/2\.0 ([1-6][0-9][0-9])(?: ([^\r\n]*+))?")
STATUS_STARTS: Final = [b"SIP/2.0 %d " % status for status in range(700)]
"""Status lines up to the reason phrase, by status."""

_STATUSES: Final = {STATUS_STARTS[status]: status for status in range(100, 700)}
HOPS_LINES: Final = tuple(b"Max-Forwards: %d" % hops for hops in range(256))
"""Max-Forwards as nearly everybody writes it, by what it says."""

USUAL_HOPS: Final = {line: hops for hops, line in enumerate(HOPS_LINES)}
"""What such a line says."""

LESS_HOPS: Final = dict(zip(HOPS_LINES[1:], HOPS_LINES, strict=False))
"""Such a line, and what it becomes when a hop is taken."""

USUAL_LENGTHS: Final = {b"Content-Length: %d" % length: length for length in range(2048)}
"""Content-Length as nearly everybody writes it, by line."""

_PLAIN_ADDRESS: Final = re.compile(
    rb'([A-Za-z]++):[ \t]*+(?:"[^"\\]*+"[ \t]*+|[^"<>;]*+)<[A-Za-z][A-Za-z0-9+.-]*+:[^\s<>"]++>'
)


_URI_BYTES: Final = header.TOKEN_BYTES + b"@:;=?&$,/[]()"
"""What may stand in a plain address between its scheme and its end."""

_PLAIN_CONTACT: Final = re.compile(
    rb'(?:Contact|m): ?(?:"[^"\\]*+" ?)?<[a-z]++:[^\s<>"]++>(?:;[\w.-]++(?:=(?:[\w.:+-]++|"[^"\\]*+"))?)*'
)
"""One Contact as user agents write it. What is written otherwise is parsed."""

_CONTACT: Final = frozenset([b"contact"])


class ParseError(ValueError):
    """A message that must not be processed.

    `status` is what a request gets as answer; None means that the message is to be dropped in silence.
    `reason` names the fault. `message` is the request as far as it could be read, to build the answer from.
    """

    def __init__(self, status: int | None, reason: str, message: Message | None = None) -> None:
        super().__init__(reason)
        self.status = status
        self.reason = reason
        self.message = message


def display(key: bytes) -> str:
    """A header's key as people write the name."""
    return header.DISPLAY.get(key, key).decode("ascii", "replace")


def _start_line(line: bytes) -> StartLine:
    """Raises ParseError(None) where it is not SIP at all, and for a status line that is malformed."""
    return _status_line(line) if line[3:4] == b"/" and line[:3].upper() == b"SIP" else _request_line(line)


def _status_line(line: bytes) -> StatusLine:
    status = _STATUSES.get(line[:12])
    if status is not None:
        return status, line[12:], line
    match = _STATUS_LINE.fullmatch(line)
    if match is None:
        raise ParseError(None, "malformed status line")
    status, reason = int(match[1]), match[2] or b""
    return status, reason, STATUS_STARTS[status] + reason


def _request_line(line: bytes) -> RequestLine:
    parts = line.split(b" ")
    if len(parts) != 3:
        return _odd_request_line(line)
    method, target, version = parts
    if version != b"SIP/2.0" and version.upper() != b"SIP/2.0":
        if not _VERSION.fullmatch(version):
            raise ParseError(None, "not a SIP message")
        return method, target, None, (505, "Version Not Supported"), request_line(method, target)
    if method not in METHODS and not _TOKEN.fullmatch(method):
        raise ParseError(None, "malformed method")
    if version != b"SIP/2.0":
        line = request_line(method, target)
    try:
        parsed = uri.parse(target)
    except uri.UriError as error:
        return method, target, None, (400, f"Malformed Request-URI: {error}"), line
    if parsed.headers:
        return method, target, None, (400, "Headers In The Request-URI"), line
    return method, target, parsed, None, line


def request_line(method: bytes, target: bytes) -> bytes:
    """The first line of a request."""
    return b"%b %b SIP/2.0" % (method, target)


def _odd_request_line(line: bytes) -> RequestLine:
    words = line.split()
    if len(words) < 3 or not _VERSION.fullmatch(words[-1]) or not _TOKEN.fullmatch(words[0]):
        raise ParseError(None, "not a SIP message")
    target = b" ".join(words[1:-1])
    fault = 400, "Extra White Space In The Request Line"
    return words[0], target, None, fault, request_line(words[0], target)


START_LINES: Final = kept("start lines", _start_line)
"""What the first line of a message says: three things of a response, five of a request."""


def index(lines: list[bytes]) -> tuple[tuple[bytes, ...], list[bytes], Fault | None]:
    """Sort out header lines: their keys, b"" for a malformed one; the lines, unbroken; what is wrong."""
    joined: list[bytes] = []
    for line in lines:
        if line[:1] in (b" ", b"\t") and joined:
            joined[-1] += b"\r\n" + line
        else:
            joined.append(line)
    keys: list[bytes] = []
    seen: set[bytes] = set()
    fault: Fault | None = None
    for line in joined:
        name, colon, _ = line.partition(b":")
        key = header.key_of(name) if colon else None
        if key is None:
            fault = fault or (400, "Malformed Header Line")
        elif key in seen and key in header.SINGLE:
            fault = fault or (400, f"More Than One {display(key)} Header")
        keys.append(key or b"")
        seen.add(key or b"")
    return tuple(keys), joined, fault


def top_via(line: bytes) -> Via:
    """The first value of a Via line. Raises ParseError with status 400."""
    try:
        return via.of_line(line)
    except via.ViaError as error:
        raise ParseError(400, f"{error}") from None


def _cseq(line: bytes) -> tuple[int, bytes] | None:
    words = _value(line, b"cseq").split()
    if len(words) != 2 or len(words[0]) > 64 or not words[0].isdigit():
        return None
    number, method = int(words[0]), words[1]
    if number > MAX_CSEQ or (method not in METHODS and not _TOKEN.fullmatch(method)):
        return None
    return number, method


CSEQS: Final = kept("CSeq", _cseq, 1024)
"""Number and method of a CSeq line; None where it is no such line, malformed or out of range."""


def _from_tag(line: bytes) -> bytes | None:
    return _tag(line, b"from")


def _to_tag(line: bytes) -> bytes | None:
    return _tag(line, b"to")


def _tag(line: bytes, key: bytes) -> bytes | None:
    """Most lines are told at a glance. Of others, what stands before the tag is kept: a user's calls have it.

    Where users are many, none of their lines is kept any more when it comes again.
    """
    front, mark, found = line.rpartition(b";tag=")
    if not mark:
        front = line
    name, _, rest = front.partition(b": <sip:")
    at_a_glance = rest[-1:] == b">" and not rest[:-1].strip(_URI_BYTES) and header.KNOWN.get(name) == key
    if at_a_glance or _plain[front] == key:
        if not mark:
            return None
        if found and (found.isalnum() or not found.strip(header.TOKEN_BYTES)):
            return found
    return address.parse(header.unfold(_value(line, key))).tag


FROM_TAGS: Final = kept("From tags", _from_tag, 4096)
"""The tag of a From line, None where it has none. Raises AddressError where it is malformed, or no such line.

All messages of a call have the same lines, but for the first ones, whose To has no tag yet.
"""

TO_TAGS: Final = kept("To tags", _to_tag, 4096)
"""The same of a To line."""


def _plain_key(line: bytes) -> bytes | None:
    match = _PLAIN_ADDRESS.fullmatch(line)
    return None if match is None else header.key_of(match[1])


_plain: Final = kept("From and To", _plain_key)
"""The key of a line with an address as user agents write it; None of others."""


def tag_or_none(tags: Kept[bytes, bytes | None], line: bytes) -> bytes | None:
    """As `FROM_TAGS` or `TO_TAGS` say, None also for what is malformed."""
    try:
        return tags[line]
    except address.AddressError:
        return None


def _is_well_formed(line: bytes, key: bytes) -> bool:
    try:
        _tag(line, key)
    except address.AddressError:
        return False
    return True


def less_hops(line: bytes) -> bytes:
    """A Max-Forwards line in an unusual form, with a hop less; 0 stays."""
    return HOPS_LINES[max(0, int(_value(line, b"max-forwards")) - 1)]


def missing(layout: Layout) -> Fault | None:
    """What every message must have is there."""
    if layout.complete:
        return None
    return 400, f"Missing {display(next(key for key in NEEDED if key not in layout.index))} Header"


def check(message: Message, layout: Layout, lines: list[bytes]) -> Fault | None:  # noqa: PLR0911 - one call
    """Check what every message must have, filling in the message's attributes, and cut the body to length.

    A line whose name is not what the layout says is taken for malformed. The usual forms are told at a
    glance: that was measured.
    """
    line = lines[layout.call_id]
    call_id = line.removeprefix(b"Call-ID: ")
    call_id = call_id.strip() if call_id is not line else _value(line, b"call-id")
    from_line, to_line = lines[layout.from_], lines[layout.to]
    numbered = CSEQS[lines[layout.cseq]]
    try:
        message._via = via.of_line(lines[layout.via])
        if numbered is not None and numbered[1] == b"REGISTER":
            # Of these each has other lines: to keep them takes longer than to read them.
            message.from_tag, message.to_tag = _tag(from_line, b"from"), _tag(to_line, b"to")
        else:
            message.from_tag, message.to_tag = FROM_TAGS[from_line], TO_TAGS[to_line]
    except via.ViaError as error:
        return 400, f"{error}"
    except address.AddressError:
        return 400, f"Malformed {'To' if _is_well_formed(from_line, b'from') else 'From'} Header"
    if numbered is None:
        return 400, "Malformed CSeq Header"
    if not call_id:
        return 400, "Malformed Call-ID Header"
    message.call_id = call_id
    message.cseq_number, message.cseq_method = numbered
    hops, length = layout.hops, layout.length
    if hops and lines[hops] not in USUAL_HOPS and not _is_count(_value(lines[hops], b"max-forwards"), 255):
        return 400, "Malformed Max-Forwards Header"
    if not length:
        return None
    size = USUAL_LENGTHS.get(lines[length])
    if size is None:
        text = _value(lines[length], b"content-length")
        if not text.isdigit() or (len(text) > 9 and not _is_count(text, sys.maxsize)):
            return 400, "Malformed Content-Length Header"
        size = int(text)
    return None if size == len(message.body) else _cut_body(message, size)


def _value(line: bytes, key: bytes) -> bytes:
    """The value of a line, as long as its name is that of this key; b"" where it is another."""
    name, _, value = line.partition(b":")
    return value.strip() if header.key_of(name) == key else b""


def _cut_body(message: Message, size: int) -> Fault | None:
    if size < len(message.body):
        message._lines[-1] = message.body = message.body[:size]
    elif size > MAX_MESSAGE_BYTES:
        return 513, "Message Too Large"
    elif size > len(message.body):
        return 400, "Body Shorter Than Content-Length"
    return None


def _is_count(text: bytes, largest: int) -> bool:
    return text.isdigit() and len(text) <= 64 and int(text) <= largest


def check_request(request: Request) -> Fault | None:
    """Check what only requests have."""
    if request.cseq_method != request.method:
        return 400, "CSeq Method Differs From Request Method"
    if request.method != b"REGISTER":
        return None
    contacts = request.chosen(_CONTACT)
    if len(contacts) == 1 and _PLAIN_CONTACT.fullmatch(contacts[0]):
        return None
    try:
        request.addresses(b"contact")
    except ParseError as error:
        return 400, f"Malformed {error.reason}"
    return None
