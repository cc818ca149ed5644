"""What moves transactions along their tables: steps, timers, and the actions of `haproxy.sip.state`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final, TypeAlias

from haproxy.sip import client, state
from haproxy.sip.client import ClientTransaction
from haproxy.sip.event import AckReceived, Counters, Event, Happened, Timeout, TransportError, event_of
from haproxy.sip.flow import Flow
from haproxy.sip.message import Request, Response
from haproxy.sip.server import ServerTransaction
from haproxy.sip.state import Action, Input, Start, Table
from haproxy.sip.step import (
    OVER,
    Alarms,
    Beginning,
    Key,
    Kind,
    Lingering,
    Perform,
    Step,
    Transaction,
    resolve,
)
from haproxy.sip.timers import TRYING, Timers
from rtlib.wheel import NEVER, Agenda, Delay, Reminders

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
        self._clients: dict[Key, ClientTransaction] = {}
        self._agenda = Agenda()
        self._lingering_servers: Delays = {
            seconds: self._delay(seconds) for seconds in (timers.limit, timers.t4)
        }
        self._lingering_clients: Delays = {
            seconds: self._delay(seconds) for seconds in (timers.limit, timers.d, timers.t4)
        }
        """Those that have their final response and stay for retransmissions only, by how long they stay."""
        self._reminders: Reminders[Transaction] = Reminders(_GRANULARITY)
        """Those whose timers come after the first, or again."""
        self._outgoing: list[tuple[bytes, Flow]] = []
        self.events: list[Happened] = []
        """What `next_event` hands out. A user in a hurry takes them all at once."""
        self._failed: dict[Flow, str] = {}
        self._failure = ""
        """Why the flow does not work whose transactions are being told."""
        self._next_sweep = 0.0
        t1, limit, actions = timers.t1, timers.limit, self._actions()
        self._invite_client = self._kind(state.INVITE_CLIENT_START, state.INVITE_CLIENT, actions, t1, limit)
        self._non_invite_client = self._kind(
            state.NON_INVITE_CLIENT_START, state.NON_INVITE_CLIENT, actions, t1, limit
        )
        self._invite_server = self._kind(state.INVITE_SERVER_START, state.INVITE_SERVER, actions, TRYING)
        self._non_invite_server = self._kind(
            state.NON_INVITE_SERVER_START, state.NON_INVITE_SERVER, actions, timers.non_invite_trying
        )
        self._beginnings = tuple(
            beginning
            for kind in (
                self._invite_client,
                self._non_invite_client,
                self._invite_server,
                self._non_invite_server,
            )
            for beginning in (kind.unreliable, kind.reliable)
        )

    def _kind(
        self,
        start: Start,
        table: Table,
        actions: Mapping[Action, Perform],
        wait: float,
        limit: float = NEVER,
    ) -> Kind:
        """`wait` is until the first timer; a reliable client has none but the one of its `limit`."""
        first = resolve(table, actions, self._lingering(reliable=False), reliable=False)[start.state]
        unreliable = Beginning(start, first, self._delay(wait), again=True, limit=limit)
        first = resolve(table, actions, self._lingering(reliable=True), reliable=True)[start.state]
        again = limit == NEVER
        looks = self._delay(wait if again else limit)
        return Kind(unreliable, Beginning(start, first, looks, again=again, limit=limit))

    def _delay(self, seconds: float) -> Delay[Transaction]:
        return Delay(seconds, _GRANULARITY, self._agenda)

    def to_send(self, now: float) -> list[tuple[bytes, Flow]]:
        """Hand out, once, the messages that are due, in order."""
        outgoing, self._outgoing = self._outgoing, []
        return outgoing

    def get_timer(self) -> float | None:
        """When `handle_timer` wants to be called; None for never."""
        due = self._reminders.get_timer()
        soonest = self._agenda.when
        if soonest < NEVER and (due is None or soonest < due):
            due = soonest
        if self._failed and (due is None or self._next_sweep < due):
            return self._next_sweep
        return due

    def handle_timer(self, now: float) -> None:
        """Retransmit, give up, expire."""
        for beginning in self._beginnings:
            for when, looks in beginning.looks.due(now):
                for transaction in looks:
                    if transaction.timers is beginning:
                        alarms = transaction.timers = Alarms()
                        alarms.begin(beginning, when)
                        self._ring(transaction, alarms, now)
        for transaction in self._reminders.due(now):
            timers = transaction.timers
            if isinstance(timers, Alarms) and timers.watched <= now:
                self._ring(transaction, timers, now)
        self._expire(self._lingering_servers, self._servers, now)
        self._expire(self._lingering_clients, self._clients, now)
        self._plan()
        if self._failed and now >= self._next_sweep:
            self._sweep(now)

    def _plan(self) -> None:
        """Find when the first of the delays is due."""
        delays = [beginning.looks for beginning in self._beginnings]
        delays += [*self._lingering_servers.values(), *self._lingering_clients.values()]
        times = [delay.get_timer() for delay in delays]
        self._agenda.when = min((when for when in times if when is not None), default=NEVER)

    def _ring(self, transaction: Transaction, alarms: Alarms, now: float) -> None:
        """Do what a transaction's timers are due for, and watch them again."""
        if alarms.again <= now:
            alarms.again = NEVER
            assert alarms.again_timer is not None
            self._step(transaction, alarms.again_timer, None, now)
        if transaction.timers is alarms and alarms.deadline <= now:
            alarms.deadline = NEVER
            assert alarms.deadline_timer is not None
            self._step(transaction, alarms.deadline_timer, None, now)
        if transaction.timers is not alarms:
            return
        # Until here it counts as watched, so that what is set on the way asks for no reminder of its own.
        when = min(alarms.again, alarms.deadline)
        alarms.watched = NEVER
        if when < NEVER:
            self._watch(transaction, alarms, when)
        else:
            transaction.timers = None

    def _watch(self, transaction: Transaction, alarms: Alarms, when: float) -> None:
        """Look at a transaction's timers at that time, which is earlier than it is watched already."""
        alarms.watched = when
        self._reminders.add(transaction, when)

    def next_event(self) -> Event | None:
        """The oldest event not handed out yet; None when there are no more."""
        return event_of(self.events.pop(0)) if self.events else None

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
        if transaction.row is not OVER:  # its key may be another one's by now
            self._forget(transaction)

    def _forget(self, transaction: Transaction) -> None:
        transaction.row, transaction.timers = OVER, None
        if isinstance(transaction, ServerTransaction):
            self._servers.pop(transaction.key, None)
        elif isinstance(transaction, ClientTransaction):
            self._clients.pop(transaction.key, None)

    def _step(self, transaction: Transaction, cause: Input, message: AckReceived | None, now: float) -> None:
        """Something happens to a transaction that is no response."""
        step = transaction.row.steps.get(cause)
        if step is not None:
            self._take(transaction, step, message, now)

    def _take(
        self, transaction: Transaction, step: Step, message: Response | AckReceived | None, now: float
    ) -> None:
        transaction.row = step.row
        if step.stops:
            transaction.timers = None
        for perform in step.more:
            perform(transaction, message, now)
        linger = step.linger
        if linger is not None:
            (linger.last if linger.begun == now else linger.begin(now)).append(transaction)
        elif step.ends:
            self._end(transaction)

    def _end(self, transaction: Transaction) -> None:
        self._forget(transaction)
        if transaction.context is not None:
            self.events.append((transaction, None))

    def _expire(
        self,
        lingering: Delays,
        table: dict[Key, Any],
        now: float,
    ) -> None:
        """End those that have lingered long enough, unless something else has ended them."""
        events = self.events
        for delay in lingering.values():
            for _, transactions in delay.due(now):
                for transaction in transactions:
                    if transaction.row is not OVER:
                        transaction.row = OVER
                        if transaction.key in table:
                            del table[transaction.key]
                        if transaction.context is not None:
                            events.append((transaction, None))

    def _make_room(self, lingering: Delays) -> bool:
        """End the transaction that has lingered longest of its kind; False where none does.

        Its sender may repeat what is answered already; a new request that is refused would lose a call.
        """
        for delay in lingering.values():
            while delay:
                transaction = delay.pop()
                if transaction.row is not OVER:
                    self._end(transaction)
                    self.counters.shortened += 1
                    return True
        return False

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
        for kind in (self._invite_client, self._non_invite_client):
            yield from kind.unreliable.looks
            yield from kind.reliable.looks
        yield from self._reminders

    def _lingering(self, *, reliable: bool) -> Lingering:
        """The timers that end what is answered: D, I, J and K are zero on reliable transports."""
        limit, t4 = self._timers.limit, self._timers.t4
        servers, clients = self._lingering_servers, self._lingering_clients
        return {
            Action.start_d: None if reliable else clients[self._timers.d],
            Action.start_i: None if reliable else servers[t4],
            Action.start_j: None if reliable else servers[limit],
            Action.start_k: None if reliable else clients[t4],
            Action.start_l: servers[limit],
            Action.start_m: clients[limit],
        }

    def _actions(self) -> Mapping[Action, Perform]:
        """What is done beside passing on, stopping and lingering."""
        return {
            Action.start_a: self._start_a,
            Action.start_e: self._start_e,
            Action.start_e_at_t2: self._start_e_at_t2,
            Action.start_g: self._start_g,
            Action.start_h: self._start_h,
            Action.resend: self._resend,
            Action.pass_ack: self._pass_ack,
            Action.acknowledge: self._acknowledge,
            Action.send_trying: self._send_trying,
            Action.send_cancel: self._send_cancel,
            Action.inform_timeout: self._inform_timeout,
            Action.inform_error: self._inform_error,
        }

    def _start_a(self, transaction: Transaction, message: object, now: float) -> None:
        self._set_again(transaction, Input.timer_a, NEVER, now)

    def _start_e(self, transaction: Transaction, message: object, now: float) -> None:
        self._set_again(transaction, Input.timer_e, self._timers.t2, now)

    def _start_e_at_t2(self, transaction: Transaction, message: object, now: float) -> None:
        alarms = self._alarms_of(transaction)
        alarms.interval = self._timers.t2
        self._set_again(transaction, Input.timer_e, self._timers.t2, now)

    def _start_g(self, transaction: Transaction, message: object, now: float) -> None:
        self._set_again(transaction, Input.timer_g, self._timers.t2, now)

    def _start_h(self, transaction: Transaction, message: object, now: float) -> None:
        self._set_deadline(transaction, Input.timer_h, now + self._timers.limit)

    def _alarms_of(self, transaction: Transaction) -> Alarms:
        alarms = transaction.timers
        if not isinstance(alarms, Alarms):
            alarms = transaction.timers = Alarms()
        return alarms

    def _set_again(self, transaction: Transaction, timer: Input, longest: float, now: float) -> None:
        """Send again after twice the time before, T1 at first."""
        alarms = self._alarms_of(transaction)
        alarms.interval = min(2 * alarms.interval or self._timers.t1, longest)
        alarms.again, alarms.again_timer = now + alarms.interval, timer
        if alarms.again < alarms.watched:
            self._watch(transaction, alarms, alarms.again)

    def _set_deadline(self, transaction: Transaction, timer: Input, when: float) -> None:
        alarms = self._alarms_of(transaction)
        alarms.deadline, alarms.deadline_timer = when, timer
        if when < alarms.watched:
            self._watch(transaction, alarms, when)

    def _resend(self, transaction: Transaction, message: object, now: float) -> None:
        if transaction.sent:
            self.counters.sent_again += 1
            self._outgoing.append((transaction.sent, transaction.flow))

    def _pass_ack(self, transaction: ServerTransaction, event: AckReceived, now: float) -> None:
        self.events.append(event)

    def _acknowledge(self, transaction: ClientTransaction, response: Response, now: float) -> None:
        ack = client.ack_for(transaction.request, response, self._user_agent)
        self._outgoing.append((bytes(ack), transaction.flow))

    def _send_trying(self, transaction: ServerTransaction, message: object, now: float) -> None:
        trying = self.sign(transaction.request.response(100))
        transaction.sent, transaction.status, transaction.to_tag = bytes(trying), 100, trying.to_tag
        self._outgoing.append((transaction.sent, transaction.flow))

    def _send_cancel(self, transaction: ClientTransaction, message: object, now: float) -> None:
        """Send the CANCEL that waits, if any, and give the INVITE a last deadline (§9.1)."""
        cancel = transaction.cancelled
        if cancel is None:
            return
        self._begin_client(cancel, transaction.flow, transaction.branch, now).quiet = True
        self._set_deadline(transaction, Input.timer_cancel, now + self._timers.limit)

    def _begin_client(self, request: Request, flow: Flow, branch: bytes, now: float) -> ClientTransaction:
        method = request.method
        kind = self._invite_client if method == b"INVITE" else self._non_invite_client
        beginning = kind.unreliable if flow.transport == "udp" else kind.reliable
        key = branch if method != b"CANCEL" else client.cancel_key(branch)
        # Not bytes(): a type that is called takes more time than what it calls.
        data = request.__bytes__()
        transaction = ClientTransaction(request, data, flow, key, beginning)
        self._clients[key] = transaction
        self._outgoing.append((data, flow))
        looks = beginning.looks
        (looks.last if looks.begun == now else looks.begin(now)).append(transaction)
        return transaction

    def _inform_timeout(self, transaction: Transaction, message: object, now: float) -> None:
        self.counters.timeouts += 1
        if not (isinstance(transaction, ClientTransaction) and transaction.quiet):
            self.events.append(Timeout(transaction))

    def _inform_error(self, transaction: ClientTransaction, message: object, now: float) -> None:
        self.counters.transport_errors += 1
        if not transaction.quiet:
            self.events.append(TransportError(transaction, self._failure))
