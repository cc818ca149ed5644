"""A proxy that registers elsewhere: its requests come out as bytes, a registrar's answers go in."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import pytest

from haproxy.assembly import Assembly, assemble
from haproxy.dns.record import Answer
from haproxy.network import sides_of
from haproxy.proxy.event import Event, RegistrationChanged, Resolve
from haproxy.settings import Settings
from haproxy.sip.flow import Flow
from haproxy.sip.message import Request, parse
from haproxy.uac.registration import Registration, State
from haproxy.uacconfig import accounts_of, retry_of
from rtlib.address import pack, text

ENTRY = {
    "l_uuid": "line1", "l_username": "100", "l_domain": "provider.example", "r_username": "alice",
    "r_domain": "provider.example", "realm": "provider.example", "auth_username": "alice-auth",
    "auth_password": "open sesame", "auth_proxy": "198.51.100.9",
}  # fmt: skip


def settings_of(*changes: dict[str, Any], **tables: Any) -> Settings:
    """Two sides, and a registration for each of these changes to ENTRY; `system` and `proxy` by keyword."""
    system = {"privateIP": "10.0.0.1", "privateSubnet": 24, "publicIP": "192.0.2.1"}
    given = {"system": system | tables.get("system", {}), "proxy": tables.get("proxy", {})}
    return Settings.model_validate(given | {"outbound_registrations": [ENTRY | each for each in changes]})


class Line:
    """One proxy and its registrations."""

    def __init__(self, *changes: dict[str, Any], **tables: Any) -> None:
        self.settings = settings_of(*changes, **tables)
        self.sides = sides_of(self.settings)
        self.now = 1000.0
        entropy = random.Random(7).randbytes
        self.assembly: Assembly = assemble(
            self.settings, self.sides, key=b"k" * 32, entropy=entropy, media=None, preferred=1
        )
        self.core = self.assembly.core
        self.registrations = self.assembly.registrations
        self.requests: list[tuple[Request, Flow]] = []
        self.events: list[Event] = []

    def activate(self) -> Line:
        self.registrations.activate(self.now)
        return self.advance(0.1)

    def deactivate(self) -> Line:
        self.registrations.deactivate(self.now)
        return self.collect()

    def collect(self) -> Line:
        """Take what the core sends and tells; requests that are sent again count once."""
        self.core.handle_timer(self.now)
        for data, flow in self.core.to_send(self.now):
            message = parse(data)
            assert isinstance(message, Request)
            if all(message.branch != each.branch for each, _ in self.requests):
                self.requests.append((message, flow))
        while (event := self.core.next_event()) is not None:
            self.events.append(event)
        return self

    def advance(self, seconds: float) -> Line:
        """Time passes; everything due in between happens when it is due."""
        end = self.now + seconds
        while (due := self.core.get_timer()) is not None and due <= end:
            self.now = max(self.now, due)
            self.collect()
        self.now = end
        return self.collect()

    @property
    def request(self) -> Request:
        """The last REGISTER."""
        return self.requests[-1][0]

    @property
    def flow(self) -> Flow:
        """Where it went."""
        return self.requests[-1][1]

    @property
    def place(self) -> str:
        """Where it went, to read."""
        return f"{self.flow.transport}:{text(self.flow.remote)}"

    def answer(self, status: int, *headers: str, request: Request | None = None) -> Line:
        """The registrar answers the last request, or an earlier one."""
        answered = request or self.request
        flow = next(flow for each, flow in self.requests if each is answered)
        response = answered.response(status, to_tag=b"r")
        for header in headers:
            name, _, value = header.partition(": ")
            response.append(name.encode(), value.encode())
        self.core.receive(bytes(response), flow, self.now)
        return self.collect()

    def accept(self, life: int | None = None, request: Request | None = None) -> Line:
        """The registrar accepts, for that long."""
        contact = ((request or self.request).first(b"contact") or b"").decode()
        granted = "" if life is None else f";expires={life}"
        return self.answer(200, f"Contact: {contact}{granted}", request=request)

    def look_up(self, zone: dict[str, list[Any]]) -> Line:
        """Answer all questions to name servers by `NAME KIND`."""
        while questions := [event.question for event in self.events if isinstance(event, Resolve)]:
            self.events = [event for event in self.events if not isinstance(event, Resolve)]
            for question in questions:
                records = tuple(zone.get(f"{question.name} {question.kind}", ()))
                self.core.resolved(question, Answer(records, 60.0), self.now)
            self.collect()
        return self

    def unreachable(self) -> Line:
        """Nobody is where the last request went."""
        self.core.flow_failed(self.flow, self.now)
        return self.advance(0.5)

    def trouble(self, place: str, reason: str) -> Line:
        """Something is known of HOST:PORT."""
        host, _, port = place.rpartition(":")
        self.registrations.trouble(pack(host, int(port)), reason)
        return self

    def reload(self, *changes: dict[str, Any], **tables: Any) -> Line:
        """Another configuration."""
        settings = settings_of(*changes, **tables)
        self.assembly.apply(settings)
        self.registrations.replace(accounts_of(settings, self.sides), retry_of(settings), self.now)
        return self.advance(0.1)

    def find(self, uuid: str = "line1") -> Registration:
        return next(each for each in self.registrations if each.account.uuid == uuid)

    @property
    def state(self) -> State:
        return self.find().state

    @property
    def wait(self) -> float | None:
        """Seconds to the next attempt."""
        due = self.find().due
        return None if due is None else round(due - self.now, 3)

    def refresh(self) -> Line:
        """Time passes until the next attempt."""
        assert self.wait is not None
        return self.advance(self.wait + 0.2)

    def told(self) -> list[RegistrationChanged]:
        """The changes told since the last look."""
        found = [event for event in self.events if isinstance(event, RegistrationChanged)]
        self.events.clear()
        return found


@pytest.fixture
def new() -> Callable[..., Line]:
    """Makes a proxy with changes of the one registration, and switches it on."""
    return lambda *changes, **tables: Line(*(changes or [{}]), **tables).activate()


@pytest.fixture
def off() -> Callable[..., Line]:
    """The same, not switched on."""
    return lambda *changes, **tables: Line(*(changes or [{}]), **tables)


@pytest.fixture
def line() -> Line:
    return Line({}).activate()
