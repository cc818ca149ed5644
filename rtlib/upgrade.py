"""The HTTP request that opens a WebSocket, and its answers (RFC 6455 section 4.2). Sans-IO."""

from __future__ import annotations

import hashlib
from base64 import b64decode, b64encode
from typing import Final

MAX_REQUEST: Final = 8192
"""Bytes of a request, all its headers included."""

_GUID: Final = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_STATUS: Final = {400: "Bad Request", 403: "Forbidden", 405: "Method Not Allowed", 426: "Upgrade Required"}
_EXTRA: Final = {405: "Allow: GET\r\n", 426: "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"}


class UpgradeRefused(Exception):
    """The request is not what opens this WebSocket: `status` of HTTP, and the reason in a sentence."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status

    @property
    def answer(self) -> bytes:
        """The HTTP response; the connection ends after it."""
        body = f"{self}\n"
        return (
            f"HTTP/1.1 {self.status} {_STATUS[self.status]}\r\n{_EXTRA.get(self.status, '')}"
            f"Content-Type: text/plain\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n{body}"
        ).encode()


def answer_request(head: bytes, subprotocol: bytes, server: bytes) -> bytes:
    """The response that accepts a request, which is given without the empty line at its end.

    Raises UpgradeRefused.
    """
    lines = head.split(b"\r\n")
    words = lines[0].split(b" ")
    if len(words) != 3 or not words[2].startswith(b"HTTP/1."):
        raise UpgradeRefused(400, "this is not an HTTP request")
    if words[0] != b"GET":
        raise UpgradeRefused(405, "a WebSocket is opened by GET")
    if words[2] == b"HTTP/1.0":
        raise UpgradeRefused(400, "a WebSocket needs HTTP/1.1")
    headers = _headers(lines[1:])
    key = _key(headers)
    if subprotocol not in _list(headers.get(b"sec-websocket-protocol", b"")):
        raise UpgradeRefused(400, f"the subprotocol {subprotocol.decode()} is required")
    return (
        b"HTTP/1.1 101 Switching Protocols\r\nServer: %b\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Protocol: %b\r\nSec-WebSocket-Accept: %b\r\n\r\n"
    ) % (server, subprotocol, b64encode(hashlib.sha1(key + _GUID, usedforsecurity=False).digest()))


def _headers(lines: list[bytes]) -> dict[bytes, bytes]:
    """Values by name in lower case, those of one name in one list. Raises UpgradeRefused."""
    headers: dict[bytes, bytes] = {}
    for line in lines:
        name, colon, value = line.partition(b":")
        if not colon or not name or name != name.strip():
            raise UpgradeRefused(400, "a header line without a name")
        name, value = name.lower(), value.strip()
        headers[name] = headers[name] + b", " + value if name in headers else value
    return headers


def _key(headers: dict[bytes, bytes]) -> bytes:
    """The client's nonce, once all is there that makes this a handshake. Raises UpgradeRefused."""
    if not headers.get(b"host"):
        raise UpgradeRefused(400, "the Host header is missing")
    if b"websocket" not in _list(headers.get(b"upgrade", b"").lower()):
        raise UpgradeRefused(426, "only WebSockets are served here")
    if b"upgrade" not in _list(headers.get(b"connection", b"").lower()):
        raise UpgradeRefused(400, "the Connection header does not ask for the upgrade")
    if headers.get(b"sec-websocket-version") != b"13":
        raise UpgradeRefused(426, "only version 13 of WebSocket is served here")
    key = headers.get(b"sec-websocket-key", b"")
    try:
        nonce = b64decode(key, validate=True)
    except ValueError:
        nonce = b""
    if len(nonce) != 16:
        raise UpgradeRefused(400, "Sec-WebSocket-Key is not 16 bytes in base64")
    return key


def _list(value: bytes) -> list[bytes]:
    return [word.strip() for word in value.split(b",")]
