"""What is fuzzed: each target takes any bytes and raises only where the code under it has a defect."""

from __future__ import annotations

import random
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final

from twisted.names import dns

from haproxy.assembly import assemble
from haproxy.dns.record import Answer, Question
from haproxy.dns.resolver import record_of
from haproxy.network import sides_of
from haproxy.proxy.event import Resolve
from haproxy.settings import Settings
from haproxy.sip import address, header, sdp, uri, via
from haproxy.sip.flow import Flow
from haproxy.sip.framing import Framer
from haproxy.sip.message import ParseError, Request, Response, parse
from rtlib.address import pack
from rtlib.settings import toml
from rtlib.settings.problem import SettingsError

SETTINGS: Final = {
    "system": {"privateIP": "192.0.2.1", "privateSubnet": 24, "alias": ["example.com"]},
    "proxy": {"enableTLS": True, "proxyList": ["192.0.2.50"]},
    "subscribers": [
        {"username": user, "domain": "192.0.2.1", "password": "x"} for user in ("genesis_a", "user")
    ],
}
NEXT: Final = b"\xff\xff\xff\xff"
"""Stands between two messages for the proxy: no header, no text has it."""

Target = Callable[[bytes], object]


def look_at(*values: object) -> None:
    """Properties are worked out when they are looked at."""


def message(data: bytes) -> None:
    """Parse, answer, and edit as a proxy does; what was not edited comes out as it went in."""
    try:
        found = parse(data)
    except ParseError as error:
        if isinstance(error.message, Request) and error.status is not None:
            bytes(error.message.response(error.status, to_tag=b"t"))
        return
    whole = bytes(found)
    assert bytes(parse(whole)) == whole
    copy = found.copy()
    for key in (b"contact", b"route", b"record-route", b"path"):
        with suppress(ParseError):
            found.addresses(key)
    look_at(found.headers(), found.values(b"via"), found.max_forwards, found.top_via.sent_by)
    if isinstance(copy, Request):
        if copy.max_forwards != 0:
            copy.take_hop(70)
        copy.push_via(b"SIP/2.0/UDP 192.0.2.1;branch=z9hG4bKf")
        copy.prepend(b"Record-Route", b"<sip:192.0.2.1;lr>")
        copy.remove_first(b"route")
        sent = parse(bytes(copy))
        assert sent.values(b"via")[1:] == found.values(b"via")
        found = copy.response(200, to_tag=b"t")
    if isinstance(found, Response):
        found.pop_via()
        bytes(found)
    assert bytes(parse(whole)) == whole


def framing(data: bytes) -> None:
    """The same bytes in other pieces give the same messages."""
    once, often = Framer(), Framer()
    whole = once.receive(data)
    pieces: list[bytes] = []
    step = 1 + (data[0] if data else 0) % 7
    for start in range(0, len(data), step):
        pieces += often.receive(data[start : start + step])
    if once.fault is None and often.fault is None:
        assert pieces == whole
    assert sum(map(len, whole)) <= len(data)


def uris(data: bytes) -> None:
    """What is parsed and written is the same URI."""
    with suppress(uri.UriError):
        found = uri.parse(data)
        again = uri.parse(bytes(found))
        assert again == found
        assert again.matches(found) or not found.is_sip or found.opaque
        look_at(found.without(b"lr", b"transport"), found.aor, found.username)


def vias(data: bytes) -> None:
    """Stamping fills in received and rport, and nothing else changes."""
    with suppress(via.ViaError):
        for value in header.split(header.unfold(data)):
            found = via.parse(value)
            stamped = found.stamped(b"192.0.2.9", 5099)
            if stamped is not None:
                again = via.parse(stamped)
                assert (again.host, again.port, again.branch) == (found.host, found.port, found.branch)
                assert again.received == b"192.0.2.9"
            look_at(found.rport, found.maddr, found.sent_by)


def addresses(data: bytes) -> None:
    """Contact, Route and the like."""
    with suppress(address.AddressError, uri.UriError):
        for found in address.parse_list([header.unfold(data)]):
            look_at(found.target, found.tag, found.display)


def descriptions(data: bytes) -> None:
    """A description that nobody edits stays as it is; an edited one can be read."""
    with suppress(sdp.SdpError):
        found = sdp.parse(data)
        assert bytes(found) == data
        found.set_origin(b"192.0.2.1")
        found.set_connection(b"2001:db8::1")
        for media in found.media:
            media.set_rtcp(media.port + 1 if media.port < 65535 else 9)
            media.set_port(20_000)
            look_at(media.rtcp, media.connection, media.direction, media.rtcp_mux)
        again = sdp.parse(bytes(found))
        assert [media.port for media in again.media] == [20_000] * len(found.media)
        assert all(media.connection == b"2001:db8::1" for media in again.media)


def answers(data: bytes) -> None:
    """What name servers send; twisted takes it apart, and drops what raises there."""
    decoded = dns.Message()
    try:
        decoded.fromStr(data)
    except Exception:  # noqa: BLE001 - DNSDatagramProtocol drops it just so
        return
    for kind in ("A", "AAAA", "SRV", "NAPTR"):
        for found in (*decoded.answers, *decoded.authority, *decoded.additional):
            record_of(found, Question("example.com", kind))


def settings(data: bytes) -> None:
    """genproxy.toml: problems with their lines, or settings."""
    with suppress(SettingsError, UnicodeDecodeError, RecursionError):
        toml.parse(data.decode(), "genproxy.toml", Settings)


class Proxy:
    """The whole core: several messages, from a phone and a Genesis system in turn, then two minutes."""

    def __init__(self) -> None:
        self._settings = Settings.model_validate(SETTINGS)
        self._sides = sides_of(self._settings)
        self._flows = [
            Flow("udp", self._sides.private.local("udp"), pack("192.0.2.50", 5060)),
            Flow("udp", self._sides.private.local("udp"), pack("192.0.2.11", 5060)),
            Flow("tcp", self._sides.private.local("tcp"), pack("192.0.2.50", 4000), 1),
        ]

    def __call__(self, data: bytes) -> None:
        """Nothing is raised, and nothing stays."""
        entropy = random.Random(0).randbytes
        core = assemble(
            self._settings, self._sides, key=b"k" * 32, entropy=entropy, media=None, preferred=1
        ).core
        now = 1000.0
        for number, part in enumerate(data.split(NEXT)[:8]):
            core.receive(part, self._flows[number % 3], now)
            self._drain(core, now)
        end = now + 400.0
        while (due := core.get_timer()) is not None and due <= end:
            now = max(now, due)
            core.handle_timer(now)
            self._drain(core, now)
        assert not [each for each in core.layer.transactions() if each.method != b"OPTIONS"]

    def _drain(self, core: Any, now: float) -> None:
        for sent, _ in core.to_send(now):
            with suppress(ParseError):
                parse(sent)
        while (event := core.next_event()) is not None:
            if isinstance(event, Resolve):
                core.resolved(event.question, Answer(), now)


TARGETS: Final[dict[str, Callable[[], Target]]] = {
    "message": lambda: message,
    "framing": lambda: framing,
    "uri": lambda: uris,
    "via": lambda: vias,
    "address": lambda: addresses,
    "sdp": lambda: descriptions,
    "dns": lambda: answers,
    "settings": lambda: settings,
    "proxy": Proxy,
}
"""By name: what makes the target."""
