"""The request that opens a WebSocket."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtlib.upgrade import UpgradeRefused, answer_request

HEADERS = {
    "Host": "server.example.com",
    "Upgrade": "websocket",
    "Connection": "Upgrade",
    "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
    "Sec-WebSocket-Protocol": "chat, superchat",
    "Sec-WebSocket-Version": "13",
}


def request(line: str = "GET /chat HTTP/1.1", **changes: str | None) -> bytes:
    """A request without its empty line; an underscore stands for a dash, None leaves the header out."""
    named = {name.replace("_", "-"): value for name, value in changes.items()}
    headers = {**HEADERS, **named}
    return "\r\n".join(
        [line, *(f"{name}: {value}" for name, value in headers.items() if value is not None)]
    ).encode()


def test_the_example_of_the_rfc() -> None:
    """RFC 6455 section 1.3."""
    answer = answer_request(request(), b"chat", b"test")
    assert answer.startswith(b"HTTP/1.1 101 Switching Protocols\r\n") and answer.endswith(b"\r\n\r\n")
    assert b"\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n" in answer
    assert b"\r\nSec-WebSocket-Protocol: chat\r\n" in answer


def test_names_and_values_as_browsers_write_them() -> None:
    data = request(Connection="keep-alive, Upgrade", Upgrade="WebSocket", Sec_WebSocket_Protocol="x")
    data += b"\r\nSEC-websocket-PROTOCOL:chat\r\nOrigin: null\r\nSec-WebSocket-Extensions: permessage-deflate"
    assert b"Extensions" not in answer_request(data, b"chat", b"test")


@pytest.mark.parametrize(
    ("data", "status", "reason"),
    [
        (b"", 400, "no|not an HTTP"),
        (b"\x16\x03\x01", 400, "not an HTTP"),
        (request("POST / HTTP/1.1"), 405, "GET"),
        (request("GET / HTTP/1.0"), 400, "HTTP/1.1"),
        (request("GET / FTP/1.1"), 400, "not an HTTP"),
        (request(Host=None), 400, "Host"),
        (request(Upgrade=None), 426, "WebSocket"),
        (request(Upgrade="h2c"), 426, "WebSocket"),
        (request(Connection="close"), 400, "Connection"),
        (request(Sec_WebSocket_Version="8"), 426, "version 13"),
        (request(Sec_WebSocket_Version=None), 426, "version 13"),
        (request(Sec_WebSocket_Key=None), 400, "Key"),
        (request(Sec_WebSocket_Key="c2hvcnQ="), 400, "Key"),
        (request(Sec_WebSocket_Key="é" * 24), 400, "Key"),
        (request() + b"\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==", 400, "Key"),
        (request(Sec_WebSocket_Protocol="soup"), 400, "subprotocol chat"),
        (request(Sec_WebSocket_Protocol=None), 400, "subprotocol chat"),
        (request() + b"\r\nno colon", 400, "header line"),
        (request() + b"\r\n: no name", 400, "header line"),
        (request() + b"\r\nX : space", 400, "header line"),
    ],
)
def test_requests_that_are_refused(data: bytes, status: int, reason: str) -> None:
    with pytest.raises(UpgradeRefused, match=reason) as refused:
        answer_request(data, b"chat", b"test")
    assert refused.value.status == status
    head, _, body = refused.value.answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 %d " % status) and b"\r\nContent-Length: %d\r\n" % len(body) in head
    assert (b"Sec-WebSocket-Version: 13" in head) is (status == 426)


@given(st.binary(max_size=300))
def test_any_bytes_are_answered_or_refused(data: bytes) -> None:
    for head in (data, request() + b"\r\n" + data):
        try:
            assert answer_request(head, b"chat", b"test").startswith(b"HTTP/1.1 101")
        except UpgradeRefused as refused:
            assert refused.answer.startswith(b"HTTP/1.1 4")
