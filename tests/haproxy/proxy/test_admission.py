"""Who may register, and who may call Genesis."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from haproxy.dispatcher.set import DestinationRefused
from haproxy.proxy.event import Offence
from haproxy.registrar.location import Saved
from rtlib.address import pack
from rtlib.digest import answer, ha1, parse_challenge

GENESIS_A = "192.0.2.11:5060"
PHONE = "192.0.2.50:5060"
OUTSIDE = "198.51.100.7:5060"
HOME = "sip:100@192.0.2.1"

Make = Callable[..., Any]


def credentials(world: Any, place: str, user: str, method: str, uri: str) -> str:
    """The header that answers the challenge which `place` got last."""
    response = world.response(place)
    asked = parse_challenge(response.first(b"www-authenticate") or response.first(b"proxy-authenticate"))
    assert asked is not None
    secret = ha1(user, "192.0.2.1", f"{user} secret")
    name = "Authorization" if response.status == 401 else "Proxy-Authorization"
    return f"{name}: {bytes(answer(asked, user, secret, method, uri, cnonce='c')).decode()}"


class TestRegister:
    """Guide 7.1.5, figure 18."""

    def test_subscribers_only(self, world: Any) -> None:
        assert world.register("5000", PHONE).status == 200
        assert world.register("nobody", PHONE).status == 403

    def test_with_digest(self, make_world: Make) -> None:
        world = make_world(enableRegAuth=True)
        assert world.register("5000", PHONE).status == 401
        given = credentials(world, PHONE, "5000", "REGISTER", "sip:192.0.2.1")
        assert world.register("5000", PHONE, given).status == 200

    def test_a_request_whose_answer_was_lost_is_answered_alike_though_its_credentials_are_used_up(
        self, make_world: Make
    ) -> None:
        world = make_world(enableRegAuth=True)
        assert world.register("5000", PHONE).status == 401
        given = credentials(world, PHONE, "5000", "REGISTER", "sip:192.0.2.1")
        first = world.register("5000", PHONE, given, cseq=7, branch="same")
        again = world.register("5000", PHONE, given, cseq=7, branch="same")
        assert (first.status, again.status) == (200, 200)
        assert first.to_tag == again.to_tag
        assert first.all(b"contact") == again.all(b"contact")
        assert len(world.core.layer) == 0
        elsewhere = world.register("5000", OUTSIDE, given, contact=f"<sip:5000@{PHONE}>", cseq=7)
        assert elsewhere.status == 401
        assert world.register("5000", PHONE, given, cseq=8).status == 401

    def test_credentials_of_another_run_are_stale(self, make_world: Make) -> None:
        before, after = make_world(enableRegAuth=True), make_world(enableRegAuth=True, seed=2)
        before.register("5000", PHONE)
        given = credentials(before, PHONE, "5000", "REGISTER", "sip:192.0.2.1")
        again = after.register("5000", PHONE, given)
        asked = parse_challenge(again.first(b"www-authenticate"))
        assert asked is not None
        assert (again.status, asked.stale) == (401, True)

    @pytest.mark.parametrize("auth", [False, True])
    def test_the_short_cut_for_a_refresh_answers_as_the_long_way(self, make_world: Make, auth: bool) -> None:
        world = make_world(enableRegAuth=auth, serverHeader="ours")
        answers = []
        for cseq in (1, 2, 3):
            given = []
            if auth:
                assert world.register("5000", PHONE, call="ask", cseq=cseq).status == 401
                given = [credentials(world, PHONE, "5000", "REGISTER", "sip:192.0.2.1")]
            answers.append(world.register("5000", PHONE, *given, cseq=cseq, branch="same"))
        first, second, third = answers
        text = bytes(first).replace(first.to_tag, b"TAG")
        for number, later in ((b"2", second), (b"3", third)):
            assert later.to_tag not in {None, first.to_tag}
            assert bytes(later).replace(later.to_tag, b"TAG") == text.replace(
                b"1 REGISTER", number + b" REGISTER"
            )
        assert world.assembly.registrar.accepted == 3
        assert [type(event) for event in world.events] == [Saved]

    def test_a_system_that_registers_again_is_heard_of(self, world: Any) -> None:
        for cseq in (1, 2):
            assert world.register("genesis_a", GENESIS_A, cseq=cseq).status == 200
        assert [type(event) for event in world.events].count(Saved) == 2

    def test_unknown_users_are_challenged_like_others(self, make_world: Make) -> None:
        world = make_world(enableRegAuth=True)
        assert world.register("nobody", PHONE).status == 401
        given = credentials(world, PHONE, "nobody", "REGISTER", "sip:192.0.2.1")
        assert world.register("nobody", PHONE, given).status == 401

    def test_a_system_outside_needs_a_password(self, make_world: Make) -> None:
        world = make_world(system={"publicIP": "203.0.113.1"})
        world.receive(self.from_outside(world), OUTSIDE, side=1)
        assert world.response(OUTSIDE).status == 401
        given = credentials(world, OUTSIDE, "genesis_a", "REGISTER", "sip:192.0.2.1")
        world.receive(self.from_outside(world, given), OUTSIDE, side=1)
        assert world.response(OUTSIDE).status == 200

    def test_a_listed_system_outside_needs_none(self, make_world: Make) -> None:
        world = make_world(system={"publicIP": "203.0.113.1"}, allowList=["198.51.100.0/24"])
        world.receive(self.from_outside(world), OUTSIDE, side=1)
        assert world.response(OUTSIDE).status == 200

    def test_a_full_set(self, make_world: Make) -> None:
        world = make_world(dispatchLimit=1)
        assert world.register("genesis_a", GENESIS_A).status == 200
        second = world.register("genesis_a", PHONE, call="other")
        assert (second.status, second.reason) == (503, b"Dispatch Set Is Full")
        (refused,) = [event for event in world.events if isinstance(event, DestinationRefused)]
        assert refused.reason == "set 1 has dispatchLimit = 1 systems already"
        assert len(world.assembly.location) == 1

    @pytest.mark.parametrize("limit", [10, 15])
    def test_all_systems_of_a_set_may_have_the_same_user(self, make_world: Make, limit: int) -> None:
        world = make_world(dispatchLimit=limit)
        found = [
            world.register("genesis_a", f"192.0.2.{number}:5060", call=f"{number}")
            for number in range(100, 116)
        ]
        assert [each.status for each in found] == [200] * limit + [503] * (16 - limit)

    def test_elsewhere(self, world: Any) -> None:
        world.receive(world.request("REGISTER", "sip:other.example", PHONE), PHONE)
        assert world.response(PHONE).status == 403

    def from_outside(self, world: Any, *headers: str) -> bytes:
        contact = f"Contact: <sip:genesis_a@{OUTSIDE}>"
        names = {"to": "<sip:genesis_a@192.0.2.1>", "call": "reg"}
        return bytes(world.request("REGISTER", "sip:192.0.2.1", OUTSIDE, contact, *headers, **names))


class TestCalls:
    """Guide 7.1.6 to 7.1.8."""

    def invite(self, world: Any, source: str, *headers: str, contact: str = "") -> None:
        contact = f"Contact: <{contact or f'sip:5000@{source}'}>"
        world.receive(world.request("INVITE", HOME, source, contact, *headers, user="5000"), source)

    @pytest.mark.parametrize("key", ["enableRegCheck", "enableContactCheck"])
    def test_unregistered_callers_are_ignored(self, make_world: Make, key: str) -> None:
        world = make_world(**{key: True})
        world.systems()
        self.invite(world, PHONE)
        world.advance(5)
        assert world.statuses(PHONE) == []
        assert world.reached() == []
        assert [event.kind for event in world.events if isinstance(event, Offence)] == ["ignored"]
        world.register("5000", PHONE)
        self.invite(world, PHONE)
        assert world.reached() == [GENESIS_A]

    def test_another_contact_is_ignored(self, make_world: Make) -> None:
        world = make_world(enableContactCheck=True)
        world.systems()
        world.register("5000", PHONE)
        self.invite(world, PHONE, contact="sip:5000@192.0.2.66")
        assert world.reached() == []

    @pytest.mark.parametrize(
        ("registered", "used", "same"),
        [
            (";transport=udp", "", True),
            ("", ";Transport=UDP", True),
            (";transport=udp;ob", ";x=1", True),
            (";transport=tcp", "", False),
            ("", ";transport=tcp", False),
        ],
    )
    def test_udp_goes_without_saying(self, make_world: Make, registered: str, used: str, same: bool) -> None:
        world = make_world(enableContactCheck=True)
        world.systems()
        contact = f"sip:5000@{PHONE}"
        world.register("5000", PHONE, contact=f"<{contact}{registered}>")
        self.invite(world, PHONE, contact=contact + used)
        assert world.reached() == ([GENESIS_A] if same else [])

    @pytest.mark.parametrize("key", ["enableRegCheck", "enableContactCheck", "enableInviteAuth"])
    def test_a_caller_may_use_another_of_our_names(self, make_world: Make, key: str) -> None:
        world = make_world(**{key: True}, system={"alias": ["pbx.example"]})
        world.systems()
        world.register("5000", PHONE)
        call = partial(world.request, "INVITE", HOME, PHONE, f"Contact: <sip:5000@{PHONE}>", user="5000")
        text = call().replace(b"From: <sip:5000@192.0.2.1>", b"From: <sip:5000@PBX.example>")
        world.receive(text, PHONE)
        if key == "enableInviteAuth":
            given = credentials(world, PHONE, "5000", "INVITE", HOME)
            world.receive(call(given).replace(b"@192.0.2.1>;tag", b"@pbx.example>;tag"), PHONE)
        assert world.reached() == [GENESIS_A]

    @pytest.mark.parametrize("key", ["enableRegCheck", "enableContactCheck"])
    def test_a_name_that_is_not_ours_is_nobodys(self, make_world: Make, key: str) -> None:
        world = make_world(**{key: True}, system={"alias": ["pbx.example"]})
        world.systems()
        world.register("5000", PHONE)
        text = world.request("INVITE", HOME, PHONE, f"Contact: <sip:5000@{PHONE}>", user="5000")
        world.receive(text.replace(b"@192.0.2.1>;tag", b"@elsewhere.example>;tag"), PHONE)
        assert world.reached() == []

    def test_credentials_for_us_go_no_further(self, make_world: Make) -> None:
        world = make_world(enableInviteAuth=True)
        world.systems()
        world.register("5000", PHONE)
        self.invite(world, PHONE)
        given = credentials(world, PHONE, "5000", "INVITE", HOME)
        other = given.replace('realm="192.0.2.1"', 'realm="behind.example"')
        assert other != given
        self.invite(world, PHONE, other, given)
        invite, place = world.sent[-1]
        assert place == GENESIS_A
        assert invite.all(b"proxy-authorization") == [other.partition(": ")[2].encode()]

    @pytest.mark.parametrize("key", ["enableRegCheck", "enableContactCheck", "enableInviteAuth"])
    def test_the_allow_list_goes_round_them(self, make_world: Make, key: str) -> None:
        world = make_world(allowList=["192.0.2.50"], **{key: True})
        world.systems()
        self.invite(world, PHONE)
        assert world.reached() == [GENESIS_A]

    def test_invite_with_digest_of_a_registered_user(self, make_world: Make) -> None:
        world = make_world(enableInviteAuth=True)
        world.systems()
        self.invite(world, PHONE)
        assert world.response(PHONE).status == 407
        given = credentials(world, PHONE, "5000", "INVITE", HOME)
        self.invite(world, PHONE, given)
        assert world.response(PHONE).status == 403
        world.register("5000", PHONE)
        self.invite(world, PHONE)
        self.invite(world, PHONE, credentials(world, PHONE, "5000", "INVITE", HOME))
        assert world.reached() == [GENESIS_A]

    def test_genesis_is_never_asked(self, make_world: Make) -> None:
        world = make_world(enableInviteAuth=True, enableRegCheck=True)
        world.systems()
        world.register("5000", PHONE)
        world.receive(world.request("INVITE", "sip:5000@192.0.2.1", GENESIS_A), GENESIS_A)
        assert world.reached() == [PHONE]


class TestStrangers:
    """Guide 7.1.15 knows the limit of one address only; forged ones are many."""

    def flood(self, world: Any, count: int, method: str = "INVITE") -> int:
        """So many strangers send one request each; how many of those reach Genesis."""
        world.sent.clear()
        for number in range(count):
            place = f"192.0.2.{100 + number}:5060"
            world.receive(world.request(method, HOME, place), place)
        return [place for _, place in world.sent].count(GENESIS_A)

    def make(self, make_world: Make, **proxy: Any) -> Any:
        world = make_world(**{"strangerRate": 10, **proxy})
        world.systems()
        world.assembly.guard.registered(pack("192.0.2.50", 5060), world.now + 60)
        return world

    @pytest.mark.parametrize("method", ["INVITE", "MESSAGE"])
    def test_genesis_gets_so_many_a_second(self, make_world: Make, method: str) -> None:
        world = self.make(make_world)
        assert self.flood(world, 30, method) == 10
        world.receive(world.request(method, HOME, PHONE), PHONE)
        assert world.sent[-1][1] == GENESIS_A
        assert world.statuses("192.0.2.129:5060") == []
        assert len(world.core.layer) == 2 * 11  # of those held up nothing is kept
        offences = [event for event in world.events if isinstance(event, Offence)]
        assert (len(offences), offences[0].kind) == (20, "ignored")
        assert world.assembly.guard.held == 20
        world.now += 0.5
        assert self.flood(world, 30, method) == 5

    @pytest.mark.parametrize(
        "keys", [{"strangerRate": 0}, {"enableAntiFlood": False}, {"protectionDryRun": True}]
    )
    def test_switched_off(self, make_world: Make, keys: dict[str, Any]) -> None:
        world = self.make(make_world, **keys)
        assert self.flood(world, 30) == 30
        told = [event.reason for event in world.events if isinstance(event, Offence)]
        held = 20 if "protectionDryRun" in keys else 0
        assert (world.assembly.guard.held, len(told)) == (held, held)
        assert all(reason.endswith("; would be ignored") for reason in told)


def test_credentials_of_an_unknown_scheme_are_none(make_world: Make) -> None:
    """RFC 4475 section 3.3.7 (regaut01)."""
    world = make_world(enableRegAuth=True, system={"alias": ["example.com"]})
    vector = Path(__file__).parents[2] / "vectors" / "rfc4475" / "regaut01.dat"
    world.receive(vector.read_bytes(), PHONE)
    assert world.response(PHONE).status == 401
