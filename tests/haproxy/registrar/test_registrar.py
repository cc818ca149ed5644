"""REGISTER: RFC 3261 section 10.3."""

from typing import Any

import pytest

from haproxy.registrar.location import LocationService
from haproxy.registrar.registrar import Lifetimes, Registrar
from haproxy.sip.message import Request, Response


class Desk:
    """A registrar, and who registers there."""

    def __init__(self) -> None:
        self.location = LocationService(contacts=3)
        self.registrar = Registrar(self.location, Lifetimes(3600, 60, 7200), lambda request: b"tag")

    def register(
        self, *contacts: str, call: str = "c", cseq: int = 1, now: float = 0.0, **headers: Any
    ) -> Response:
        lines = [
            (b"Via", b"SIP/2.0/UDP 192.0.2.5;branch=z9hG4bKx"),
            (b"From", b"<sip:5000@example.org>;tag=f"),
            (b"To", headers.pop("to", b"<sip:5000@Example.ORG>")),
            (b"Call-ID", call.encode()),
            (b"CSeq", b"%d REGISTER" % cseq),
            *((b"Contact", contact.encode()) for contact in contacts),
            *((name.replace("_", "-").encode(), value) for name, value in headers.items()),
        ]
        return self.registrar.process(Request.create(b"REGISTER", b"sip:example.org", lines), None, now)

    def contacts(self) -> list[bytes]:
        return sorted(b.contact for b in self.location.bindings(b"5000@example.org"))


@pytest.fixture
def desk() -> Desk:
    return Desk()


def test_adding_and_fetching(desk: Desk) -> None:
    response = desk.register("<sip:a@192.0.2.5>;expires=600;q=0.5", "sip:b@192.0.2.6;expires=120")
    assert response.status == 200
    assert sorted(response.all(b"contact")) == [
        b"<sip:a@192.0.2.5>;q=0.5;expires=600",
        b"<sip:b@192.0.2.6>;expires=120",
    ]
    fetched = desk.register(cseq=2, now=100.0)
    assert b"<sip:b@192.0.2.6>;expires=20" in fetched.all(b"contact")


@pytest.mark.parametrize(
    ("contact", "headers", "life"),
    [
        ("<sip:a@h>", {}, 3600),
        ("<sip:a@h>", {"Expires": b"300"}, 300),
        ("<sip:a@h>;expires=400", {"Expires": b"300"}, 400),
        ("<sip:a@h>;expires=99999", {}, 7200),
        ("<sip:a@h>;expires=soon", {}, 3600),
    ],
)
def test_life(desk: Desk, contact: str, headers: Any, life: int) -> None:
    desk.register(contact, **headers)
    assert next(iter(desk.location)).expires == life


def test_too_brief(desk: Desk) -> None:
    response = desk.register("<sip:a@h>;expires=59")
    assert (response.status, response.first(b"min-expires")) == (423, b"60")
    assert desk.contacts() == []


def test_removing(desk: Desk) -> None:
    desk.register("<sip:a@h>", "<sip:b@h>")
    desk.register("<sip:A@h>;expires=0", cseq=2)
    assert desk.contacts() == [b"sip:a@h", b"sip:b@h"]
    desk.register("<sip:a@H>;expires=0", cseq=3)
    assert desk.contacts() == [b"sip:b@h"]
    assert desk.register("*", cseq=4, Expires=b"0").status == 200
    assert desk.contacts() == []


@pytest.mark.parametrize("contacts", [["*"], ["*", "<sip:a@h>"], ["<sip:a@h"], ["<sip:@h>"]])
def test_bad_contacts_change_nothing(desk: Desk, contacts: list[str]) -> None:
    desk.register("<sip:x@h>")
    assert desk.register(*contacts, cseq=2).status == 400
    assert desk.contacts() == [b"sip:x@h"]


def test_overtaken_requests_change_nothing(desk: Desk) -> None:
    desk.register("<sip:a@h>", cseq=5)
    assert desk.register("<sip:a@h>;expires=0", "<sip:b@h>", cseq=5).status == 500
    assert desk.register("*", cseq=4, Expires=b"0").status == 500
    assert desk.contacts() == [b"sip:a@h"]
    assert desk.register("<sip:a@h>;expires=0", cseq=1, call="after a restart").status == 200


def test_too_many_contacts(desk: Desk) -> None:
    assert desk.register("<sip:a@h>", "<sip:b@h>", "<sip:c@h>", "<sip:d@h>").status == 503
    assert desk.contacts() == []


def test_path_is_kept_and_echoed(desk: Desk) -> None:
    response = desk.register("<sip:a@h>", Path=b"<sip:edge;lr>", Supported=b"path", Require=b"path")
    assert response.all(b"path") == [b"<sip:edge;lr>"]
    assert next(iter(desk.location)).path == b"<sip:edge;lr>"


def test_unknown_extension(desk: Desk) -> None:
    response = desk.register("<sip:a@h>", Require=b"path, gruu")
    assert (response.status, response.first(b"unsupported")) == (420, b"gruu")


def test_not_a_user(desk: Desk) -> None:
    assert desk.register("<sip:a@h>", to=b"<sip:example.org>").status == 404


def test_what_comes_again_changes_nothing_but_is_answered(desk: Desk) -> None:
    assert desk.register("<sip:a@h>", cseq=5).status == 200
    assert desk.register("<sip:a@h>", cseq=5, now=10.0).status == 200
    (binding,) = desk.location
    assert binding.modified == 0.0
    assert desk.register("<sip:a@h>", cseq=4).status == 500
    assert desk.register("<sip:a@h>;expires=0", cseq=5).status == 500
