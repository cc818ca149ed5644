"""REGISTER: RFC 3261 section 10.3."""

from typing import Any, Final

import pytest

from haproxy.registrar.location import Binding, LocationService
from haproxy.registrar.registrar import Lifetimes, Registrar
from haproxy.sip.message import Request, Response


class Desk:
    """A registrar, and who registers there."""

    def __init__(self) -> None:
        self.location = LocationService(contacts=3)
        self.registrar = Registrar(self.location, Lifetimes(3600, 60, 7200))

    def register(
        self, *contacts: str, call: str = "c", cseq: int = 1, now: float = 0.0, **headers: Any
    ) -> Response:
        request = self.request(*contacts, call=call, cseq=cseq, **headers)
        outcome = self.registrar.process(request, None, now)
        response = request.response(outcome.status, outcome.reason)
        for line in outcome.lines:
            name, _, value = line.partition(b": ")
            response.append(name, value)
        return response

    def request(self, *contacts: str, call: str = "c", cseq: int = 1, **headers: Any) -> Request:
        lines = [
            (b"Via", b"SIP/2.0/UDP 192.0.2.5;branch=z9hG4bKx"),
            (b"From", b"<sip:5000@example.org>;tag=f"),
            (b"To", headers.pop("to", b"<sip:5000@Example.ORG>")),
            (b"Call-ID", call.encode()),
            (b"CSeq", b"%d REGISTER" % cseq),
            *((b"Contact", contact.encode()) for contact in contacts),
            *((name.replace("_", "-").encode(), value) for name, value in headers.items()),
        ]
        return Request.create(b"REGISTER", b"sip:example.org", lines)

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


class TestRenewal:
    """The short cut for what a user agent says again and again."""

    SAID: Final[dict[str, Any]] = {"Expires": b"600", "User_Agent": b"phone"}

    def test_it_does_what_the_long_way_does(self) -> None:
        short, long = Desk(), Desk()
        headers = self.SAID | {"Path": b"<sip:edge;lr>", "Supported": b"path"}
        for desk in (short, long):
            desk.register("<sip:a@h>;q=0.5", **headers)
        again = short.request("<sip:a@h>;q=0.5", cseq=2, **headers)
        renewed = short.registrar.renewal(again, None)
        assert renewed is not None
        granted = short.registrar.renew(again, renewed, 100.0)
        response = long.register("<sip:a@h>;q=0.5", cseq=2, now=100.0, **headers)
        said = response.headers()[-len(granted) :]
        assert granted == [name.title() + b": " + value for name, value in said]
        assert [each[0] for each in said] == [b"contact", b"path"]
        (one,), (other,) = short.location, long.location
        for name in ("aor", "contact", "expires", "call_id", "cseq", "q", "path", "user_agent", "modified"):
            assert getattr(one, name) == getattr(other, name), name
        assert (short.registrar.accepted, long.registrar.accepted) == (2, 2)

    @pytest.mark.parametrize(
        "change",
        [
            {"contact": "<sip:a@h;transport=tcp>"}, {"contact": "<sip:a@h>;q=0.1"}, {"Expires": b"0"},
            {"Expires": b"601"}, {"User_Agent": b"other"}, {"Path": b"<sip:edge;lr>"}, {"Require": b"path"},
            {"Max_Forwards": b"0"}, {"to": b"<sip:5001@example.org>"}, {"cseq": 1}, {"flow": "another"},
            {"to": b"<sip:5000@example.org;user=phone>"},
        ],
    )  # fmt: skip
    def test_whatever_else_is_said_takes_the_long_way(self, desk: Desk, change: dict[str, Any]) -> None:
        desk.register("<sip:a@h>", **self.SAID)
        said: dict[str, Any] = {"contact": "<sip:a@h>", "cseq": 2, "flow": None} | self.SAID
        assert self.renewal(desk, said) is not None
        assert self.renewal(desk, said | {"call": "after a restart", "cseq": 1}) is not None
        assert self.renewal(desk, said | change) is None

    def test_other_lifetimes(self, desk: Desk) -> None:
        desk.register("<sip:a@h>", **self.SAID)
        desk.registrar.lifetimes = Lifetimes(3600, 700, 7200)
        assert self.renewal(desk, {"contact": "<sip:a@h>", "cseq": 2, "flow": None} | self.SAID) is None
        assert desk.register("<sip:a@h>", cseq=2, **self.SAID).status == 423

    @pytest.mark.parametrize(
        "to", [b"<sip:5000@example.org>", b"sip:5000@EXAMPLE.org", b'"A: <sip:x@y>" <sips:5000@example.org>']
    )
    def test_to_may_be_written_in_any_way(self, desk: Desk, to: bytes) -> None:
        desk.register("<sip:a@h>", to=to, **self.SAID)
        again = desk.request("<sip:a@h>", cseq=2, to=to, **self.SAID)
        known = desk.registrar.renewal(again, None) is not None
        assert known == (to[-1:] == b">")

    def test_somebody_elses_record_is_not_taken(self, desk: Desk) -> None:
        desk.register("<sip:a@h>", to=b"<sip:%78:secret@example.org>", **self.SAID)
        desk.register("<sip:a@h>", to=b"<sip:secret@example.org>", **self.SAID)
        for to, owner in ((b"<sip:secret@example.org>", b"secret"), (b"<sip:%78:secret@example.org>", b"x")):
            again = desk.request("<sip:a@h>", cseq=2, to=to, **self.SAID)
            renewed = desk.registrar.renewal(again, None)
            assert renewed is None or renewed.user == owner

    def test_who_is_to_be_looked_at_each_time(self, desk: Desk) -> None:
        request = desk.request("<sip:a@h>", **self.SAID)
        assert desk.registrar.process(request, None, 0.0, renewable=False).status == 200
        assert self.renewal(desk, {"contact": "<sip:a@h>", "cseq": 2, "flow": None} | self.SAID) is None

    def test_two_contacts_at_once(self, desk: Desk) -> None:
        desk.register("<sip:a@h>", "<sip:b@h>", **self.SAID)
        again = desk.request("<sip:a@h>", "<sip:b@h>", cseq=2, **self.SAID)
        assert desk.registrar.renewal(again, None) is None

    def renewal(self, desk: Desk, said: dict[str, Any]) -> Binding | None:
        said = dict(said)
        flow = said.pop("flow")
        return desk.registrar.renewal(desk.request(said.pop("contact"), **said), flow)


def test_equal_values_are_kept_once(desk: Desk) -> None:
    for user in (b"5000", b"5001"):
        agent = bytes(bytearray(b"phone"))
        desk.register("<sip:a@h>", to=b"<sip:%b@example.org>" % user, User_Agent=agent)
    one, other = desk.location
    assert one.user_agent is other.user_agent
