"""SIP requests and responses, parsed lazily from bytes and edited by splicing: RFC 3261 §7, §8.1.1, §8.2.6.

A parsed message keeps its header lines as they came. Edits touch only the lines they name, so whatever a
proxy does not understand leaves as it arrived, bit for bit. `haproxy.sip.lines` has the methods that
requests and responses share.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

from haproxy.sip import header, syntax, uri
from haproxy.sip.layout import LONGEST, Layout, Layouts
from haproxy.sip.lines import Message
from haproxy.sip.status import reason_of
from haproxy.sip.syntax import Fault, ParseError
from haproxy.sip.uri import Uri

__all__ = ["Message", "ParseError", "Request", "Response", "parse"]

_DIALOG_METHODS: Final = (b"INVITE", b"SUBSCRIBE", b"REFER")
_COPIED: Final = frozenset([b"via", b"from", b"to", b"call-id", b"cseq"])
_COPIED_TO_TRYING: Final = _COPIED | {b"timestamp"}
_COPIED_TO_DIALOG: Final = _COPIED | {b"record-route"}
_EMPTY_LINE: Final = b"\r\n\r\n"
_USUAL_STARTS: Final = [start + reason_of(status) for status, start in enumerate(syntax.STATUS_STARTS)]
_DIGITS: Final = [b"%03x" % number for number in range(4096)]
"""Three hexadecimal digits by their number: to look them up is cheaper than to write them."""


class Request(Message):
    """A request."""

    __slots__ = ("_target", "method", "uri")

    _target: Uri | None

    def __init__(
        self,
        method: bytes = b"",
        uri: bytes = b"",
        headers: Iterable[tuple[bytes, bytes]] | None = (),
        body: bytes = b"",
    ) -> None:
        """`headers` None leaves all attributes for the caller to set, as `parse` and `copy` do."""
        if headers is None:
            return
        super().__init__(syntax.request_line(method, uri), headers, body)
        self._target = None
        self.method = method
        """As written; methods are case-sensitive."""
        self.uri = uri
        """The Request-URI as written."""

    @classmethod
    def create(
        cls, method: bytes, uri: bytes, headers: Iterable[tuple[bytes, bytes]], body: bytes = b""
    ) -> Request:
        """A new request of our own, with Max-Forwards (70) and Content-Length unless given (§8.1.1).

        The caller gives From, To, Call-ID and CSeq; `TransactionLayer.request` adds the Via.
        """
        request = cls(method, uri, headers, body)
        if b"max-forwards" not in request:
            request.append(b"Max-Forwards", b"70")
        request.set(b"Content-Length", b"%d" % len(body))
        return request

    @property
    def target(self) -> Uri:
        """The Request-URI in parts. Raises `uri.UriError` for a URI that did not come from `parse`."""
        target = self._target
        if target is None:
            target = self._target = uri.parse(self.uri)
        return target

    def set_uri(self, uri: bytes) -> None:
        """Replace the Request-URI."""
        self._lines[0] = syntax.request_line(self.method, uri)
        self.uri = uri
        self._target = None

    @property
    def is_plain(self) -> bool:
        """Whether steps 2 to 5 of §16.3 find nothing, as far as that is seen at a glance.

        It is for a sip: URI, has a hop left and no Proxy-Require, and its only Via is its sender's.
        """
        layout, lines = self._layout, self._lines
        hops = layout.hops
        return (
            layout.lone
            and self._target is not None
            and self.uri[:4] == b"sip:"
            and (not hops or lines[hops] in syntax.LESS_HOPS)
            and header.COMMA not in lines[layout.via]
        )

    @property
    def course(self) -> bytes:
        """Nine hexadecimal digits that requests share which are routed alike (RFC 5393 §4.2.2).

        Python's own hash, whose key is the process's, is good enough: no loop outlives the process.
        """
        layout, lines = self._layout, self._lines
        route, required = layout.route, layout.index.get(b"proxy-require")
        number = hash(
            (
                self.uri,
                self.from_tag,
                self.to_tag,
                self.call_id,
                self.cseq_number,
                lines[route] if route else None,
                None if required is None else lines[required],
            )
        )
        number &= 0xFFFFFFFFF
        return _DIGITS[number >> 24] + _DIGITS[number >> 12 & 0xFFF] + _DIGITS[number & 0xFFF]

    def response(self, status: int, reason: bytes | None = None, to_tag: bytes | None = None) -> Response:
        """A response to this request (§8.2.6), with Content-Length 0.

        Copies Via, From, To, Call-ID, CSeq; Timestamp into 100; Record-Route into responses that make a
        dialog (§12.1.1). `to_tag` is added to a To that has no tag, except in 100.
        """
        copied = _COPIED_TO_TRYING if status == 100 else _COPIED
        if 100 < status < 300 and self.method in _DIALOG_METHODS:
            copied = _COPIED_TO_DIALOG
        response = Response(0, b"", None)
        response.status = status
        response.reason = reason_of(status) if reason is None else reason
        pick, layout = self._layout.chosen(copied)
        response._lines = [syntax.STATUS_STARTS[status] + response.reason, *pick(self._lines), b"", b""]
        response._layout, response._via, response.body = layout, self._via, b""
        response.call_id, response.cseq_number, response.cseq_method = (
            self.call_id,
            self.cseq_number,
            self.cseq_method,
        )
        response.from_tag, response.to_tag = self.from_tag, self.to_tag
        if to_tag is not None and self.to_tag is None and status != 100:
            response._tag(to_tag)
        response.append(b"Content-Length", b"0")
        return response

    def answered(self, status: int, reason: bytes | None, to_tag: bytes, added: list[bytes]) -> bytes:
        """The bytes of a final response to this request, as `response` would make it, with lines added.

        For answers of which there are many, and which nobody looks at any more.
        """
        pick, layout = self._layout.chosen(_COPIED)
        start = _USUAL_STARTS[status] if reason is None else syntax.STATUS_STARTS[status] + reason
        lines = [start, *pick(self._lines), b"Content-Length: 0", *added, b"\r\n"]
        if self.to_tag is None:
            lines[layout.index[b"to"]] += b";tag=" + to_tag
        return b"\r\n".join(lines)

    def copy(self) -> Request:
        """An independent copy, for forking."""
        twin = Request(b"", b"", None)
        twin.method, twin.uri, twin._target = self.method, self.uri, self._target
        twin._layout, twin._lines, twin._via = self._layout, self._lines.copy(), self._via
        twin.body, twin.call_id = self.body, self.call_id
        twin.cseq_number, twin.cseq_method = self.cseq_number, self.cseq_method
        twin.from_tag, twin.to_tag = self.from_tag, self.to_tag
        return twin


class Response(Message):
    """A response."""

    __slots__ = ("reason", "status")

    def __init__(
        self,
        status: int = 0,
        reason: bytes = b"",
        headers: Iterable[tuple[bytes, bytes]] | None = (),
        body: bytes = b"",
    ) -> None:
        """`headers` None leaves all attributes for the caller to set, as `parse` and `copy` do."""
        if headers is None:
            return
        super().__init__(syntax.STATUS_STARTS[status] + reason, headers, body)
        self.status = status
        """100 to 699."""
        self.reason = reason
        """The reason phrase as written, possibly empty."""

    def set_status(self, status: int, reason: bytes) -> None:
        """Replace status and reason phrase."""
        self._lines[0] = syntax.STATUS_STARTS[status] + reason
        self.status, self.reason = status, reason

    @property
    def retry_after(self) -> int | None:
        """Seconds; comment and parameters left out (§20.33). None where there are none, or nonsense."""
        digits = (self.first(b"retry-after") or b"").partition(b";")[0].partition(b"(")[0].strip()
        return int(digits[:9]) if digits.isdigit() else None

    def _tag(self, to_tag: bytes) -> None:
        position = self._layout.index.get(b"to")
        if position is not None:
            self._lines[position] = self._lines[position].rstrip() + b";tag=" + to_tag
            self.to_tag = to_tag

    def copy(self) -> Response:
        """An independent copy."""
        twin = Response(0, b"", None)
        twin.status, twin.reason = self.status, self.reason
        twin._layout, twin._lines, twin._via = self._layout, self._lines.copy(), self._via
        twin.body, twin.call_id = self.body, self.call_id
        twin.cseq_number, twin.cseq_method = self.cseq_number, self.cseq_method
        twin.from_tag, twin.to_tag = self.from_tag, self.to_tag
        return twin


_layouts: Final = Layouts()
"""A cache: what is forgotten is found out again."""


def parse(data: bytes, end: int = -1) -> Request | Response:
    """Parse one datagram, or one message that framing has cut out of a stream.

    What follows the Content-Length is ignored (RFC 4475 §3.1.1.8). A bare CR or LF in the header ends a
    line, as in RFC 2543, and leaves as CRLF: nobody after us can see other lines than we saw. Raises
    ParseError, and nothing else.

    `end` is where the header ends at the latest. Where the message ends with an empty line, that is tried
    first: if its lines make a layout that is known, there is no empty line in them, and to look for the first
    one takes longer.
    """
    if end < 0:
        end = len(data) - 4
        if data[end:] != _EMPTY_LINE or data[end - 1] == header.LINE_FEED or end > syntax.MAX_HEADER_BYTES:
            end = data.find(_EMPTY_LINE)
    if end <= 0 or end > syntax.MAX_HEADER_BYTES:
        return _parse_unusual(data, end)
    end += 4
    lines = data[:end].splitlines()
    first = lines[0]
    if not first:
        return parse(data.lstrip(b"\r\n"))
    start = syntax.START_LINES[first]
    body = data[end:]
    lines.append(body)
    if len(start) == 3:
        response = Response(0, b"", None)
        response.status, response.reason, lines[0] = start
        response._lines, response.body = lines, body
        return response if _is_known(response, response.status, lines) else _parse_afresh(data, end - 4)
    request = Request(b"", b"", None)
    request.method, request.uri, request._target, fault, lines[0] = start
    request._lines, request.body = lines, body
    if fault is not None or not _is_known(request, request.method, lines):
        return _parse_afresh(data, end - 4)
    fault = syntax.check_request(request)
    if fault is not None:
        raise ParseError(*fault, request)
    return request


def _is_known(message: Message, kind: bytes | int, lines: list[bytes]) -> bool:
    """Whether a message has a layout that is known, and in its lines is what every message must have."""
    count = len(lines)
    known = _layouts.known[count].get(kind) if count < LONGEST else None
    if known is not None:
        for layout in known:
            for place, start, end in layout.others:
                if not start <= lines[place] < end:
                    break
            else:
                if syntax.check(message, layout, lines) is None:
                    message._layout = layout
                    return True
    return False


def _parse_afresh(data: bytes, end: int) -> Request | Response:
    """Parse a message of which nothing is known."""
    earlier = data.find(_EMPTY_LINE)
    if earlier < end:
        return parse(data, earlier)
    lines = data[:end].splitlines()
    if len(lines) > syntax.MAX_LINES:
        return _parse_unusual(data, end)
    start = syntax.START_LINES[lines[0]]
    if len(start) == 3:
        return _parse_response(start, lines, data[end + 4 :])
    request = Request(b"", b"", None)
    request.method, request.uri, request._target, line_fault, lines[0] = start
    header_fault = _read_header(request, request.method, lines, data[end + 4 :])
    fault = line_fault or header_fault or syntax.check_request(request)
    if fault is not None:
        request._derive()
        raise ParseError(*fault, request)
    return request


def _parse_response(start: syntax.StatusLine, lines: list[bytes], body: bytes) -> Response:
    response = Response(0, b"", None)
    response.status, response.reason, lines[0] = start
    fault = _read_header(response, response.status, lines, body)
    if fault is not None:
        raise ParseError(None, f"response dropped: {fault[1]}")
    return response


def _read_header(message: Message, kind: bytes | int, lines: list[bytes], body: bytes) -> Fault | None:
    """Index the header lines, and check what every message must have."""
    keys, joined, fault = syntax.index(lines[1:])
    layout = Layout(keys)
    message._layout, message._lines = layout, [lines[0], *joined, b"", body]
    message._via, message.body = None, body
    fault = fault or syntax.missing(layout) or syntax.check(message, layout, message._lines)
    # A method that nobody knows is of no phone that comes again.
    usual = isinstance(kind, int) or kind in syntax.METHODS
    if fault is None and usual and len(joined) == len(lines) - 1:
        _layouts.keep(kind, joined, layout)
    return fault


def _parse_unusual(data: bytes, end: int) -> Request | Response:
    """A header that is unfinished, too long or of too many lines: a request is refused.

    A response brings back the Via and Record-Route lines of a request that was not too long yet, and what
    hops behind us have added: it may be longer.
    """
    if data[:1] in (b"\r", b"\n"):
        return parse(data.lstrip(b"\r\n"))
    if data[3:4] == b"/" and data[:3].upper() == b"SIP":
        lines = data[:end].splitlines() if 0 <= end <= syntax.MAX_MESSAGE_BYTES else []
        if not 0 < len(lines) <= syntax.MAX_RESPONSE_LINES:
            raise ParseError(None, "response whose header is unfinished or too large")
        start = syntax.START_LINES[lines[0]]
        assert len(start) == 3
        return _parse_response(start, lines, data[end + 4 :])
    excerpt = _excerpt(data if end < 0 else data[:end])
    try:
        message: Message | None = parse(excerpt + b"\r\n\r\n") if excerpt else None
    except ParseError as error:
        if error.status is None:
            raise
        message = error.message
    if message is None:
        raise ParseError(None, "nothing but line ends")
    if 0 <= end <= syntax.MAX_HEADER_BYTES:
        raise ParseError(400, "Too Many Header Lines", message)
    if end < 0 and len(data) <= syntax.MAX_HEADER_BYTES:
        raise ParseError(400, "No Empty Line After The Header", message)
    raise ParseError(513, "Header Too Large", message)


_copied_line: Final = re.compile(
    rb"(?:\r\n|\r|\n)((?i:via|v|from|f|to|t|call-id|i|cseq)[ \t]*:[^\r\n]*+(?:(?:\r\n|\r|\n)[ \t][^\r\n]*+)*)"
)


def _excerpt(head: bytes) -> bytes:
    """The start line and what a refusal has to copy (§8.2.6.2), as much as a request may have.

    Via comes last: a sender can do with fewer of these, who has sent so many.
    """
    start = re.split(rb"[\r\n]", head, maxsplit=1)[0]
    found = sorted(_copied_line.findall(head), key=_is_via)
    kept = b"\r\n".join([start, *found[: syntax.MAX_HEADERS]])
    if len(kept) <= syntax.MAX_HEADER_BYTES:
        return kept
    kept = kept[: syntax.MAX_HEADER_BYTES]
    return kept[: max(kept.rfind(b"\r\n"), len(start))]


def _is_via(line: bytes) -> bool:
    return line[:1] in b"Vv"
