"""Calls that come to a contact which the proxy has registered elsewhere (guide 12.2.1-12.2.3)."""

from typing import Any

import pytest

from haproxy.proxy.contact import OwnContact
from haproxy.sip.uri import parse

PROVIDER = "198.51.100.9:5060"
GENESIS_A = "192.0.2.11:5060"
PHONE = "192.0.2.50:5060"
CONTACT = "sip:line1@192.0.2.1"


@pytest.fixture
def world(world: Any) -> Any:
    world.systems()
    return world


def register(
    world: Any, contact: str = CONTACT, user: bytes = b"100", domain: bytes = b"home.example"
) -> None:
    world.assembly.contacts.replace([OwnContact(parse(contact.encode()), user, domain)])


def call(world: Any, uri: str = CONTACT, source: str = PROVIDER) -> None:
    world.receive(world.request("INVITE", uri, source, f"Contact: <sip:p@{source}>"), source)


def test_it_goes_to_genesis_as_a_call_for_the_local_user(world: Any) -> None:
    register(world)
    call(world)
    assert world.forwarded(GENESIS_A).uri == b"sip:100@home.example"


def test_other_users_go_to_genesis_as_they_are(world: Any) -> None:
    register(world)
    call(world, "sip:line2@192.0.2.1")
    assert world.forwarded(GENESIS_A).uri == b"sip:line2@192.0.2.1"


def test_a_phone_that_is_registered_as_the_local_user_gets_it(world: Any) -> None:
    world.register("5000", PHONE)
    register(world, user=b"5000", domain=b"192.0.2.1")
    call(world)
    assert world.forwarded(PHONE).uri == b"sip:5000@192.0.2.50:5060"


def test_a_genesis_system_as_local_user_means_the_sets(world: Any) -> None:
    register(world, user=b"genesis_a", domain=b"192.0.2.1")
    call(world)
    assert world.forwarded(GENESIS_A).uri == b"sip:genesis_a@192.0.2.1"


@pytest.mark.parametrize("uri", ["sip:line1@nat.example:5090", "sip:line1@nat.example:5090;transport=tcp"])
def test_a_contact_that_is_no_name_of_ours(world: Any, uri: str) -> None:
    register(world, "sip:line1@nat.example:5090")
    call(world, uri)
    assert world.forwarded(GENESIS_A).uri == b"sip:100@home.example"


@pytest.mark.parametrize("uri", ["sip:line1@nat.example", "sip:line1@elsewhere.example:5090"])
def test_not_for_other_places(world: Any, uri: str) -> None:
    register(world, "sip:line1@nat.example:5090")
    call(world, uri)
    assert world.statuses(PROVIDER) == [403]


def test_the_usual_port_may_be_left_out(world: Any) -> None:
    register(world, "sip:line1@nat.example")
    call(world, "sip:line1@nat.example:5060")
    assert world.forwarded(GENESIS_A).uri == b"sip:100@home.example"


def test_genesis_itself_calls_users(world: Any) -> None:
    register(world)
    call(world, source=GENESIS_A)
    assert world.statuses(GENESIS_A) == [404]


def test_the_operators_checks_hold(make_world: Any) -> None:
    world = make_world(enableInviteAuth=True)
    world.systems()
    register(world, "sip:line1@nat.example:5090")
    call(world, "sip:line1@nat.example:5090")
    assert world.statuses(PROVIDER) == [407]
