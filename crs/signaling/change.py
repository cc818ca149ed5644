"""Changes of streams while two parties talk: one offers, the other accepts or refuses.

The server is between them, so there is no glare: who comes second is refused, and gets the first's
offer. Until a change is accepted the call goes on as it was, and the new relays are as good as not there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Final, TypeAlias

from crs.signaling import message
from crs.signaling.announcer import Announcer
from crs.signaling.attachment import Connection
from crs.signaling.event import (
    AllocateRelay,
    Failed,
    Full,
    MultiSession,
    Relays,
    ReleaseRelay,
    Result,
    Wanted,
)
from crs.signaling.message import ChangeEnd, ErrorCode, RelayKind, Who
from crs.signaling.message.call import MAX_STREAMS
from crs.signaling.outlet import Outlet
from crs.signaling.session import Change, Origin, Outcome, Session, SessionTable, State, Stream, streams

DECISION_TIME: Final = 60.0
"""Seconds from the offer of a change to its answer."""

ALLOCATE_TIME: Final = 10.0

SessionRequest: TypeAlias = (
    message.Ringing
    | message.Answer
    | message.Hangup
    | message.Change
    | message.AcceptChange
    | message.RefuseChange
)
Find: TypeAlias = Callable[[Connection, SessionRequest], Session | None]


class Changes:
    """Serves change, accept-change and refuse-change."""

    def __init__(
        self, outlet: Outlet, announcer: Announcer, table: SessionTable, groups: Iterator[int], find: Find
    ) -> None:
        """`find` gives the call that a request names, or refuses the request."""
        self._outlet = outlet
        self._announcer = announcer
        self._table = table
        self._groups = groups
        self._find = find
        self._expected: set[int] = set()
        """Groups of streams that are offered."""

    def offer(self, connection: Connection, request: message.Change, now: float) -> None:
        """A party wants to change the streams."""
        session = self._find(connection, request)
        if session is None:
            return
        who = session.role(connection.client)
        origin = Origin(connection.number, request.id)
        last = session.change
        if last is not None and last.label == request.change:
            self._repeat(session, last, who, request, origin)
            return
        objection = _objection(session, request)
        if objection is not None:
            self._announcer.refuse(origin, *objection)
            return
        add, remove = tuple(request.add), tuple(request.remove)
        change = session.change = Change(request.change, who, add, remove, request.payload, origin)
        if add:
            self._allocate(session, change, now)
        else:
            self._present(session, change, now)

    def accept(self, connection: Connection, request: message.AcceptChange, now: float) -> None:
        """The other party agrees: the change is made."""
        session = self._find(connection, request)
        if session is None:
            return
        change, who = session.change, session.role(connection.client)
        if change is None or change.label != request.change or change.by is who:
            self._refuse(connection, request, f"the other party has offered no change {request.change}")
        elif change.outcome is Outcome.offered:
            self._announcer.done(connection, request)
            self._make(session, change, request.payload)
        elif change.outcome is Outcome.accepted:
            self._announcer.done(connection, request)
        else:
            self._refuse(connection, request, f"the change {request.change} was not made")

    def refuse(self, connection: Connection, request: message.RefuseChange, now: float) -> None:
        """The other party refuses, or the one that has offered withdraws."""
        session = self._find(connection, request)
        if session is None:
            return
        change, who = session.change, session.role(connection.client)
        if change is None or change.label != request.change:
            self._refuse(connection, request, f"there is no change {request.change}")
        elif change.outcome is Outcome.accepted:
            self._refuse(connection, request, f"the change {request.change} was made")
        elif change.outcome is Outcome.allocating and change.by is not who:
            self._refuse(connection, request, f"there is no change {request.change}")
        else:
            if change.pending:
                reason = ChangeEnd.withdrawn if change.by is who else ChangeEnd.refused
                self._end(session, change, reason, who, request.payload)
            self._announcer.done(connection, request)

    def retell(self, session: Session, who: Who, connection: int | None) -> None:
        """A party has attached anew: tell it what it may have missed of the latest change."""
        change = session.change
        if change is None or change.outcome is Outcome.allocating:
            return
        if change.outcome is Outcome.offered:
            if change.by is not who:
                self._tell_offer(session, change, connection)
        elif change.outcome is Outcome.refused:
            if change.reason is not (ChangeEnd.withdrawn if change.by is who else ChangeEnd.refused):
                self._tell_refusal(session, change, connection)
        elif change.by is who:
            self._tell_acceptance(session, change, connection)

    def expects(self, group: int) -> bool:
        """Whether this is the group of a stream that is offered."""
        return group in self._expected

    def drop(self, session: Session) -> None:
        """The call ends, and with it what was to be changed."""
        change = session.change
        if change is None or not change.pending:
            return
        if change.outcome is Outcome.allocating:
            self._announcer.refuse(change.origin, ErrorCode.wrong_state, "the call has ended")
        self._decide(change, Outcome.refused)
        self._release(change.streams)

    def _allocate(self, session: Session, change: Change, now: float) -> None:
        first = session.next_stream
        session.next_stream += len(change.add)
        wanted = tuple(
            Wanted(next(self._groups), first + index, kind) for index, kind in enumerate(change.add)
        )
        self._outlet.ask(
            lambda token: AllocateRelay(token, wanted), partial(self._allocated, session, change, wanted)
        )
        change.timer = self._outlet.at(now + ALLOCATE_TIME, partial(self._late, session, change))

    def _allocated(
        self, session: Session, change: Change, wanted: tuple[Wanted, ...], result: Result, now: float
    ) -> None:
        if change.outcome is not Outcome.allocating:
            if isinstance(result, Relays):
                self._release(streams(wanted, result))
        elif isinstance(result, Relays):
            change.streams = streams(wanted, result)
            self._expected.update(stream.group for stream in change.streams)
            self._present(session, change, now)
        else:
            self._forget(session, change, *refusal(result))

    def _present(self, session: Session, change: Change, now: float) -> None:
        """The other party is told, and who offers that it was."""
        if change.timer is not None:
            change.timer.cancel()
        change.outcome = Outcome.offered
        change.timer = self._outlet.at(now + DECISION_TIME, partial(self._undecided, session, change))
        self._tell_offer(session, change, self._announcer.connection(session, _other(change.by)))
        self._tell_changing(session, change, change.origin)

    def _make(self, session: Session, change: Change, answer: bytes) -> None:
        self._decide(change, Outcome.accepted)
        change.answer = answer
        for number in change.remove:
            self._outlet.tell(ReleaseRelay(self._table.reduce(session, number).group))
        single = not session.several
        self._table.extend(session, change.streams)
        if single and session.several:
            initiator, acceptor = session.client(change.by), session.client(_other(change.by))
            self._outlet.tell(MultiSession(initiator, acceptor))
        self._tell_acceptance(session, change, self._announcer.connection(session, change.by))

    def _end(
        self, session: Session, change: Change, reason: ChangeEnd, who: Who | None, answer: bytes = b""
    ) -> None:
        """The change is not made: tell whoever has not decided so."""
        if change.outcome is Outcome.allocating:
            self._forget(session, change, ErrorCode.wrong_state, "withdrawn before the other party was told")
            return
        self._decide(change, Outcome.refused)
        change.reason, change.answer = reason, answer
        self._release(change.streams)
        for party in Who.caller, Who.callee:
            if party is not who:
                self._tell_refusal(session, change, self._announcer.connection(session, party))

    def _forget(self, session: Session, change: Change, code: ErrorCode, reason: str) -> None:
        """Drop a change that the other party was not told of: its request fails."""
        self._decide(change, Outcome.refused)
        session.change = None
        self._announcer.refuse(change.origin, code, reason)

    def _decide(self, change: Change, outcome: Outcome) -> None:
        if change.timer is not None:
            change.timer.cancel()
        change.outcome = outcome
        change.payload = b""
        self._expected.difference_update(stream.group for stream in change.streams)

    def _late(self, session: Session, change: Change, now: float) -> None:
        self._forget(session, change, ErrorCode.unavailable, "the relay does not answer")

    def _undecided(self, session: Session, change: Change, now: float) -> None:
        self._end(session, change, ChangeEnd.timeout, None)

    def _repeat(
        self, session: Session, change: Change, who: Who, request: message.Change, origin: Origin
    ) -> None:
        """The name is taken: by this very change, whose reply may have been lost, or by another."""
        same = (change.by, change.add, change.remove) == (who, tuple(request.add), tuple(request.remove))
        if same and change.outcome is Outcome.offered:
            self._tell_changing(session, change, origin)
        else:
            reason = f"there is a change {change.label} already, which is {change.outcome.value}"
            self._announcer.refuse(origin, ErrorCode.conflict, reason)

    def _release(self, offered: list[Stream]) -> None:
        for stream in offered:
            self._outlet.tell(ReleaseRelay(stream.group))

    def _refuse(self, connection: Connection, request: message.Request, reason: str) -> None:
        self._announcer.refuse(Origin(connection.number, request.id), ErrorCode.wrong_state, reason)

    def _tell_changing(self, session: Session, change: Change, origin: Origin) -> None:
        legs = [stream.leg(change.by) for stream in change.streams]
        reply = message.Changing(id=origin.request, session=session.label, change=change.label, relays=legs)
        self._outlet.send(origin.connection, reply)

    def _tell_offer(self, session: Session, change: Change, connection: int | None) -> None:
        offered = message.ChangeOffered(
            session=session.label,
            caller=session.caller.uri,
            change=change.label,
            remove=list(change.remove),
            relays=[stream.leg(_other(change.by)) for stream in change.streams],
            payload=change.payload,
        )
        self._outlet.send(connection, offered)

    def _tell_acceptance(self, session: Session, change: Change, connection: int | None) -> None:
        accepted = message.ChangeAccepted(
            session=session.label, caller=session.caller.uri, change=change.label, payload=change.answer
        )
        self._outlet.send(connection, accepted)

    def _tell_refusal(self, session: Session, change: Change, connection: int | None) -> None:
        if change.reason is not None:
            refused = message.ChangeRefused(
                session=session.label,
                caller=session.caller.uri,
                change=change.label,
                reason=change.reason,
                payload=change.answer,
            )
            self._outlet.send(connection, refused)


def refusal(result: Result) -> tuple[ErrorCode, str]:
    """What a client is told when no relay was given."""
    if isinstance(result, Full):
        return ErrorCode.limit, result.reason
    return ErrorCode.unavailable, result.reason if isinstance(result, Failed) else "the relay gave no answer"


def _other(who: Who) -> Who:
    return Who.callee if who is Who.caller else Who.caller


def _objection(session: Session, request: message.Change) -> tuple[ErrorCode, str] | None:
    """Why the streams cannot be changed so."""
    if session.state is not State.talk:
        return ErrorCode.wrong_state, f"the call is in state {session.state_text}: only a talk can be changed"
    if session.change is not None and session.change.pending:
        reason = "a change is offered already; decide on it first"
        return ErrorCode.wrong_state, reason
    problem = _problem(session, request)
    return None if problem is None else (ErrorCode.bad_message, problem)


def _problem(session: Session, request: message.Change) -> str | None:
    """What is wrong with the streams that are to be added and removed."""
    if not session.streams.keys() >= set(request.remove) or len(set(request.remove)) < len(request.remove):
        numbers = ", ".join(map(str, session.streams))
        return f"remove: the call has the streams {numbers}; each can be removed once"
    if RelayKind.opaque_multicast in request.add:
        return "add: opaque-multicast is for groups, not for a call of two"
    if not request.add and not request.remove:
        return "add: nothing is to be added or removed"
    if not 1 <= len(session.streams) - len(request.remove) + len(request.add) <= MAX_STREAMS:
        return f"add: a call has 1 to {MAX_STREAMS} streams"
    return None
