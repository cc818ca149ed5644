"""Sends any bytes to a SIP element over UDP, TCP or TLS, and tells what came back for them."""

from __future__ import annotations

import os
import socket
import ssl
from dataclasses import dataclass, field
from types import TracebackType
from typing import Final

from haproxy.sip.framing import PING, PONG, Framer
from haproxy.sip.message import Request, parse
from haproxy.testing.genproxy import TLS_PORT, own_host
from rtlib.address import join

PATIENCE: Final = 10.0
"""Seconds in which an answer must come; it comes in milliseconds."""


@dataclass(slots=True)
class Outcome:
    """What came back."""

    answers: list[bytes] = field(default_factory=list)
    """Messages as they came: the answer to something malformed may be malformed, too."""
    closed: bool = False
    """The connection was closed by the other end, in order or by a reset."""

    @property
    def statuses(self) -> list[int]:
        """The status codes of the responses, without 100."""
        codes = (int(answer[8:11]) for answer in self.answers if answer.startswith(b"SIP/2.0 "))
        return [code for code in codes if code > 100]


class Sender:
    """One socket to the element at `host`; over TLS it trusts everybody."""

    def __init__(self, host: str, port: int, transport: str, *, own: tuple[str, int] | None = None) -> None:
        """`port` is the one for UDP and TCP; over TLS it is 5061. `own` is what to send from."""
        self._transport = transport
        self._server = host
        self._framer = Framer(pings=True)
        kind = socket.SOCK_DGRAM if transport == "udp" else socket.SOCK_STREAM
        sock = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, kind)
        sock.settimeout(PATIENCE)
        sock.bind(own or (own_host(), 0))
        sock.connect((host, TLS_PORT if transport == "tls" else port))
        if transport == "tls":
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
            sock = context.wrap_socket(sock)
        self.sock = sock

    def __enter__(self) -> Sender:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.sock.close()

    @property
    def address(self) -> str:
        """HOST:PORT that it sends from."""
        return join(*self.sock.getsockname()[:2])

    @property
    def via(self) -> bytes:
        """A Via of its own without a branch."""
        return f"SIP/2.0/{self._transport.upper()} {self.address}".encode()

    def request(self, method: bytes, uri: bytes, *headers: tuple[bytes, bytes], body: bytes = b"") -> Request:
        """A request that is in order, with a new Call-ID."""
        name = os.urandom(8).hex().encode()
        return Request.create(
            method,
            uri,
            [
                (b"Via", self.via + b";branch=z9hG4bK" + name),
                (b"From", f"<sip:sender@{self._server}>;tag=s".encode()),
                (b"To", b"<%b>" % uri),
                (b"Call-ID", name),
                (b"CSeq", b"1 " + method),
                (b"Contact", f"<sip:sender@{self.address};transport={self._transport}>".encode()),
                *headers,
            ],
            body,
        )

    def ask(self, data: bytes) -> Outcome:
        """Send it, with an OPTIONS behind: what comes before the answer to that is the outcome.

        A stream may be closed instead; that is then the outcome.
        """
        probe = self.request(b"OPTIONS", f"sip:{self._server}".encode())
        outcome = Outcome()
        try:
            self._send(data)
            self._send(bytes(probe))
            while True:
                for message in self.receive():
                    if b"\r\nCall-ID: %b\r\n" % probe.call_id in message:
                        return outcome
                    outcome.answers.append(message)
        except TimeoutError:
            raise
        except (ConnectionError, EOFError, ssl.SSLError):
            outcome.closed = True
            return outcome

    def receive(self) -> list[bytes]:
        """The next messages. Raises TimeoutError, or EOFError where the connection is closed."""
        data = self.sock.recv(65536)
        if self._transport == "udp":
            return [data]
        if not data:
            raise EOFError
        return [frame for frame in self._framer.receive(data) if frame not in {PING, PONG}]

    def _send(self, data: bytes) -> None:
        if self._transport == "udp":
            self.sock.send(data)
        else:
            self.sock.sendall(data)


class Sink:
    """A UDP socket that a proxy sends requests to. What is taken gets 100, so that it is not sent again."""

    def __init__(self) -> None:
        self._sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._sock.bind((own_host(), 0))
        self._sock.settimeout(PATIENCE)
        self._taken: set[bytes] = set()
        self._others: list[bytes] = []

    def __enter__(self) -> Sink:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._sock.close()

    @property
    def address(self) -> bytes:
        """HOST:PORT to send to."""
        return join(*self._sock.getsockname()).encode()

    def take(self, call_id: bytes) -> bytes:
        """The request with this Call-ID as it arrived."""
        while True:
            data, source = self._sock.recvfrom(65536)
            request = parse(data)
            found = request.call_id
            if found == call_id and isinstance(request, Request):
                self._taken.add(found)
                self._sock.sendto(bytes(request.response(100)), source)
                return data
            if found not in self._taken:
                self._others.append(data)

    def others(self) -> list[bytes]:
        """What has come that nobody took; that is not for repetitions of what was taken."""
        self._sock.setblocking(False)
        try:
            while True:
                data = self._sock.recv(65536)
                if parse(data).call_id not in self._taken:
                    self._others.append(data)
        except BlockingIOError:
            return self._others
        finally:
            self._sock.settimeout(PATIENCE)
