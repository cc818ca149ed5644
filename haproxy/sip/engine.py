"""What moves transactions along their tables: steps, timers, and the actions of `haproxy.sip.state`."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping
from typing import Final, TypeAlias

from haproxy.sip import client, state
from haproxy.sip.client import ClientTransaction
from haproxy.sip.event import (
    AckReceived,
    Counters,
    Event,
    ResponseReceived,
    Terminated,
    Timeout,
    TransportError,
)
from haproxy.sip.flow import Flow
from haproxy.sip.message import Request, Response
from haproxy.sip.server import Key, ServerTransaction
from haproxy.sip.state import TERMINATED, Action, Input
from haproxy.sip.step import NEVER, NOTHING, Beginning, Perform, Transaction, resolve
from haproxy.sip.timers import TRYING, Timers
from rtlib.wheel import Delay, Reminders

_GRANULARITY: Final = 0.05
"""Seconds that a timer may be late."""

_SWEEP_INTERVAL: Final = 0.1
"""Seconds between two searches for the transactions of failed flows."""

_MAX_FAILED_FLOWS: Final = 4096

Delays: TypeAlias = dict[float, Delay[Transaction]]
"""By how long they are, in seconds."""


class Engine:
    """The tables of transactions, their timers, and what is waiting to be sent and told."""

    def __init__(self, timers: Timers, server_header: bytes | None, user_agent: bytes | None) -> None:
        self.counters = Counters()
        self.server_header = server_header
        """What responses of our own say of us."""
        self._user_agent = user_agent
        self._timers = timers
        self._servers: dict[Key, ServerTransaction] = {}
        self._clients: dict[tuple[bytes, bytes], ClientTransaction] = {}
        self._lingering_servers = self._delays(timers.limit, timers.t4)
        self._lingering_clients = self._delays(timers.limit, timers.d, timers.t4)
        """Those that have their final response and stay for retransmissions only, by how long they stay."""
        self._first_looks = self._delays(TRYING, timers.non_invite_trying, timers.t1)
        """Those that were just made, by when their first timer comes: most are answered until then."""
        self._all_delays = tuple(
            delay
            for delays in (self._first_looks, self._lingering_servers, self._lingering_clients)
            for delay in delays.values()
        )
        self._reminders: Reminders[Transaction] = Reminders(_GRANULARITY)
        """Those whose timers come later, or again."""
        self._outgoing: list[tuple[bytes, Flow]] = []
        self.events: deque[Event] = deque()
        """What `next_event` hands out. A user in a hurry takes it from here."""
        self._failed: dict[Flow, str] = {}
        self._failure = ""
        """Why the flow does not work whose transactions are being told."""
        self._next_sweep = 0.0
        t1, t2, limit, looks = timers.t1, timers.t2, timers.limit, self._first_looks
        actions = self._actions()
        self._invite_client = Beginning(
            state.INVITE_CLIENT_START,
            resolve(state.INVITE_CLIENT, actions),
            looks[t1],
            interval=2 * t1,
            limit=limit,
        )
        self._non_invite_client = Beginning(
            state.NON_INVITE_CLIENT_START,
            resolve(state.NON_INVITE_CLIENT, actions),
            looks[t1],
            interval=min(2 * t1, t2),
            limit=limit,
        )
        self._invite_server = Beginning(
            state.INVITE_SERVER_START, resolve(state.INVITE_SERVER, actions), looks[TRYING], interval=t1
        )
        self._non_invite_server = Beginning(
            state.NON_INVITE_SERVER_START,
            resolve(state.NON_INVITE_SERVER, actions),
            looks[timers.non_invite_trying],
            interval=t1,
        )

    def to_send(self, now: float) -> list[tuple[bytes, Flow]]:
        """Hand out, once, the messages that are due, in order."""
        outgoing, self._outgoing = self._outgoing, []
        return outgoing

    def get_timer(self) -> float | None:
        """When `handle_timer` wants to be called; None for never."""
        due = self._reminders.get_timer()
        for delay in self._all_delays:
            when = delay.get_timer()
            if when is not None and (due is None or when < due):
                due = when
        if self._failed and (due is None or self._next_sweep < due):
            return self._next_sweep
        return due

    def handle_timer(self, now: float) -> None:
        """Retransmit, give up, expire."""
        for looks in self._first_looks.values():
            for transaction in looks.due(now):
                if transaction.again == transaction.deadline == NEVER:
                    transaction.watched = NEVER
                elif transaction.watched <= now:
                    self._ring(transaction, now)
        for transaction in self._reminders.due(now):
            if transaction.watched <= now:
                self._ring(transaction, now)
        for lingering in (self._lingering_servers, self._lingering_clients):
            for delay in lingering.values():
                for transaction in delay.due(now):
                    self._expire(transaction)
        if self._failed and now >= self._next_sweep:
            self._sweep(now)

    def _ring(self, transaction: Transaction, now: float) -> None:
        """Do what a transaction's timers are due for, and watch them again."""
        if transaction.again <= now:
            transaction.again = NEVER
            self._step(transaction, transaction.again_timer, None, now)
        if transaction.deadline <= now:
            transaction.deadline = NEVER
            assert transaction.deadline_timer is not None
            self._step(transaction, transaction.deadline_timer, None, now)
        # Until here it counts as watched, so that what is set on the way asks for no reminder of its own.
        when = min(transaction.again, transaction.deadline)
        transaction.watched = NEVER
        if when < NEVER:
            self._watch(transaction, when)

    def _watch(self, transaction: Transaction, when: float) -> None:
        """Look at a transaction's timers at that time, which is earlier than it is watched already."""
        transaction.watched = when
        self._reminders.add(transaction, when)

    def next_event(self) -> Event | None:
        """The oldest event not handed out yet; None when there are no more."""
        return self.events.popleft() if self.events else None

    def transport_error(self, flow: Flow, now: float, reason: str = "") -> None:
        """A message to this flow could not be sent, or its connection is lost (§17.1.4).

        Those that wait for an answer from there end with an event; the others go on.
        """
        if len(self._failed) < _MAX_FAILED_FLOWS:
            self._failed[flow] = reason
            self._next_sweep = max(self._next_sweep, now)

    def sign(self, response: Response) -> Response:
        """A response of our own with its Server header (RFC 3261 §20.35), if we have a name."""
        if self.server_header is not None:
            response.append(b"Server", self.server_header)
        return response

    def abandon(self, transaction: Transaction) -> None:
        """Forget a transaction at once, without any event."""
        transaction.state, transaction.row = TERMINATED, NOTHING
        self._forget(transaction)

    def _step(
        self, transaction: Transaction, cause: Input, message: Response | AckReceived | None, now: float
    ) -> None:
        step = transaction.row.get(cause)
        if step is None:
            return
        transaction.state, row, stops, actions = step
        transaction.row = row
        if stops:
            transaction.again = transaction.deadline = NEVER
        for perform in actions:
            perform(transaction, message, now)
        if not row:
            self._end(transaction)

    def _end(self, transaction: Transaction) -> None:
        if self._forget(transaction) and transaction.context is not None:
            self.events.append(Terminated(transaction))

    def _forget(self, transaction: Transaction) -> bool:
        transaction.again = transaction.deadline = NEVER
        if isinstance(transaction, ServerTransaction):
            return self._servers.pop(transaction.key, None) is not None
        assert isinstance(transaction, ClientTransaction)
        return self._clients.pop(transaction.key, None) is not None

    def _expire(self, transaction: Transaction) -> bool:
        """End a transaction that lingers, unless something else has ended it; whether it was this."""
        if transaction.state is TERMINATED:
            return False
        transaction.state, transaction.row = TERMINATED, NOTHING
        self._end(transaction)
        return True

    def _make_room(self, lingering: Delays) -> bool:
        """End the transaction that has lingered longest of its kind; False where none does.

        Its sender may repeat what is answered already; a new request that is refused would lose a call.
        """
        for delay in lingering.values():
            while delay:
                if self._expire(delay.pop()):
                    self.counters.shortened += 1
                    return True
        return False

    @staticmethod
    def _delays(*durations: float) -> Delays:
        return {duration: Delay(duration, _GRANULARITY) for duration in durations}

    def _sweep(self, now: float) -> None:
        failed, self._failed = self._failed, {}
        self._next_sweep = now + _SWEEP_INTERVAL
        hit = [each for each in self.waiting() if each.flow in failed]
        for transaction in hit:
            self._failure = failed[transaction.flow]
            self._step(transaction, Input.transport_error, None, now)

    def waiting(self) -> Iterator[Transaction]:
        """All that a transport error ends, for which a timer runs, first T1; some of these are over already.

        The others are many more: half a minute of calls.
        """
        yield from self._first_looks[self._timers.t1]
        yield from self._reminders

    def _actions(self) -> Mapping[Action, Perform]:
        return {**self._deadlines(), **self._retransmissions(), **self._verbs()}

    def _deadlines(self) -> Mapping[Action, Perform]:
        """The timers that end something: durations on unreliable and on reliable transports."""
        limit, t4 = self._timers.limit, self._timers.t4
        servers, clients = self._lingering_servers, self._lingering_clients
        return {
            Action.start_d: self._linger(Input.timer_d, clients[self._timers.d]),
            Action.start_h: self._start_h,
            Action.start_i: self._linger(Input.timer_i, servers[t4]),
            Action.start_j: self._linger(Input.timer_j, servers[limit]),
            Action.start_k: self._linger(Input.timer_k, clients[t4]),
            Action.start_l: self._linger(Input.timer_l, servers[limit], always=True),
            Action.start_m: self._linger(Input.timer_m, clients[limit], always=True),
        }

    def _retransmissions(self) -> Mapping[Action, Perform]:
        """The timers that send again, each after twice the time before, and their longest interval."""
        return {
            Action.start_a: self._retransmission(Input.timer_a, float("inf")),
            Action.start_e: self._retransmission(Input.timer_e, self._timers.t2),
            Action.start_g: self._retransmission(Input.timer_g, self._timers.t2),
            Action.start_e_at_t2: self._start_e_at_t2,
        }

    def _verbs(self) -> Mapping[Action, Perform]:
        return {
            Action.send: self._send,
            Action.resend: self._resend,
            Action.deliver: self._deliver,
            Action.pass_ack: self._pass_ack,
            Action.acknowledge: self._acknowledge,
            Action.send_trying: self._send_trying,
            Action.send_cancel: self._send_cancel,
            Action.inform_timeout: self._inform_timeout,
            Action.inform_error: self._inform_error,
            Action.stop_retransmission: self._stop_retransmission,
        }

    def _linger(self, timer: Input, delay: Delay[Transaction], *, always: bool = False) -> Perform:
        """Stay until the end, with no other timer; on reliable transports only `always`, else end at once.

        What ends it is not told to the tables: all that a row has for these timers is `terminated`.
        """

        def start(transaction: Transaction, message: object, now: float) -> None:
            if always or not transaction.reliable:
                delay.add(transaction, now)
            else:
                self._step(transaction, timer, None, now)

        return start

    def _retransmission(self, timer: Input, longest: float) -> Perform:
        def start(transaction: Transaction, message: object, now: float) -> None:
            if transaction.reliable:
                return
            interval = transaction.interval
            self._set_again(transaction, timer, interval, now)
            transaction.interval = 2 * interval if 2 * interval < longest else longest

        return start

    def _start_e_at_t2(self, transaction: ClientTransaction, message: object, now: float) -> None:
        if not transaction.reliable:
            self._set_again(transaction, Input.timer_e, self._timers.t2, now)

    def _start_h(self, transaction: ServerTransaction, message: object, now: float) -> None:
        self._set_deadline(transaction, Input.timer_h, now + self._timers.limit)

    def _set_again(self, transaction: Transaction, timer: Input, wait: float, now: float) -> None:
        when = now + wait
        transaction.again, transaction.again_timer = when, timer
        if when < transaction.watched:
            self._watch(transaction, when)

    def _set_deadline(self, transaction: Transaction, timer: Input, when: float) -> None:
        transaction.deadline, transaction.deadline_timer = when, timer
        if when < transaction.watched:
            self._watch(transaction, when)

    def _stop_retransmission(self, transaction: Transaction, message: object, now: float) -> None:
        transaction.again = NEVER

    def _send(self, transaction: ServerTransaction, response: Response, now: float) -> None:
        transaction.sent = bytes(response)
        transaction.status, transaction.to_tag = response.status, response.to_tag
        self._outgoing.append((transaction.sent, transaction.flow))

    def _resend(self, transaction: Transaction, message: object, now: float) -> None:
        if transaction.sent:
            self.counters.sent_again += 1
            self._outgoing.append((transaction.sent, transaction.flow))

    def _deliver(self, transaction: ClientTransaction, response: Response, now: float) -> None:
        if not transaction.quiet:
            self.events.append(ResponseReceived(transaction, response))

    def _pass_ack(self, transaction: ServerTransaction, event: AckReceived, now: float) -> None:
        self.events.append(event)

    def _acknowledge(self, transaction: ClientTransaction, response: Response, now: float) -> None:
        ack = client.ack_for(transaction.request, response, self._user_agent)
        self._outgoing.append((bytes(ack), transaction.flow))

    def _send_trying(self, transaction: ServerTransaction, message: object, now: float) -> None:
        self._send(transaction, self.sign(transaction.request.response(100)), now)

    def _send_cancel(self, transaction: ClientTransaction, message: object, now: float) -> None:
        """Send the CANCEL that waits, if any, and give the INVITE a last deadline (§9.1)."""
        cancel = transaction.cancelled
        if cancel is None:
            return
        self._begin_client(cancel, transaction.flow, transaction.branch, now, quiet=True)
        self._set_deadline(transaction, Input.timer_cancel, now + self._timers.limit)

    def _begin_client(
        self, request: Request, flow: Flow, branch: bytes, now: float, *, quiet: bool = False
    ) -> ClientTransaction:
        method = request.method
        beginning = self._invite_client if method == b"INVITE" else self._non_invite_client
        transaction = ClientTransaction(request, flow, (branch, method), beginning, now, quiet=quiet)
        self._clients[transaction.key] = transaction
        self._outgoing.append((transaction.sent, flow))
        self._begin(transaction, beginning, now)
        return transaction

    def _begin(self, transaction: Transaction, beginning: Beginning, now: float) -> None:
        """Watch the first timers of a transaction."""
        if transaction.again < NEVER:
            transaction.watched = transaction.again
            beginning.looks.add(transaction, now)
        else:
            self._watch(transaction, transaction.deadline)

    def _inform_timeout(self, transaction: Transaction, message: object, now: float) -> None:
        self.counters.timeouts += 1
        if not (isinstance(transaction, ClientTransaction) and transaction.quiet):
            self.events.append(Timeout(transaction))

    def _inform_error(self, transaction: ClientTransaction, message: object, now: float) -> None:
        self.counters.transport_errors += 1
        if not transaction.quiet:
            self.events.append(TransportError(transaction, self._failure))
