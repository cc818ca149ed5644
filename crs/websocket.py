"""A client's connection: TLS-PSK, then a WebSocket (RFC 6455) with the subprotocol crs.v1.

Everything else sees a `Connection` and is told of it through a `Receiver` (`crs.connection`). `crs.gate`
accepts the sockets, waits for them and calls what is here: `ready` when there is something to read, `flush`
when something can be sent, `expire` when its time is up.
"""

from __future__ import annotations

import socket
import struct
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from enum import IntEnum
from typing import Final, Protocol

from crs.connection import Receiver
from crs.identity import Identity, parse
from crs.keepalive import KeepAlive, Watch, probe
from crs.limits import LimitTable
from crs.rules import Rules
from crs.signaling.message import MAX_MESSAGE, SUBPROTOCOL
from rtlib.pskstream import PskStream, StreamError
from rtlib.upgrade import MAX_REQUEST, UpgradeRefused, answer_request
from rtlib.websocket import (
    BINARY,
    CLOSE,
    CLOSE_NORMAL,
    CLOSE_TOO_BIG,
    CLOSE_UNSUPPORTED,
    PING,
    PONG,
    TEXT,
    Decoder,
    close_payload,
    header,
)
from rtlib.wheel import Entry, Wheel

CLOSE_TIME: Final = 1.0
"""Seconds that a client has to answer a close."""

_PROTOCOL: Final = SUBPROTOCOL.encode()
_SERVER: Final = b"crs"
_HEADERS: Final = tuple(header(BINARY, size) for size in range(126))
_RESET: Final = struct.pack("ii", 1, 0)
"""SO_LINGER: what has not been sent is dropped, and the peer is told by RST."""


class State(IntEnum):
    """How far a connection is. Frames are read while it is open or closing."""

    tls = 0
    request = 1
    open = 2
    closing = 3
    """We have said goodbye, and wait for the client's answer."""
    ending = 4
    """All is said: what still comes is thrown away until the client's end, or a second is over."""
    gone = 5


class Gate(Protocol):
    """What a connection needs of whoever has accepted it."""

    receiver: Receiver
    limits: LimitTable
    keep_alive: Rules[KeepAlive]
    handshakes: Counter[str]
    alarms: Wheel[ClientSocket]
    now: float
    """Seconds of the alarms' clock, as of this turn."""
    told: Callable[[ClientSocket, str], None]
    """Hears of the states connected, authenticated, negotiated and closed."""

    def to_flush(self, client: ClientSocket) -> None:
        """Call the connection's `flush` soon, once for all that is sent until then."""

    def watch(self, client: ClientSocket, *, writing: bool) -> None:
        """Call `flush` when the socket takes data again, or do so no longer."""

    def forget(self, client: ClientSocket) -> None:
        """The connection is over, its descriptor about to be closed."""


class ClientSocket:
    """A `Connection`, from its first byte to its last. Thousands of them wait: every attribute counts."""

    __slots__ = (
        "_alarm",
        "_blocked",
        "_decoder",
        "_gate",
        "_identity",
        "_limits",
        "_place",
        "_request",
        "_socket",
        "_state",
        "_stream",
        "_told_open",
        "_unsent",
        "_waiting",
        "_watch",
        "host",
        "number",
        "port",
    )

    def __init__(
        self,
        gate: Gate,
        sock: socket.socket,
        stream: PskStream,
        *,
        address: tuple[str, int],
        place: str,
        number: int,
    ) -> None:
        """`place`: what of the address counts for limits."""
        self.host, self.port = address
        self.number = number
        """Never used twice."""
        self._gate = gate
        self._socket = sock
        self._stream = stream
        self._state = State.tls
        self._identity: Identity | None = None
        self._request = b""
        self._decoder: Decoder | None = None
        self._limits = gate.limits.general
        self._watch: Watch | None = None
        self._waiting: list[bytes] = []
        self._unsent = 0
        self._blocked = False
        self._told_open = False
        self._place = place
        gate.handshakes[place] += 1
        self._alarm: Entry[ClientSocket] | None = gate.alarms.schedule(
            self, gate.now + gate.limits.general.handshake_time
        )
        gate.told(self, "connected")

    @property
    def identity(self) -> Identity:
        """Who the client has proven to be."""
        assert self._identity is not None
        return self._identity

    @property
    def psk_identity(self) -> bytes:
        """How the client has named itself and its key in the TLS handshake."""
        return self._stream.identity

    @property
    def known(self) -> Identity | None:
        """Who the client has proven to be; None as long as that is open, and for who is no client."""
        return self._identity

    @property
    def descriptor(self) -> int:
        """The socket's."""
        return self._socket.fileno()

    def send(self, data: bytes) -> None:
        """Send one message; a client that lets too much of them wait is cut off."""
        if self._state is not State.open:
            return
        size = len(data)
        self._unsent += size
        if self._unsent > self._limits.outgoing_buffer and not self._has_room():
            return
        if not self._waiting:
            self._gate.to_flush(self)
        self._waiting.append(_HEADERS[size] if size < 126 else header(BINARY, size))
        self._waiting.append(data)

    def close(self, code: int, reason: str) -> None:
        """Close with this code, after what was sent before."""
        if self._state is State.open:
            self._say(CLOSE, close_payload(code, reason))
            self._enter(State.closing, CLOSE_TIME)

    def ready(self) -> None:
        """There is something to read, or the client is gone."""
        try:
            if self._state is State.tls and not self._shake_hands():
                return
            data = self._stream.read()
        except StreamError as error:
            self._lost(str(error))
            return
        if data is None:
            return
        if self._watch is not None:
            due = self._watch.heard(self._gate.now)
            if due is not None and self._state is State.open:
                self._set_alarm(due)
        if not data:
            self._lost("the client closed the connection")
        elif self._state is State.open or self._state is State.closing:
            self._read(data)
        elif self._state is State.request:
            self._read_request(data)

    def flush(self) -> None:
        """Send what waits, as far as the socket takes it."""
        if self._state is State.gone or not self._waiting:
            return
        data = b"".join(self._waiting)
        try:
            sent = self._stream.write(data)
        except StreamError as error:
            self._lost(str(error))
            return
        if sent < len(data):
            self._waiting = [data[sent:]]
            self._unsent = len(data) - sent
        else:
            self._waiting.clear()
            self._unsent = 0
            if self._state is State.ending:
                self._end()
        self._block(bool(self._waiting))

    def expire(self) -> None:
        """The time that was set is over."""
        if self._state is State.open and self._watch is not None:
            self._check_silence(self._watch)
            return
        if self._state <= State.request:
            self._gate.limits.reached["handshake-time"] += 1
            limit = self._gate.limits.general.handshake_time
            self._end_handshake("handshake too slow", f"not done after {limit} s")
        self.cut()

    def cut(self) -> None:
        """End this connection here and now."""
        if self._state is not State.gone:
            with suppress(OSError):
                self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            self._lost("cut off")

    def _shake_hands(self) -> bool:
        """Go on with TLS; True when it is done."""
        if not self._stream.handshake():
            return False
        with suppress(ValueError):
            self._identity = parse(self._stream.identity)
        self._state = State.request
        self._gate.told(self, "authenticated")
        return True

    def _read_request(self, data: bytes) -> None:
        """Bytes of the HTTP request that opens the WebSocket."""
        self._request += data
        head, end, rest = self._request.partition(b"\r\n\r\n")
        if len(head) > MAX_REQUEST:
            self._end_handshake("HTTP request too long", f"more than {MAX_REQUEST} bytes")
            self.cut()
        elif end:
            self._request = b""
            try:
                if self._identity is None:
                    raise UpgradeRefused(403, "only clients may connect here")
                answer = answer_request(head, _PROTOCOL, _SERVER)
            except UpgradeRefused as refusal:
                self._end_handshake("bad HTTP request", str(refusal))
                self._put(refusal.answer)
                self._enter(State.ending, CLOSE_TIME)
                return
            self._open(answer, rest)

    def _open(self, answer: bytes, rest: bytes) -> None:
        """Both handshakes are done."""
        gate = self._gate
        self._end_handshake()
        self._limits = gate.limits.of(self.identity.account)
        self._decoder = Decoder(min(self._limits.message_size, MAX_MESSAGE))
        self._keep_alive(gate.keep_alive.find(self.identity, self.host) or _DEFAULT)
        self._state = State.open
        self._told_open = True
        self._put(answer)
        gate.told(self, "negotiated")
        gate.receiver.opened(self)
        if rest:
            self._read(rest)

    def _read(self, data: bytes) -> None:
        """Bytes of frames."""
        decoder = self._decoder
        assert decoder is not None
        for opcode, payload in decoder.receive(data):
            if opcode == CLOSE and self._state < State.ending:
                self._goodbye(payload)
            elif self._state is not State.open:
                continue
            elif opcode == BINARY:
                self._gate.receiver.received(self, payload)
            elif opcode == PING and not self._blocked:
                # Who lets the answers pile up gets none.
                self._say(PONG, payload)
            elif opcode == TEXT:
                self._fail("text message", CLOSE_UNSUPPORTED, "binary messages only")
        if decoder.problem is not None and self._state < State.ending:
            if decoder.problem.code == CLOSE_TOO_BIG:
                self._gate.limits.reached["message-size"] += 1
            self._fail("bad WebSocket frame", *decoder.problem)

    def _fail(self, kind: str, code: int, reason: str) -> None:
        """Close for what the client did; nothing that it sends counts any more (section 7.1.7)."""
        self._offend(kind, reason)
        if self._state is State.open:
            self._say(CLOSE, close_payload(code, reason))
        self._tell_closed()
        self._enter(State.ending, CLOSE_TIME)

    def _goodbye(self, payload: bytes) -> None:
        """The client says goodbye, or answers ours."""
        if self._state is State.open:
            code = payload[:2]
            self._say(CLOSE, code or close_payload(CLOSE_NORMAL, ""))
        self._tell_closed()
        self._enter(State.ending, CLOSE_TIME)

    def _keep_alive(self, policy: KeepAlive) -> None:
        if policy.method == "ws":
            now = self._gate.now
            self._watch = Watch(policy, now)
            self._set_alarm(now + policy.interval)
            return
        self._clear_alarm()
        # A socket that takes no options any more is lost already, which we are told next.
        with suppress(OSError):
            probe(self._socket, policy)

    def _check_silence(self, watch: Watch) -> None:
        """The time is over that a client may be silent, or may take to answer our ping."""
        found = watch.look(self._gate.now)
        if found is None:
            # TCP would go on trying for a quarter of an hour.
            self.cut()
            return
        ask, due = found
        self._set_alarm(due)
        if ask:
            self._say(PING, b"")

    def _say(self, opcode: int, payload: bytes) -> None:
        self._put(header(opcode, len(payload)) + payload)

    def _put(self, data: bytes) -> None:
        if not self._waiting:
            self._gate.to_flush(self)
        self._waiting.append(data)

    def _has_room(self) -> bool:
        """Whether the client takes what waits; who does not read is cut off."""
        self.flush()
        most = self._limits.outgoing_buffer
        if self._state is State.open and self._unsent > most:
            self._gate.limits.reached["outgoing-buffer"] += 1
            self._offend("does not read", f"{most} bytes wait to be sent")
            self.cut()
        return self._state is State.open

    def _block(self, blocked: bool) -> None:
        if self._blocked is not blocked:
            self._blocked = blocked
            if self._state is not State.gone:
                self._gate.watch(self, writing=blocked)

    def _enter(self, state: State, seconds: float) -> None:
        self._state = state
        self._set_alarm(self._gate.now + seconds)
        if state is State.ending and not self._waiting:
            self._end()

    def _set_alarm(self, when: float) -> None:
        self._clear_alarm()
        self._alarm = self._gate.alarms.schedule(self, when)

    def _clear_alarm(self) -> None:
        """Without the entry, which names us, a lost connection is no garbage for the resting collector."""
        if self._alarm is not None:
            self._alarm.cancel()
            self._alarm = None

    def _end(self) -> None:
        """Close our direction: the client reads what was sent, and then its end."""
        self._stream.end()
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_WR)

    def _lost(self, reason: str) -> None:
        """The connection is over, opened or not."""
        if self._state <= State.request:
            self._end_handshake("handshake failed", reason)
        self._state = State.gone
        self._clear_alarm()
        self._waiting.clear()
        self._gate.forget(self)
        self._stream.free()
        self._socket.close()
        self._tell_closed()
        self._gate.told(self, "closed")

    def _tell_closed(self) -> None:
        if self._told_open:
            self._told_open = False
            self._gate.receiver.closed(self)

    def _end_handshake(self, kind: str = "", reason: str = "") -> None:
        """The handshake is over, and has failed if `kind` says how."""
        handshakes = self._gate.handshakes
        handshakes[self._place] -= 1
        if not handshakes[self._place]:
            del handshakes[self._place]
        if self._state is State.tls or self._state is State.request:
            self._state = State.ending
        if kind:
            self._offend(kind, reason)

    def _offend(self, kind: str, reason: str) -> None:
        self._gate.receiver.offended(kind, self.host, reason)


_DEFAULT: Final = KeepAlive()
