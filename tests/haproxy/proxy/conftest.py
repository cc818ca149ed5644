"""A proxy core in a world of bytes: messages go in with their source and come out with their destination."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import pytest

from haproxy.assembly import Assembly, assemble
from haproxy.dns.record import Answer
from haproxy.network import sides_of
from haproxy.proxy.event import Event, Resolve
from haproxy.settings import Settings
from haproxy.sip.flow import Flow
from haproxy.sip.message import Message, Request, Response, parse
from rtlib.address import pack, text

PROXY = "192.0.2.1"
GENESIS_A = "192.0.2.11:5060"
GENESIS_B = "192.0.2.12:5060"
PHONE = "192.0.2.50:5060"
OUTSIDE = "198.51.100.7:5060"
HOME = "sip:100@192.0.2.1"
USERS = ("genesis_a", "genesis_b", "5000", "5001")

CRLF = b"\r\n"

Make = Callable[..., Any]
"""Makes a World with other settings."""


def call(world: Any, source: str = PHONE, uri: str = HOME, *headers: str, **names: Any) -> None:
    """An INVITE comes."""
    contact = f"Contact: <sip:caller@{source}>"
    world.receive(world.request("INVITE", uri, source, contact, *headers, **names), source)


class World:
    """One proxy, its clock, and everybody around it."""

    def __init__(
        self, media: Any = None, system: dict[str, Any] | None = None, seed: int = 1, **proxy: Any
    ) -> None:
        users = [{"username": user, "domain": PROXY, "password": f"{user} secret"} for user in USERS]
        base = {"privateIP": PROXY, "privateSubnet": 24}
        # What one phone of a test sends at once is what strangers may send in a second.
        rules = {"strangerRate": 0, **proxy}
        given = {"system": base | (system or {}), "proxy": rules, "subscribers": users}
        settings = Settings.model_validate(given)
        self.sides = sides_of(settings)
        self.now = 1000.0
        entropy = random.Random(seed).randbytes
        self.assembly: Assembly = assemble(
            settings, self.sides, key=b"k" * 32, entropy=entropy, media=media, preferred=1
        )
        self.core = self.assembly.core
        self.sent: list[tuple[Message, str]] = []
        self.flows: list[Flow] = []
        """What each of those was sent on; a test may empty it."""
        self.events: list[Event] = []
        self._number = 0

    def receive(
        self, data: bytes, source: str, side: int = 0, transport: Any = "udp", connection: int = 0
    ) -> None:
        """A message arrives."""
        host, _, port = source.rpartition(":")
        local = list(self.sides)[side].local(transport)
        self.core.receive(
            data, Flow(transport, local, pack(host.strip("[]"), int(port)), connection), self.now
        )
        self.collect()

    def collect(self) -> None:
        """Take what the core sends and tells."""
        for data, flow in self.core.to_send(self.now):
            self.sent.append((parse(data), text(flow.remote)))
            self.flows.append(flow)
        while (event := self.core.next_event()) is not None:
            self.events.append(event)

    def look_up(self, zone: dict[str, list[Any]] | None, ttl: float = 60.0) -> list[str]:
        """Answer all questions to name servers by `NAME KIND`; what was asked. None: nobody answers."""
        asked = []
        while questions := [event.question for event in self.events if isinstance(event, Resolve)]:
            self.events = [event for event in self.events if not isinstance(event, Resolve)]
            for question in questions:
                asked.append(f"{question.name} {question.kind}")
                records = () if zone is None else tuple(zone.get(asked[-1], ()))
                self.core.resolved(question, Answer(records, ttl, failed=zone is None), self.now)
            self.collect()
        return asked

    def advance(self, seconds: float) -> None:
        """Time passes; everything due in between happens when it is due."""
        end = self.now + seconds
        while (due := self.core.get_timer()) is not None and due <= end:
            self.now = max(self.now, due)
            self.core.handle_timer(self.now)
            self.collect()
        self.now = end

    def fail(self, place: str) -> None:
        """Nobody is at that address: the network says so."""
        host, _, port = place.rpartition(":")
        for side in self.sides:
            self.core.flow_failed(Flow("udp", side.local("udp"), pack(host, int(port))), self.now)
        self.advance(0.5)

    def request(
        self, method: str, uri: str, source: str, *headers: str, to: str = "", body: bytes = b"", **names: Any
    ) -> bytes:
        """A request of somebody; tags and Call-ID by keyword, a new transaction each time."""
        self._number += 1
        number = names.get("cseq", self._number)
        branch = names.get("branch", self._number)
        lines = [
            f"{method} {uri} SIP/2.0",
            f"Via: SIP/2.0/{names.get('via', 'UDP')} {source};rport;branch=z9hG4bK{branch}",
            f"Max-Forwards: {names.get('hops', 70)}",
            f"From: <sip:{names.get('user', 'someone')}@{PROXY}>;tag=f",
            f"To: {to or f'<{uri}>'}",
            f"Call-ID: {names.get('call', f'call-{self._number}')}",
            f"CSeq: {number} {method}",
            *headers,
            f"Content-Length: {len(body)}",
        ]
        return "\r\n".join(lines).encode() + CRLF * 2 + body

    def register(self, user: str, source: str, *headers: str, contact: str = "", **names: Any) -> Response:
        """Register a user, and give the response."""
        contact = contact or f"<sip:{user}@{source}>"
        data = self.request(
            "REGISTER", f"sip:{PROXY}", source, f"Contact: {contact}", *headers,
            to=f"<sip:{user}@{PROXY}>", call=names.pop("call", f"reg-{user}"), **names,
        )  # fmt: skip
        self.receive(data, source)
        return self.response(source)

    def systems(self) -> None:
        """Both Genesis systems register."""
        assert self.register("genesis_a", GENESIS_A).status == 200
        assert self.register("genesis_b", GENESIS_B).status == 200
        self.sent.clear()
        self.events.clear()

    def response(self, place: str) -> Response:
        """The last response sent there."""
        found = [message for message, where in self.sent if where == place and isinstance(message, Response)]
        return found[-1]

    def statuses(self, place: str) -> list[int]:
        """The status codes sent there, without 100 and repetitions."""
        found = [
            message.status for message, where in self.sent if where == place and isinstance(message, Response)
        ]
        return [status for index, status in enumerate(found) if status > 100 and status not in found[:index]]

    def forwarded(self, place: str, method: bytes = b"INVITE") -> Request:
        """The last request of this method sent there."""
        found = [
            m for m, where in self.sent if where == place and isinstance(m, Request) and m.method == method
        ]
        return found[-1]

    def reached(self, method: bytes = b"INVITE") -> list[str]:
        """Who was sent such a request, each once, in order."""
        places = [where for m, where in self.sent if isinstance(m, Request) and m.method == method]
        return list(dict.fromkeys(places))

    def answer(
        self, place: str, status: int, *headers: str, method: bytes = b"INVITE", body: bytes = b""
    ) -> None:
        """Whoever is there answers the last request."""
        response = self.forwarded(place, method).response(status, to_tag=b"t" + place.encode().hex().encode())
        for header in headers:
            name, _, value = header.partition(": ")
            response.append(name.encode(), value.encode())
        if body:
            response.replace_body(body, b"application/sdp")
        self.receive(bytes(response), place)


@pytest.fixture
def make_world() -> Callable[..., World]:
    """Makes a world with the given keys of [proxy]."""
    return World


@pytest.fixture
def world() -> World:
    """A world with the defaults."""
    return World()
