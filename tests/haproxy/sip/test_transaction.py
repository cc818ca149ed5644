"""Every state and timer of RFC 3261 §17 with RFC 6026 and RFC 4320, and the layer around them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from haproxy.sip import via
from haproxy.sip.flow import Flow, reopened
from haproxy.sip.message import Request, Response, parse
from haproxy.sip.state import State
from haproxy.sip.transaction import (
    AckReceived,
    Malformed,
    RequestReceived,
    ResponseReceived,
    StrayResponse,
    Terminated,
    Timeout,
    TransportError,
)
from haproxy.testing.playbook import PEER, Playbook, request_bytes
from rtlib.address import pack


class TestInviteClient:
    def test_calling_retransmits_with_timer_a_and_gives_up_with_b(self) -> None:
        book = Playbook()
        transaction = book.client(b"INVITE")
        assert transaction.state is State.calling
        assert book.times_sent(31.9) == [0.5, 1.5, 3.5, 7.5, 15.5, 31.5]
        book.told()
        book.until(32.1).sent().told(Timeout, Terminated)
        assert len(book.layer) == 0
        assert book.layer.get_timer() is None

    def test_reliable_transports_do_not_retransmit(self) -> None:
        book = Playbook("tcp")
        book.client(b"INVITE")
        assert book.times_sent(31.9) == []
        book.until(32.1).told(Timeout, Terminated)

    def test_a_provisional_response_stops_a_and_b(self) -> None:
        book = Playbook()
        transaction = book.client(b"INVITE")
        book.answer(transaction, 100).told(ResponseReceived)
        assert transaction.state is State.proceeding
        assert book.times_sent(600.0) == []
        book.answer(transaction, 180).told(ResponseReceived)

    @pytest.mark.parametrize("provisional", [True, False])
    def test_success_is_delivered_each_time_until_timer_m(self, provisional: bool) -> None:
        book = Playbook()
        transaction = book.client(b"INVITE")
        if provisional:
            book.answer(transaction, 180).told(ResponseReceived)
        book.answer(transaction, 200).sent().told(ResponseReceived)
        assert transaction.state is State.accepted
        book.until(31.0).answer(transaction, 200).sent().told(ResponseReceived)
        book.answer(transaction, 486).answer(transaction, 180).sent().told()
        book.until(32.1).told(Terminated)
        book.answer(transaction, 200).told(StrayResponse)

    @pytest.mark.parametrize("provisional", [True, False])
    def test_failure_is_acknowledged_each_time_until_timer_d(self, provisional: bool) -> None:
        book = Playbook()
        transaction = book.client(b"INVITE")
        if provisional:
            book.answer(transaction, 180).told(ResponseReceived)
        book.answer(transaction, 486).sent("ACK").told(ResponseReceived)
        assert transaction.state is State.completed
        book.answer(transaction, 486).sent("ACK").told()
        book.answer(transaction, 200).sent().told()
        book.until(31.9).told()
        book.until(32.1).told(Terminated)

    def test_timer_d_is_zero_on_reliable_transports(self) -> None:
        book = Playbook("tcp")
        book.answer(book.client(b"INVITE"), 486).sent("ACK").told(ResponseReceived, Terminated)

    def test_the_ack_is_made_of_invite_and_response(self) -> None:
        book = Playbook()
        transaction = book.client(b"INVITE")
        book.answer(transaction, 486)
        (ack,) = book.outgoing()
        assert isinstance(ack, Request)
        assert ack.uri == transaction.request.uri
        assert ack.values(b"via") == [transaction.request.top_via.raw]
        assert (ack.to_tag, ack.from_tag, ack.call_id, ack.cseq) == (b"t", b"f", b"c", (1, b"ACK"))
        assert ack.all(b"route") == [b"<sip:r;lr>"]

    def test_a_transport_error_ends_calling(self) -> None:
        book = Playbook()
        book.client(b"INVITE")
        book.layer.transport_error(book.flow, book.now)
        book.until(0.1).told(TransportError, Terminated)

    def test_a_transport_error_while_proceeding_changes_nothing(self) -> None:
        book = Playbook()
        transaction = book.client(b"INVITE")
        book.answer(transaction, 180).told(ResponseReceived)
        book.layer.transport_error(book.flow, book.now)
        book.until(1.0).told()
        assert transaction.state is State.proceeding

    @pytest.mark.parametrize("status", [200, 486])
    def test_a_transport_error_is_nothing_to_one_that_has_its_answer(self, status: int) -> None:
        book = Playbook()
        book.answer(book.client(b"INVITE"), status).told(ResponseReceived)
        book.layer.transport_error(book.flow, book.now)
        book.until(31.0).told()


class TestCancel:
    def test_cancel_waits_for_a_provisional_response(self) -> None:
        book = Playbook()
        transaction = book.client(b"INVITE")
        book.layer.cancel(transaction, book.now, b"SIP;cause=200")
        book.sent()
        book.answer(transaction, 100)
        (cancel,) = book.outgoing()
        assert isinstance(cancel, Request)
        assert (cancel.method, cancel.uri, cancel.cseq) == (
            b"CANCEL",
            transaction.request.uri,
            (1, b"CANCEL"),
        )
        assert cancel.values(b"via") == [transaction.request.top_via.raw]
        assert (cancel.first(b"to"), cancel.to_tag) == (transaction.request.first(b"to"), None)
        assert (cancel.all(b"route"), cancel.first(b"reason")) == ([b"<sip:r;lr>"], b"SIP;cause=200")

    def test_the_user_hears_nothing_of_the_cancel_itself(self) -> None:
        book = Playbook()
        transaction = book.client(b"INVITE")
        book.answer(transaction, 180).told(ResponseReceived)
        book.layer.cancel(transaction, book.now)
        book.layer.cancel(transaction, book.now)
        book.sent("CANCEL").answer(transaction, 200, b"CANCEL").told()
        book.answer(transaction, 487).sent("ACK").told(ResponseReceived)
        book.until(40.0).told(Terminated)
        assert len(book.layer) == 0

    def test_a_final_response_makes_it_unnecessary(self) -> None:
        book = Playbook()
        transaction = book.client(b"INVITE")
        book.layer.cancel(transaction, book.now)
        book.answer(transaction, 200).sent()
        book.layer.cancel(transaction, book.now)
        book.sent()

    def test_without_final_response_the_invite_times_out(self) -> None:
        book = Playbook()
        transaction = book.client(b"INVITE")
        book.answer(transaction, 180).told(ResponseReceived)
        book.until(10.0).layer.cancel(transaction, book.now)
        book.answer(transaction, 200, b"CANCEL").until(41.9).told()
        book.until(42.2).told(Timeout, Terminated)

    def test_only_an_invite_can_be_cancelled(self) -> None:
        book = Playbook()
        transaction = book.client(b"OPTIONS")
        book.layer.cancel(transaction, book.now)
        book.answer(transaction, 100).sent()


class TestNonInviteClient:
    def test_trying_retransmits_with_timer_e_and_gives_up_with_f(self) -> None:
        book = Playbook()
        transaction = book.client(b"OPTIONS")
        assert transaction.state is State.trying
        assert book.times_sent(31.9) == [0.5, 1.5, 3.5, 7.5, 11.5, 15.5, 19.5, 23.5, 27.5, 31.5]
        book.until(32.1).told(Timeout, Terminated)

    def test_proceeding_retransmits_every_t2(self) -> None:
        book = Playbook()
        transaction = book.client(b"OPTIONS")
        book.until(0.2).answer(transaction, 100).told(ResponseReceived)
        assert transaction.state is State.proceeding
        assert book.times_sent(14.0) == [0.5, 4.5, 8.5, 12.5]
        book.answer(transaction, 100).told(ResponseReceived)
        book.until(32.1).told(Timeout, Terminated)

    @pytest.mark.parametrize("status", [200, 302, 404, 503, 603])
    @pytest.mark.parametrize("provisional", [True, False])
    def test_a_final_response_is_delivered_once(self, status: int, provisional: bool) -> None:
        book = Playbook()
        transaction = book.client(b"OPTIONS")
        if provisional:
            book.answer(transaction, 100).told(ResponseReceived)
        book.answer(transaction, status).told(ResponseReceived)
        assert transaction.state is State.completed
        book.answer(transaction, status).answer(transaction, 100).sent().told()
        assert book.times_sent(4.9) == []
        book.until(5.1).told(Terminated)

    def test_timer_k_is_zero_on_reliable_transports(self) -> None:
        book = Playbook("tls")
        transaction = book.client(b"OPTIONS")
        assert book.times_sent(10.0) == []
        book.answer(transaction, 200).told(ResponseReceived, Terminated)

    @pytest.mark.parametrize("provisional", [True, False])
    def test_a_transport_error_ends_it(self, provisional: bool) -> None:
        book = Playbook()
        transaction = book.client(b"OPTIONS")
        if provisional:
            book.answer(transaction, 100).told(ResponseReceived)
        book.layer.transport_error(book.flow, book.now)
        book.until(0.1).told(TransportError, Terminated)


class TestInviteServer:
    def test_trying_is_sent_after_200_ms(self) -> None:
        book = Playbook()
        transaction = book.server(b"INVITE")
        book.until(0.15).sent()
        book.until(0.3).sent("100")
        assert transaction.state is State.proceeding
        assert book.times_sent(300.0) == []

    def test_trying_is_not_sent_when_the_user_was_faster(self) -> None:
        book = Playbook()
        transaction = book.server(b"INVITE")
        book.respond(transaction, 180).sent("180").until(5.0).sent()

    def test_proceeding_answers_retransmissions_with_the_last_provisional(self) -> None:
        book = Playbook()
        transaction = book.server(b"INVITE")
        book.hear(request_bytes(b"INVITE")).sent().told()
        book.respond(transaction, 180).respond(transaction, 183).sent("180", "183")
        book.hear(request_bytes(b"INVITE")).sent("183").told()

    def test_failure_is_retransmitted_with_timer_g_until_timer_h(self) -> None:
        book = Playbook()
        transaction = book.server(b"INVITE")
        book.respond(transaction, 486).sent("486")
        assert transaction.state is State.completed
        assert book.times_sent(31.9) == [0.5, 1.5, 3.5, 7.5, 11.5, 15.5, 19.5, 23.5, 27.5, 31.5]
        book.hear(request_bytes(b"INVITE")).sent("486")
        book.respond(transaction, 200).sent()
        book.until(32.1).told(Timeout, Terminated)

    def test_ack_ends_retransmissions_and_is_absorbed_until_timer_i(self) -> None:
        book = Playbook()
        transaction = book.server(b"INVITE")
        book.respond(transaction, 486).sent("486").hear(request_bytes(b"ACK", to_tag=b";tag=t")).told()
        assert transaction.state is State.confirmed
        assert book.times_sent(4.9) == []
        book.hear(request_bytes(b"ACK", to_tag=b";tag=t")).hear(request_bytes(b"INVITE")).sent().told()
        book.until(5.1).told(Terminated)

    def test_reliable_transports_need_no_g_and_i(self) -> None:
        book = Playbook("tcp")
        transaction = book.server(b"INVITE")
        book.respond(transaction, 486).sent("486")
        assert book.times_sent(31.0) == []
        book.hear(request_bytes(b"ACK", to_tag=b";tag=t")).told(Terminated)

    def test_timer_h_runs_on_reliable_transports_too(self) -> None:
        book = Playbook("tcp")
        book.respond(book.server(b"INVITE"), 486).until(32.1).told(Timeout, Terminated)

    def test_accepted_absorbs_the_invite_and_lets_acks_and_2xx_through(self) -> None:
        book = Playbook()
        transaction = book.server(b"INVITE")
        book.respond(transaction, 200).sent("200")
        assert transaction.state is State.accepted
        assert book.times_sent(20.0) == []
        book.hear(request_bytes(b"INVITE")).sent().told()
        book.respond(transaction, 200).sent("200")
        book.respond(transaction, 486).respond(transaction, 180).sent()
        book.hear(request_bytes(b"ACK", to_tag=b";tag=t")).told(AckReceived)
        book.hear(request_bytes(b"ACK", branch=b"z9hG4bKack", to_tag=b";tag=t")).told(AckReceived)
        book.until(31.9).told()
        book.until(32.1).told(Terminated)

    @pytest.mark.parametrize(
        ("status", "state"), [(180, State.proceeding), (200, State.accepted), (486, State.completed)]
    )
    def test_a_transport_error_changes_nothing(self, status: int, state: State) -> None:
        book = Playbook()
        transaction = book.server(b"INVITE")
        book.respond(transaction, status).layer.transport_error(book.flow, book.now)
        book.until(0.4).told()
        assert transaction.state is state

    def test_an_old_style_ack_is_matched_by_its_tag(self) -> None:
        book = Playbook()
        transaction = book.server(b"INVITE", branch=b"1")
        book.respond(transaction, 486)
        book.hear(request_bytes(b"ACK", branch=b"1", to_tag=b";tag=other")).told(AckReceived)
        assert transaction.state is State.completed
        book.hear(request_bytes(b"ACK", branch=b"1", to_tag=b";tag=t")).told()
        assert str(transaction.state) == "confirmed"


class TestNonInviteServer:
    def test_retransmissions_are_absorbed_while_trying(self) -> None:
        book = Playbook()
        transaction = book.server(b"OPTIONS")
        assert transaction.state is State.trying
        book.hear(request_bytes(b"OPTIONS")).sent().told()

    def test_a_final_response_answers_retransmissions_until_timer_j(self) -> None:
        book = Playbook()
        transaction = book.server(b"OPTIONS")
        book.respond(transaction, 200).sent("200")
        assert transaction.state is State.completed
        book.respond(transaction, 404).sent()
        book.hear(request_bytes(b"OPTIONS")).sent("200").told()
        assert book.times_sent(31.9) == []
        book.until(32.1).told(Terminated)
        book.hear(request_bytes(b"OPTIONS")).told(RequestReceived)

    def test_timer_j_is_zero_on_reliable_transports(self) -> None:
        book = Playbook("tcp")
        book.respond(book.server(b"OPTIONS"), 200).sent("200").told(Terminated)

    def test_trying_over_udp_comes_when_timer_e_has_reached_t2(self) -> None:
        book = Playbook()
        transaction = book.server(b"OPTIONS")
        book.respond(transaction, 100).sent()
        book.until(3.4).sent()
        book.until(3.6).sent("100")
        assert transaction.state is State.proceeding
        book.hear(request_bytes(b"OPTIONS")).sent("100").told()
        book.respond(transaction, 200).sent("200")

    def test_trying_over_tcp_may_come_at_any_time(self) -> None:
        book = Playbook("tcp")
        transaction = book.server(b"OPTIONS")
        book.respond(transaction, 100).sent("100").until(5.0).sent()
        book.respond(transaction, 183).sent()

    def test_request_timeout_is_never_sent(self) -> None:
        book = Playbook()
        transaction = book.server(b"OPTIONS")
        book.respond(transaction, 408).sent().told()
        book.hear(request_bytes(b"OPTIONS")).sent().told()
        book.until(32.1).told(Terminated)
        assert transaction.state is State.terminated

    def test_a_transport_error_changes_nothing(self) -> None:
        book = Playbook()
        book.respond(book.server(b"OPTIONS"), 200).layer.transport_error(book.flow, book.now)
        book.until(0.1).told()
        book.hear(request_bytes(b"OPTIONS")).sent("200", "200")


class TestMatching:
    def test_requests_match_by_branch_sent_by_and_method(self) -> None:
        book = Playbook()
        invite = book.server(b"INVITE")
        for other in (
            request_bytes(b"INVITE", branch=b"z9hG4bKother"),
            request_bytes(b"INVITE", via=b"192.0.2.1:5062"),
            request_bytes(b"OPTIONS"),
        ):
            book.hear(other).told(RequestReceived)
        cancel = book.server(b"CANCEL")
        assert book.layer.invite_of(cancel) is invite
        stray = book.server(b"CANCEL", branch=b"z9hG4bKnone")
        assert book.layer.invite_of(stray) is None

    def test_responses_match_by_branch_and_method(self) -> None:
        book = Playbook()
        transaction = book.client(b"INVITE")
        book.answer(transaction, 200, b"OPTIONS").told(StrayResponse)
        assert transaction.state is State.calling

    def test_ack_never_makes_a_transaction(self) -> None:
        book = Playbook()
        book.hear(request_bytes(b"ACK")).sent().told(AckReceived)
        book.hear(request_bytes(b"ACK").replace(b"CSeq: 1", b"CSeq: x")).sent().told(Malformed)
        assert len(book.layer) == 0


class TestSource:
    def reply(self, via: bytes, source: str, port: int) -> tuple[bytes, bytes]:
        book = Playbook()
        book.flow = Flow("udp", 1, pack(source, port))
        book.hear(request_bytes(b"OPTIONS", via=via))
        transaction = book.event(RequestReceived).transaction
        assert transaction.source == book.flow
        book.respond(transaction, 200)
        ((data, flow),) = book.layer.to_send(book.now)
        return parse(data).top_via.raw, flow.remote

    def test_where_responses_go(self) -> None:
        tail = b";branch=z9hG4bKpeer"
        for sent_by, source, port, stamp, target in (
            (b"192.0.2.1", "192.0.2.1", 5060, b"", PEER),
            (b"192.0.2.1", "192.0.2.1", 40000, b"", PEER),
            (b"192.0.2.1:5070", "192.0.2.1", 40000, b"", pack("192.0.2.1", 5070)),
            (b"host.example", "192.0.2.1", 40000, b";received=192.0.2.1", PEER),
            (b"10.0.0.1:5080", "192.0.2.1", 40000, b";received=192.0.2.1", pack("192.0.2.1", 5080)),
            (b"[2001:DB8::1]", "2001:db8::1", 9, b"", pack("2001:db8::1", 5060)),
        ):
            raw, remote = self.reply(sent_by, source, port)
            assert (raw, remote) == (b"SIP/2.0/UDP " + sent_by + tail + stamp, target), sent_by

    def test_rport_returns_to_the_very_source(self) -> None:
        raw, remote = self.reply(b"10.0.0.1:5080;rport", "192.0.2.1", 40000)
        assert raw == b"SIP/2.0/UDP 10.0.0.1:5080;branch=z9hG4bKpeer;rport=40000;received=192.0.2.1"
        assert remote == pack("192.0.2.1", 40000)

    def test_a_lie_about_the_source_is_corrected(self) -> None:
        raw, remote = self.reply(b"192.0.2.1;received=203.0.113.9;rport=1", "192.0.2.1", 40000)
        assert raw == b"SIP/2.0/UDP 192.0.2.1;branch=z9hG4bKpeer;rport=40000;received=192.0.2.1"
        assert remote == pack("192.0.2.1", 40000)

    def test_maddr(self) -> None:
        assert self.reply(b"192.0.2.1:5070;maddr=192.0.2.200", "192.0.2.1", 5070)[1] == pack(
            "192.0.2.200", 5070
        )
        assert self.reply(b"192.0.2.1;maddr=a.name", "192.0.2.1", 5070)[1] == pack("192.0.2.1", 5070)
        mapped = b"192.0.2.1:5070;maddr=[::ffff:192.0.2.200]"
        assert self.reply(mapped, "192.0.2.1", 5070)[1] == pack("192.0.2.200", 5070)


class TestLayer:
    def test_our_via(self) -> None:
        book = Playbook("tcp")
        transaction = book.client(b"OPTIONS")
        via = transaction.request.top_via
        assert (via.transport, via.sent_by, via.rport) == (b"TCP", b"198.51.100.1:5060", 0)
        assert via.has_cookie
        assert transaction.branch == via.branch

    def test_branches_and_tags_differ(self) -> None:
        layer = Playbook().layer
        assert len({layer.new_branch() for _ in range(2000)}) == 2000

    def test_given_branch_is_used(self) -> None:
        book = Playbook()
        request = parse(request_bytes(b"OPTIONS"))
        assert isinstance(request, Request)
        assert (
            book.layer.request(request, book.flow, book.now, b"z9hG4bKmine.loop").branch
            == b"z9hG4bKmine.loop"
        )

    def test_stateless_ack(self) -> None:
        book = Playbook()
        ack = parse(request_bytes(b"ACK"))
        book.layer.send(ack, book.flow)
        (sent,) = book.outgoing()
        assert len(sent.values(b"via")) == 2
        assert sent.top_via.sent_by == b"198.51.100.1:5060"
        assert len(book.layer) == 0

    def test_keepalives_are_counted_in_silence(self) -> None:
        book = Playbook()
        book.hear(b"\r\n\r\n").hear(b"\0\0\0\0").hear(b"").sent().told()
        assert book.layer.counters.keepalives == 3


class TestBadInput:
    @given(st.data())
    def test_nothing_raises_and_nothing_stays(self, data: st.DataObject) -> None:
        book = Playbook()
        client = book.client(b"INVITE")
        response = bytes(client.request.response(200, to_tag=b"t"))
        for _ in range(data.draw(st.integers(1, 6))):
            kind = data.draw(st.sampled_from([b"INVITE", b"ACK", b"CANCEL", b"OPTIONS", b""]))
            damaged = bytearray(request_bytes(kind) if kind else response)
            for _ in range(data.draw(st.integers(0, 3))):
                at = data.draw(st.integers(0, len(damaged)))
                damaged[at : at + data.draw(st.integers(0, 12))] = data.draw(st.binary(max_size=6))
            book.hear(bytes(damaged))
        for event in book.events():
            if isinstance(event, RequestReceived):
                book.respond(event.transaction, 404)
        book.until(200.0)
        assert len(book.layer) == 0
        assert book.layer.get_timer() is None


def test_a_lost_connection_is_replaced_by_one_to_sent_by() -> None:
    gone = Flow("tcp", 3, pack("192.0.2.1", 40000), 7)
    assert reopened(via.parse(b"SIP/2.0/TCP 10.0.0.1:5070"), gone) == Flow("tcp", 3, pack("192.0.2.1", 5070))
    tls = gone._replace(transport="tls")
    assert reopened(via.parse(b"SIP/2.0/TLS 10.0.0.1"), tls).remote == pack("192.0.2.1", 5061)


class TestNames:
    """What the layer says by itself has the operator's names (guide 7.1.1, 7.1.2)."""

    @pytest.mark.parametrize("name", [None, b"Night Watch"])
    def test_responses(self, name: bytes | None) -> None:
        book = Playbook(server_header=name, limit=0)
        full = request_bytes(b"INVITE")
        malformed = full.replace(b"Max-Forwards: 70", b"Max-Forwards: many")
        said = [*book.hear(full).outgoing(), *book.hear(malformed).outgoing()]
        book = Playbook(server_header=name)
        said += book.hear(full).until(0.3).outgoing()
        assert [each.status for each in said if isinstance(each, Response)] == [503, 400, 100]
        assert [each.first(b"server") for each in said] == [name] * 3

    @pytest.mark.parametrize("name", [None, b"Night Watch"])
    def test_requests(self, name: bytes | None) -> None:
        book = Playbook(user_agent=name)
        transaction = book.client(b"INVITE")
        book.outgoing()
        book.answer(transaction, 180)
        book.layer.cancel(transaction, book.now)
        (cancel,) = book.outgoing()
        (ack,) = book.answer(transaction, 487).outgoing()
        assert [each.first(b"user-agent") for each in (cancel, ack)] == [name] * 2
