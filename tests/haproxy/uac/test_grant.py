"""What registrars say when they say yes."""

import pytest

from haproxy.sip.message import Response
from haproxy.sip.uri import parse
from haproxy.uac.grant import Grant, grant_of

OURS = parse(b"sip:line1@192.0.2.1")
ASKED = 3600


def grant(*headers: tuple[bytes, bytes]) -> Grant:
    return grant_of(Response(200, b"OK", headers), OURS, ASKED)


@pytest.mark.parametrize(
    ("contact", "life"),
    [
        (b"<sip:line1@192.0.2.1>;expires=60", 60),
        (b"<sip:line1@192.0.2.1>;q=1;Expires=60", 60),
        (b"<sip:other@192.0.2.1>;expires=10, <sip:line1@192.0.2.1>;expires=60", 60),
        (b"<sip:line1@198.51.100.1:34567>;expires=60", 60),
        (b"<sip:line1@192.0.2.9>;expires=7, <sip:line1@192.0.2.1>;expires=60", 60),
        (b'"Line" <sip:line1@192.0.2.1:5060;transport=udp>;expires=3600', 3600),
    ],
)
def test_our_contact(contact: bytes, life: int) -> None:
    assert grant((b"Contact", contact)) == (life, "")


def test_the_header_counts_where_the_contact_says_nothing() -> None:
    contact = (b"Contact", b"<sip:line1@192.0.2.1>")
    assert grant(contact, (b"Expires", b"120")) == (120, "")
    assert grant(contact) == (ASKED, "")


@pytest.mark.parametrize(
    ("headers", "life", "complaint"),
    [
        ([], ASKED, "no Contact in the answer"),
        ([(b"Expires", b"300")], 300, "no Contact in the answer"),
        ([(b"Expires", b"0")], 0, "no Contact in the answer"),
        ([(b"Contact", b"<sip:other@192.0.2.1>;expires=9")], 0, "lists other contacts, not ours"),
        ([(b"Contact", b"<sip:line1@192.0.2.1>;expires=0")], 0, "granted for 0 seconds"),
        ([(b"Contact", b"<sip:line1@192.0.2.1>;expires=-5")], ASKED, "malformed expires in the answer: -5"),
        ([(b"Contact", b"<sip:line1@192.0.2.1>;expires=1e9")], ASKED, "malformed expires in the answer: 1e9"),
        ([(b"Contact", b"<sip:line1@192.0.2.1>;expires=" + b"9" * 40)], ASKED, "more than asked for"),
        ([(b"Contact", b"<<<>")], ASKED, "malformed Contact in the answer"),
        ([(b"Contact", b"<sip:line1@>;expires=60")], 0, "lists other contacts, not ours"),
    ],
)
def test_wrong_answers_are_named(headers: list[tuple[bytes, bytes]], life: int, complaint: str) -> None:
    found = grant(*headers)
    assert found.life == life
    assert complaint in found.complaint
