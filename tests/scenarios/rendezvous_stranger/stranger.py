"""A client that somebody wrote from docs/crs-protocol.md alone, with nothing of this project.

    python stranger.py HOST PORT ACCOUNT SECRET_HEX

TLS is `openssl s_client`, MessagePack a library, all else is here. Two clients exchange a message, call each
other, send packets through the relay, one of them loses its connection and resumes, and they meet in a group.
Each step is named on standard output once it is done; whatever is not as the document says ends the program
with an error.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import select
import socket
import struct
import subprocess
import sys
import time
from base64 import b64encode
from collections import deque
from typing import Any

from msgspec import msgpack

PATIENCE = 30.0


def hkdf(secret: bytes, salt: bytes, info: bytes, size: int) -> bytes:
    """RFC 5869, for at most 32 bytes."""
    pseudo_random = hmac.digest(salt, secret, "sha256")
    return hmac.digest(pseudo_random, info + b"\x01", "sha256")[:size]


class Closed(Exception):
    """The server has closed the connection, with this code."""


class Connection:
    """Section 2: TLS-PSK, and a WebSocket in it."""

    def __init__(self, host: str, port: int, uri: str, account: str, secret: bytes) -> None:
        self.host = host
        key = hkdf(secret, b"crs client key v1", uri.encode(), 32)
        hint = hmac.digest(key, b"crs key hint v1", "sha256")[:4].hex()
        command = ["openssl", "s_client", "-quiet", "-tls1_3", "-connect", f"{host}:{port}"]
        command += ["-psk_identity", f"{uri}@{account}:{hint}", "-psk", key.hex()]
        pipe = subprocess.PIPE
        self._tls = subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=subprocess.DEVNULL, bufsize=0)
        self._unread = b""
        self._upgrade()

    def send(self, data: bytes, opcode: int = 2) -> None:
        """One frame, RFC 6455 section 5.2."""
        size = len(data)
        length = bytes([0x80 | size]) if size < 126 else b"\xfe" + struct.pack(">H", size)
        mask = os.urandom(4)
        masked = bytes(byte ^ mask[place % 4] for place, byte in enumerate(data))
        self._write(bytes([0x80 | opcode]) + length + mask + masked)

    def receive(self) -> bytes:
        """The next message. Raises Closed."""
        message = b""
        while True:
            first, size = self._read(2)
            if size == 126:
                [size] = struct.unpack(">H", self._read(2))
            elif size == 127:
                [size] = struct.unpack(">Q", self._read(8))
            data = self._read(size)
            opcode = first & 15
            if opcode == 8:
                raise Closed(struct.unpack(">H", data[:2])[0] if data else 1005)
            if opcode == 9:
                self.send(data, 10)
            elif opcode in (0, 2):
                message += data
                if first & 0x80:
                    return message

    def cut(self) -> None:
        """The network is gone."""
        self._tls.kill()
        self._tls.communicate()

    def _upgrade(self) -> None:
        key = b64encode(os.urandom(16)).decode()
        lines = (
            "GET / HTTP/1.1",
            f"Host: {self.host}",
            "Upgrade: websocket",
            "Connection: Upgrade",
            "Sec-WebSocket-Version: 13",
            f"Sec-WebSocket-Key: {key}",
            "Sec-WebSocket-Protocol: crs.v1",
        )
        self._write("".join(f"{line}\r\n" for line in (*lines, "")).encode())
        while b"\r\n\r\n" not in self._unread:
            self._fill()
        head, _, self._unread = self._unread.partition(b"\r\n\r\n")
        status, *rest = head.decode().split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in rest)}
        accept = hashlib.sha1(f"{key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11".encode()).digest()
        assert status.split()[1] == "101", head
        assert headers["sec-websocket-accept"] == b64encode(accept).decode()
        assert headers["sec-websocket-protocol"] == "crs.v1"

    def _write(self, data: bytes) -> None:
        assert self._tls.stdin is not None
        self._tls.stdin.write(data)

    def _read(self, size: int) -> bytes:
        while len(self._unread) < size:
            self._fill()
        data, self._unread = self._unread[:size], self._unread[size:]
        return data

    def _fill(self) -> None:
        assert self._tls.stdout is not None
        readable, _, _ = select.select([self._tls.stdout], [], [], PATIENCE)
        assert readable, "nothing comes"
        data = self._tls.stdout.read(65536)
        assert data, "the connection was cut off"
        self._unread += data


class Client:
    """Sections 3 and 4: requests, replies and events of one identity, over one connection after the other."""

    def __init__(self, host: str, port: int, uri: str, account: str, secret: bytes) -> None:
        self._place = (host, port, uri, account, secret)
        self.uri = uri
        self.connection = Connection(*self._place)
        self._id = 0
        self._events: deque[dict[str, Any]] = deque()
        self.token: bytes | None = None
        self.received = 0
        """The server's messages of this attachment so far."""

    def attach(self) -> dict[str, Any]:
        """A new attachment, or the one that was lost."""
        resume = None if self.token is None else {"token": self.token, "received": self.received}
        attached = self.request("attach", version="stranger/1.0", resumable=True, resume=resume)
        if not attached["resumed"]:
            self.received = 0
        self.token = attached["token"]
        return attached

    def come_back(self) -> None:
        """Connect again after the connection was cut, and go on."""
        self.connection = Connection(*self._place)
        assert self.attach()["resumed"] is True

    def request(self, type_: str, /, **entries: Any) -> dict[str, Any]:
        """Send a request and wait for its reply; events are kept."""
        self._id += 1
        self.connection.send(msgpack.encode({"type": type_, "id": self._id, **entries}))
        while True:
            message = self._next()
            if message.get("id") == self._id:
                return message
            assert "id" not in message, message
            self._events.append(message)

    def ask(self, type_: str, /, **entries: Any) -> dict[str, Any]:
        """A request that must not fail."""
        reply = self.request(type_, **entries)
        assert reply["type"] != "error", reply
        return reply

    def event(self, type_: str) -> dict[str, Any]:
        """The next event, which must be of this type."""
        event = self._events.popleft() if self._events else self._next()
        assert event["type"] == type_, event
        return event

    def _next(self) -> dict[str, Any]:
        message: dict[str, Any] = msgpack.decode(self.connection.receive())
        if message["type"] != "attached":
            self.received += 1
        return message


class Leg:
    """Section 7: one party's end of a media stream."""

    def __init__(self, relay: dict[str, Any], host: str) -> None:
        self.relay = relay
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.connect((relay["host"] or host, relay["port"]))
        self._sequence = 0

    def bind(self) -> None:
        """Bind it to our address, as often as it takes."""
        end, pause = time.monotonic() + PATIENCE, 0.1
        while time.monotonic() < end:
            counter = time.time_ns() // 1_000_000
            self._socket.send(self._packet(1, counter))
            if self._arrives(pause) and self._socket.recv(2048) == self._packet(2, counter):
                return
            pause = min(2 * pause, 2.0)
        raise AssertionError("no bind-ack")

    def send(self, payload: bytes) -> None:
        """One packet: with a head like that of SRTP, or with the relay's."""
        self._sequence += 1
        identifier = self.relay["identifier"]
        head = struct.pack(">BBHII", 0x80, 0, self._sequence, 160 * self._sequence, identifier)
        if self.relay["kind"] != "rtp":
            head = struct.pack(">BxxxI", 0x10, identifier)
        self._socket.send(head + payload)

    def receive(self) -> tuple[int, bytes]:
        """Whose packet came, and what is behind its head."""
        assert self._arrives(PATIENCE), "no packet"
        data = self._socket.recv(2048)
        size = 12 if self.relay["kind"] == "rtp" else 8
        [identifier] = struct.unpack(">I", data[size - 4 : size])
        return identifier, data[size:]

    def close(self) -> None:
        """Give the socket back."""
        self._socket.close()

    def _arrives(self, seconds: float) -> bool:
        return bool(select.select([self._socket], [], [], seconds)[0])

    def _packet(self, type_: int, counter: int) -> bytes:
        head = struct.pack(">BxxxIQ", type_, self.relay["identifier"], counter)
        return head + hmac.digest(self.relay["key"], head, "sha256")[:16]


def confirm(client: Client, item: dict[str, Any], payload: bytes = b"") -> None:
    """Take an item out of the mailbox."""
    names = ("kind", "message", "sender", "account")
    client.ask("ack", payload=payload, **{name: item[name] for name in names})


def exchange_message(alice: Client, bob: Client, label: str) -> None:
    """Section 6, up to the receipt."""
    alice.ask("post", message=label, to=bob.uri, payload=b"sealed")
    item = bob.event("deliver")
    assert (item["kind"], item["message"], item["sender"]) == ("content", label, alice.uri)
    assert item["payload"] == b"sealed"
    confirm(bob, item, b"thanks")
    receipt = alice.event("deliver")
    assert (receipt["kind"], receipt["message"], receipt["payload"]) == ("ack", label, b"thanks")
    confirm(alice, receipt)


def call(alice: Client, bob: Client) -> tuple[Leg, Leg]:
    """Section 5: until they talk."""
    inviting = alice.ask("invite", session="s1", to=bob.uri, streams=["rtp"], payload=b"keys of alice")
    invited = bob.event("invited")
    assert (invited["caller"], invited["payload"]) == (alice.uri, b"keys of alice")
    name = {"session": "s1", "caller": alice.uri}
    bob.ask("ringing", **name)
    alice.event("rang")
    legs = Leg(inviting["relays"][0], alice.connection.host), Leg(invited["relays"][0], bob.connection.host)
    for leg in legs:
        leg.bind()
    bob.ask("answer", **name, payload=b"keys of bob")
    assert alice.event("answered")["payload"] == b"keys of bob"
    return legs


def talk(one: Leg, other: Leg) -> None:
    """Packets both ways."""
    for sender, receiver in ((one, other), (other, one)):
        for number in range(3):
            sender.send(bytes([number]) * 160)
        identifier = sender.relay["identifier"]
        assert receiver.relay["peer"] in (identifier, 0)
        received = [receiver.receive() for _ in range(3)]
        assert received == [(identifier, bytes([number]) * 160) for number in range(3)]


def meet(alice: Client, bob: Client) -> None:
    """Section 5.2: a group of two, which ends when one leaves."""
    opened = alice.ask("open-group", session="g1", to=[{"uri": bob.uri}], payload=b"come")
    assert opened["refused"] == []
    assert bob.event("group-invited")["payload"] == b"come"
    joined = bob.ask("join", session="g1", caller=alice.uri)
    member = alice.event("group-member")["member"]
    assert (member["uri"], member["state"]) == (bob.uri, "joined")
    assert member["identifier"] == joined["relay"]["identifier"]
    legs = Leg(opened["relay"], alice.connection.host), Leg(joined["relay"], bob.connection.host)
    for leg in legs:
        leg.bind()
    talk(*legs)
    bob.ask("leave", session="g1", caller=alice.uri)
    assert alice.event("group-member")["member"]["state"] == "left"
    assert alice.event("ended")["reason"] == "empty"
    for leg in legs:
        leg.close()


def main(host: str, port: str, account: str, secret: str) -> None:
    """The whole story."""
    alice, bob = (Client(host, int(port), uri, account, bytes.fromhex(secret)) for uri in ("+461", "+462"))

    def say(what: str) -> None:
        print(what, flush=True)

    refused = alice.request("post", message="m", to="+462", payload=b"")
    assert (refused["type"], refused["code"]) == ("error", "not-attached")
    for client in (alice, bob):
        attached = client.attach()
        assert (attached["uri"], attached["account"], attached["resumed"]) == (client.uri, account, False)
    say("attached")

    exchange_message(alice, bob, "m1")
    say("message exchanged")

    legs = call(alice, bob)
    talk(*legs)
    say("packets exchanged")

    bob.ask("seen", count=bob.received)
    bob.connection.cut()
    alice.ask("post", message="m2", to="+462", payload=b"missed")
    bob.come_back()
    missed = bob.event("deliver")
    assert missed["payload"] == b"missed"
    confirm(bob, missed)
    confirm(alice, alice.event("deliver"))
    talk(*legs)
    say("resumed")

    alice.ask("hangup", session="s1", caller=alice.uri)
    ended = bob.event("ended")
    assert (ended["reason"], ended["who"]) == ("hangup", "caller")
    say("ended")

    meet(alice, bob)
    say("met in a group")

    alice.ask("store", item={"kind": "data", "name": "contacts", "data": b"sealed"})
    assert alice.ask("fetch", kind="data", name="contacts")["item"]["data"] == b"sealed"
    assert bob.ask("fetch", kind="data", name="contacts")["item"] is None
    say("stored")

    wrong = alice.request("invite", session="s 2", to=7)
    assert (wrong["type"], wrong["code"]) == ("error", "bad-message")
    assert "session" in wrong["reason"] or "to" in wrong["reason"]
    alice.ask("detach")
    alice.connection.send(b"text", 1)
    try:
        alice.connection.receive()
    except Closed as closed:
        assert closed.args == (1003,)
        say("refused as documented")
    for leg in legs:
        leg.close()
    alice.connection.cut()
    bob.connection.cut()
    assert not [name for name in sys.modules if name.split(".")[0] in ("crs", "rtlib", "twisted")]


if __name__ == "__main__":
    main(*sys.argv[1:])
