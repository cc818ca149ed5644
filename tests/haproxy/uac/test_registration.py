"""One registration's life: first request, refresh, retry, un-registration; reload; several places."""

from typing import Any

import pytest

from haproxy.dns.record import Srv
from haproxy.uac.registration import State

CHALLENGE = 'WWW-Authenticate: Digest realm="provider.example", nonce="n1", qop="auth", algorithm=MD5'


def test_the_request(line: Any) -> None:
    request = line.request
    assert (request.method, request.uri) == (b"REGISTER", b"sip:provider.example")
    assert request.first(b"to") == b"<sip:alice@provider.example>"
    assert request.first(b"from").startswith(b"<sip:alice@provider.example>;tag=")
    assert request.first(b"contact") == b"<sip:line1@192.0.2.1>"
    assert request.first(b"expires") == b"3600"
    assert request.first(b"user-agent") == b"Genesis Proxy"
    assert request.top_via.sent_by == b"192.0.2.1:5060"
    assert line.place == "udp:198.51.100.9:5060"


def test_it_is_refreshed_before_it_expires(line: Any) -> None:
    first = line.request
    line.accept(1000)
    assert line.state is State.REGISTERED
    assert line.find().expires == line.now + 1000
    assert 800 <= line.wait <= 900
    assert line.advance(799).request is first
    line.refresh()
    assert line.request is not first
    assert line.request.call_id == first.call_id
    assert line.request.from_tag == first.from_tag
    assert line.request.cseq_number == first.cseq_number + 1
    line.accept(1000)
    (told,) = line.told()  # once, not for each refresh
    assert (told.previous, told.current, told.life) == ("waiting", "registered", 1000)


def test_refreshes_of_many_do_not_come_at_once(new: Any) -> None:
    line = new(*[{"l_uuid": f"line{number}"} for number in range(20)]).advance(1)
    for request, _ in list(line.requests):
        line.accept(request=request)
    assert len({round(each.due) for each in line.registrations}) > 10


def test_many_do_not_begin_at_once(new: Any) -> None:
    line = new(*[{"l_uuid": f"line{number}"} for number in range(100)])
    assert len(line.requests) <= 10
    assert len(line.advance(2.2).requests) == 100


def test_many_do_not_end_at_once(new: Any) -> None:
    line = new(*[{"l_uuid": f"line{number}"} for number in range(100)]).advance(2.2)
    for request, _ in list(line.requests):
        line.accept(request=request)
    line.reload({"l_uuid": "line0"})
    assert len(line.requests) <= 110
    line.reload({"l_uuid": "line0"}, {"l_uuid": "line99"})  # which has not left yet
    assert len(line.advance(2.2).requests) == 199
    assert line.registrations.settled is False
    for request, _ in line.requests[100:]:
        line.answer(200, request=request)
    assert line.advance(0.2).find("line99").state is State.REGISTERING


def test_a_short_life_does_not_make_a_flood(line: Any) -> None:
    assert line.accept(1).wait == 5.0


@pytest.mark.parametrize(("interval", "rounded"), [(180, 180), (90, 90), (134, 90), (135, 180), (300, 270)])
def test_the_retry_interval_is_rounded(new: Any, interval: int, rounded: int) -> None:
    line = new(proxy={"regRetryInterval": interval})
    assert line.answer(403).wait == rounded
    assert line.state is State.FAILED
    first = line.request
    assert line.advance(rounded - 1).request is first
    assert line.advance(2).request is not first
    line.accept()
    assert [each.current for each in line.told()] == ["failed", "registered"]


def test_no_retries(new: Any) -> None:
    line = new(proxy={"regRetryInterval": 0})
    line.answer(503, "Retry-After: 20")
    assert line.wait is None
    assert len(line.advance(100_000).requests) == 1
    (told,) = line.told()
    assert told.retry is None
    assert line.registrations.refresh("line1", line.now)
    assert len(line.collect().requests) == 2


@pytest.mark.parametrize(
    ("value", "wait"),
    [("30", 30), ("1", 10), ("999999", 3600), ("40 (maintenance);duration=9", 40), ("soon", 180)],
)
def test_retry_after_is_honoured_in_bounds(line: Any, value: str, wait: int) -> None:
    assert line.answer(503, f"Retry-After: {value}").wait == wait


def test_nobody_answers(line: Any) -> None:
    assert line.advance(31).state is State.REGISTERING
    assert line.advance(2).state is State.FAILED
    assert (line.find().status, line.find().reason) == (408, "does not answer")
    assert line.registrations.tally.answers == {"timeout": 1}


def test_flushed_transactions_do_not_stop_it(line: Any) -> None:
    line.core.flush(None, line.now)
    assert line.advance(40).find().status == 408


def test_what_is_known_of_a_silent_peer_is_said(line: Any) -> None:
    line.trouble("198.51.100.8:5060", "another one's").trouble("198.51.100.9:5060", "sends garbage")
    assert line.advance(40).find().reason == "does not answer: sends garbage"


def test_the_same_failure_is_told_once(line: Any) -> None:
    for _ in range(4):
        line.answer(403).advance(181)
    line.answer(404)
    assert [(each.current, each.status) for each in line.told()] == [("failed", 403), ("failed", 404)]
    assert line.registrations.tally.answers == {"403": 4, "404": 1}


def test_reg_delay(new: Any) -> None:
    line = new({"reg_delay": 50}).advance(49)
    assert line.requests == []
    assert line.state is State.WAITING
    assert len(line.advance(2).requests) == 1


def test_it_unregisters_where_it_is_registered(line: Any) -> None:
    first = line.request
    line.accept()
    line.told()
    line.deactivate()
    assert line.state is State.UNREGISTERING
    assert not line.registrations.settled
    assert line.request.first(b"expires") == b"0"
    assert line.request.first(b"contact") == first.first(b"contact")
    assert (line.request.call_id, line.request.cseq_number) == (first.call_id, first.cseq_number + 1)
    line.answer(200)
    assert line.registrations.settled
    assert [each.current for each in line.told()] == ["unregistered"]
    assert len(line.advance(10_000).requests) == 2


def test_a_request_on_its_way_is_awaited_before_it_unregisters(line: Any) -> None:
    assert len(line.deactivate().requests) == 1  # RFC 3261 10.2: one at a time
    assert line.accept().request.first(b"expires") == b"0"
    assert line.answer(200).registrations.settled


def test_who_is_not_registered_need_not_unregister(line: Any) -> None:
    line.answer(403).deactivate()
    assert line.registrations.settled
    assert len(line.requests) == 1


def test_a_registrar_that_does_not_answer_the_end(line: Any) -> None:
    line.accept().deactivate().advance(3.5)
    assert not line.registrations.settled
    assert line.advance(1.0).registrations.settled


def test_a_registrar_that_refuses_the_end(line: Any) -> None:
    assert line.accept().deactivate().answer(404).registrations.settled


def test_switched_off_and_on_again(line: Any) -> None:
    line.accept().deactivate().activate()
    line.answer(200).advance(0.2)
    assert line.request.first(b"expires") == b"3600"
    assert line.accept().state is State.REGISTERED
    line.deactivate().answer(200).activate()
    assert line.accept().state is State.REGISTERED


def test_switched_off_while_it_waits(off: Any) -> None:
    line = off({"reg_delay": 10}).activate().deactivate().advance(100)
    assert line.requests == []
    assert line.told() == []
    assert len(line.activate().requests) == 1


def test_a_refresh_on_command(line: Any) -> None:
    assert not line.registrations.refresh("line1", line.now)  # it is being tried
    line.accept()
    assert line.registrations.refresh("line1", line.now)
    assert len(line.collect().requests) == 2
    assert line.state is State.REGISTERED  # until the answer says otherwise
    with pytest.raises(KeyError):
        line.registrations.refresh("line9", line.now)


def test_a_refresh_that_is_refused_is_told_at_once(line: Any) -> None:
    line.accept(1000).refresh().answer(403)
    assert [each.current for each in line.told()] == ["registered", "failed"]
    assert line.find().expires > line.now  # so it will be un-registered in the end


class TestReload:
    def test_a_new_one_registers(self, line: Any) -> None:
        line.accept().reload({}, {"l_uuid": "line2"})
        assert line.request.first(b"contact") == b"<sip:line2@192.0.2.1>"
        assert len(line.requests) == 2

    def test_one_that_is_gone_unregisters(self, line: Any) -> None:
        line.accept().reload()
        assert list(line.registrations) == []
        assert line.request.first(b"expires") == b"0"
        assert not line.registrations.settled
        assert line.answer(200).registrations.settled

    def test_one_that_is_the_same_goes_on(self, line: Any) -> None:
        kept = line.accept().find()
        assert line.reload({}).find() is kept
        assert len(line.requests) == 1

    @pytest.mark.parametrize("change", [{"auth_password": "new"}, {"expires": 600}])
    def test_the_same_binding_is_refreshed(self, line: Any, change: dict[str, Any]) -> None:
        line.accept().reload(change)
        assert len(line.requests) == 2
        assert line.request.call_id == line.requests[0][0].call_id
        assert line.request.first(b"expires") == b"%d" % change.get("expires", 3600)

    def test_new_credentials_while_a_request_is_on_its_way(self, line: Any) -> None:
        assert len(line.reload({"auth_password": "new"}).requests) == 1
        assert len(line.answer(403).requests) == 2
        line.accept()
        assert [each.current for each in line.told()] == ["registered"]

    @pytest.mark.parametrize(
        "change",
        [{"r_username": "bob"}, {"auth_proxy": "198.51.100.10"}, {"reg_contact_addr": "192.0.2.9:5070"}],
    )
    def test_another_binding_begins_when_the_old_one_is_gone(self, line: Any, change: dict[str, Any]) -> None:
        old = line.accept().find()
        line.reload(change)
        assert line.request.first(b"expires") == b"0"
        assert line.find() is not old
        line.answer(200).advance(0.1)
        assert line.request.first(b"expires") == b"3600"
        assert line.accept().state is State.REGISTERED

    def test_changed_twice_before_the_first_is_gone(self, line: Any) -> None:
        line.accept().reload({"r_username": "bob"}).reload({"r_username": "carol"})
        line.answer(200).advance(0.1)
        sent = [request.first(b"to") for request, _ in line.requests if request.first(b"expires") != b"0"]
        assert sent == [b"<sip:alice@provider.example>", b"<sip:carol@provider.example>"]

    def test_taken_out_and_put_in_again(self, line: Any) -> None:
        line.accept().reload().reload({})
        line.answer(200, request=line.requests[1][0]).advance(0.1)
        assert line.accept().state is State.REGISTERED

    def test_another_interval_counts_for_who_waits(self, new: Any) -> None:
        line = new(proxy={"regRetryInterval": 0}).answer(403)
        assert line.reload({}, proxy={"regRetryInterval": 90}).wait == 89.9
        assert line.reload({}, proxy={"regRetryInterval": 0}).wait is None

    def test_nothing_begins_while_the_node_is_not_active(self, off: Any) -> None:
        assert off({}).reload({}, {"l_uuid": "line2"}).advance(10).requests == []


class TestPlaces:
    @pytest.fixture
    def line(self, new: Any) -> Any:
        servers = [Srv(1, 1, 5060, "one.example"), Srv(2, 1, 5061, "two.example")]
        zone = {"one.example A": ["203.0.113.1"], "two.example A": ["203.0.113.2"]}
        line = new({"auth_proxy": "sip:provider.example"})
        return line.look_up(zone | {"_sip._udp.provider.example SRV": servers})

    def test_the_first(self, line: Any) -> None:
        assert line.place == "udp:203.0.113.1:5060"

    def test_the_second_when_the_first_is_silent(self, line: Any) -> None:
        assert line.advance(3.5).place == "udp:203.0.113.1:5060"
        assert line.advance(1).place == "udp:203.0.113.2:5061"
        assert line.accept().state is State.REGISTERED
        assert line.registrations.tally.failovers == 1

    def test_the_second_when_nobody_is_at_the_first(self, line: Any) -> None:
        assert line.unreachable().place == "udp:203.0.113.2:5061"

    def test_the_second_when_the_first_says_503(self, line: Any) -> None:
        assert line.answer(503).place == "udp:203.0.113.2:5061"

    def test_a_late_answer_of_the_first_changes_nothing(self, line: Any) -> None:
        first = line.request
        line.advance(5).answer(403, request=first)
        assert line.state is State.REGISTERING

    def test_not_when_it_says_no(self, line: Any) -> None:
        assert line.answer(403).place == "udp:203.0.113.1:5060"
        assert line.state is State.FAILED

    def test_a_challenge_is_answered_where_it_came_from(self, line: Any) -> None:
        line.answer(503).answer(401, CHALLENGE)
        assert line.place == "udp:203.0.113.2:5061"
        assert b"authorization" in line.request

    def test_each_may_challenge(self, line: Any) -> None:
        line.answer(401, CHALLENGE).answer(503).answer(401, CHALLENGE.replace("n1", "n2"))
        assert b'nonce="n2"' in line.request.first(b"authorization")

    def test_the_end_is_told_to_the_one_that_registered(self, line: Any) -> None:
        line.answer(503).accept()
        assert line.deactivate().place == "udp:203.0.113.2:5061"

    def test_all_are_dead(self, line: Any) -> None:
        line.unreachable().unreachable()
        assert (line.state, line.find().status) == (State.FAILED, 503)
        assert line.registrations.tally.answers == {"unreachable": 1}


def test_no_such_name(new: Any) -> None:
    line = new({"auth_proxy": "sip:nobody.example"}).look_up({})
    assert (line.state, line.find().reason) == (State.FAILED, "its name has no address")
