"""Who a message comes from."""

import pytest

from haproxy.dispatcher.set import Dispatcher
from haproxy.protection.accesslist import AccessList, Lists
from haproxy.proxy.source import Sources
from haproxy.sip.flow import Flow
from rtlib.address import pack
from rtlib.settings.types import parse_entry


def flow(host: str, port: int = 5060, transport: str = "udp") -> Flow:
    return Flow(transport, 0, pack(host, port))  # type: ignore[arg-type]  # it is a transport


def entries(*texts: str) -> AccessList:
    return AccessList([parse_entry(text) for text in texts])


def sources(dispatcher: Dispatcher | None = None) -> Sources:
    lists = Lists(entries("192.0.2.9"), entries("192.0.2.0/24"), entries("198.51.100.1:5060"))
    return Sources(lists, dispatcher or Dispatcher())


def test_who_is_listed() -> None:
    assert sources().listed(flow("192.0.2.8"))


@pytest.mark.parametrize(("port", "listed"), [(5060, True), (5061, False)])
def test_ports(port: int, listed: bool) -> None:
    assert sources().listed(flow("198.51.100.1", port)) is listed


def genesis(contact: bytes, registered: Flow | None) -> Sources:
    dispatcher = Dispatcher()
    dispatcher.registered(b"genesis_a", contact, registered, 0.0)
    return sources(dispatcher)


def test_genesis_by_registration_or_contact() -> None:
    found = genesis(b"sip:genesis_a@192.0.2.11:5080", flow("192.0.2.11", 40000))
    assert found.is_genesis(flow("192.0.2.11", 40000))
    assert found.is_genesis(flow("192.0.2.11", 5080))
    assert not found.is_genesis(flow("192.0.2.11", 5060))
    assert not found.is_genesis(flow("192.0.2.12", 5080))


def test_genesis_over_a_stream_by_address() -> None:
    found = genesis(b"sip:genesis_a@192.0.2.11;transport=tcp", flow("192.0.2.11", 40000, "tcp"))
    assert found.is_genesis(flow("192.0.2.11", 40001, "tcp"))
    assert not found.is_genesis(flow("192.0.2.11", 40001))


def test_a_contact_that_is_a_name() -> None:
    assert not genesis(b"sip:genesis_a@host.example", None).is_genesis(flow("192.0.2.11"))


def test_who_is_genesis_is_known_until_that_changes() -> None:
    dispatcher = Dispatcher()
    found = sources(dispatcher)
    uri, place, other = b"sip:genesis_a@192.0.2.11:5080", flow("192.0.2.11", 40000), flow("192.0.2.11", 40001)
    assert not found.is_genesis(place)
    for registered in (place, other):
        dispatcher.registered(b"genesis_a", uri, registered, 0.0)
        assert [found.is_genesis(each) for each in (place, other)] == [
            each is registered for each in (place, other)
        ]
    dispatcher.unregistered(uri, b"genesis_a", "left", 1.0)
    assert not found.is_genesis(place)
    assert not found.is_genesis(other)
    for port in range(5000):
        assert not found.is_genesis(flow("192.0.2.11", port))
    assert len(found._known) <= 4097
