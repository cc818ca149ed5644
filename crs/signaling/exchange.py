"""The telephone exchange: sets up, answers and ends the calls between attached clients.

Both parties of a call that its callee was told of learn its end: at once if they are attached,
else when they attach again within a minute. A party whose connection is lost keeps its calls for a
grace period; when it attaches anew it is told where each of its calls is.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from functools import partial
from typing import Final

from crs.identity import Identity
from crs.signaling import message
from crs.signaling.admission import NOT_CONNECTED, Admission, Objection
from crs.signaling.announcer import Announcer
from crs.signaling.attachment import AttachmentTable, Connection
from crs.signaling.change import Changes, SessionRequest, refusal
from crs.signaling.event import AllocateRelay, Relays, ReleaseRelay, Result, Wanted
from crs.signaling.message import EndReason, ErrorCode, Who
from crs.signaling.outlet import Outlet
from crs.signaling.session import END_REASONS, Input, Key, Origin, Session, SessionTable, State, streams

ANSWER_TIME: Final = 60.0
GRACE: Final = 30.0
LISTED: Final = 60.0
"""Seconds for which an ended call stays in `show session` and is told to a party that attaches again."""
ALLOCATE_TIME: Final = 10.0
STILL_IDLE: Final = 25.0
"""Seconds for which what the relay said of an idle stream holds; it says so again every 10 s."""

MAX_ENDED: Final = 10_000
MAX_RETOLD: Final = 16
"""Ended calls that a client is told of when it attaches again."""


class Exchange:
    """Serves invite, ringing, answer and hangup."""

    def __init__(
        self, outlet: Outlet, attachments: AttachmentTable, admission: Admission, groups: Iterator[int]
    ) -> None:
        """`groups` names streams to the relay."""
        self._outlet = outlet
        self._attachments = attachments
        self._admission = admission
        self._announcer = Announcer(outlet, attachments)
        self._groups = groups
        self.table = SessionTable()
        self.changes = Changes(outlet, self._announcer, self.table, self._groups, self.find)

    def invite(self, connection: Connection, request: message.Invite, now: float) -> None:
        """Begin a call, or answer again an invite whose reply was lost."""
        caller = connection.client
        callee = Identity(request.to, request.account or caller.account)
        existing = self.table.find(caller, Key(caller.uri, request.session))
        if existing is not None:
            self._repeat(existing, connection, request, callee)
            return
        objection = self._objection(connection, callee, request, now)
        if objection is not None:
            self._outlet.refuse(connection.number, request.id, *objection)
            return
        self._begin(connection, callee, request, now)

    def ringing(self, connection: Connection, request: message.Ringing, now: float) -> None:
        """The callee's phone rings."""
        self._progress(connection, request, Input.ringing, now)

    def answer(self, connection: Connection, request: message.Answer, now: float) -> None:
        """The callee accepts."""
        self._progress(connection, request, Input.answer, now)

    def hangup(self, connection: Connection, request: message.Hangup, now: float) -> None:
        """A party ends the call. Ending it twice is no error: both parties may do so at the same time."""
        session = self.find(connection, request)
        if session is None:
            return
        if session.state is State.allocating:
            self._abandon(session, ErrorCode.wrong_state, "the call was cancelled before the callee was told")
        elif session.state is not State.ended:
            who = session.role(connection.client)
            allowed = END_REASONS[who, session.state is State.talk]
            reason = request.reason if request.reason in allowed else allowed[0]
            self.end(session, reason, who, now)
        self._announcer.done(connection, request)

    def attached(self, connection: Connection, now: float) -> None:
        """A client is back, or new: its calls go on, and it is told where they are."""
        ended: deque[Session] = deque(maxlen=MAX_RETOLD)
        for session in self.table.of(connection.client):
            who = session.role(connection.client)
            _returned(session, who)
            if session.state is not State.ended:
                self._announcer.state(session, who, connection.number)
                self.changes.retell(session, who, connection.number)
            elif session.who is not who:
                ended.append(session)
        for session in ended:
            self._announcer.end(session, connection.number)

    def resumed(self, connection: Connection) -> None:
        """A client has its connection back, and is told what it missed: its calls go on."""
        for session in self.table.of(connection.client):
            _returned(session, session.role(connection.client))

    def detached(self, connection: Connection, now: float) -> None:
        """A client's connection is lost or unregistered: it has a grace period to come back."""
        for session in self.table.of(connection.client):
            who = session.role(connection.client)
            if session.state is State.ended or (session.state is State.allocating and who is Who.callee):
                continue
            if session.state is State.allocating:
                self._abandon(session, ErrorCode.not_attached, "the caller is no longer attached")
                continue
            session.away[who] = self._outlet.at(now + GRACE, partial(self._lost, session))

    def relay_idle(self, group: int, now: float) -> bool:
        """This stream has seen no packet for too long; the call ends once none of its streams has.

        False if there is no such stream.
        """
        session = self.table.of_group(group)
        if session is None:
            return self.changes.expects(group)
        session.idle[group] = now
        silent = {each for each, when in session.idle.items() if when > now - STILL_IDLE}
        if silent.issuperset(stream.group for stream in session.streams.values()):
            self.end(session, EndReason.timeout, Who.server, now)
        return True

    def end_all(
        self, reason: EndReason, now: float, account: str | None = None, *, keep_talks: bool = False
    ) -> None:
        """The server ends every call, or those of an account's clients, or those that were not answered."""
        for session in self.table.live:
            if keep_talks and session.state is State.talk:
                continue
            if account not in (None, session.caller.account, session.callee.account):
                continue
            if session.state is State.allocating:
                self._abandon(session, ErrorCode.unavailable, "the server ended the call")
            else:
                self.end(session, reason, Who.server, now)

    def end(self, session: Session, reason: EndReason, who: Who, now: float) -> None:
        """End a call that its callee was told of: tell who did not end it, and release the relays."""
        session.cancel_timers()
        session.move(Input.end)
        session.reason, session.who, session.stopped = reason, who, now
        session.payload = session.answer = b""
        self.changes.drop(session)
        self.table.end(session)
        for stream in session.streams.values():
            self._outlet.tell(ReleaseRelay(stream.group))
        for role, _ in session.parties:
            if role is not who:
                self._announcer.end(session, self._announcer.connection(session, role))
        self._announcer.operator(session)
        session.timer = self._outlet.at(now + LISTED, partial(self._forget, session))
        self._bound_ended()

    def _objection(
        self, connection: Connection, callee: Identity, request: message.Invite, now: float
    ) -> Objection | None:
        """Why this call cannot be; in the order that tells the caller most."""
        closed = self._admission.closed()
        if closed is not None:
            return closed
        caller = connection.client
        if callee == caller:
            return ErrorCode.bad_message, "to: a client cannot call itself"
        if self._admission.is_taken(caller, Key(caller.uri, request.session)):
            return ErrorCode.conflict, f"session {request.session} exists already"
        return self._admission.reach(caller, callee, request.session, now) or self._admission.limit(
            connection, caller, callee, now=now
        )

    def _begin(self, connection: Connection, callee: Identity, request: message.Invite, now: float) -> None:
        origin = Origin(connection.number, request.id)
        kinds = tuple(request.streams)
        session = Session(connection.client, callee, request.session, kinds, request.payload, origin, now)
        session.next_stream = len(kinds)
        wanted = tuple(Wanted(next(self._groups), number, kind) for number, kind in enumerate(kinds))
        self._outlet.ask(
            lambda token: AllocateRelay(token, wanted), partial(self._allocated, session, wanted)
        )
        session.timer = self._outlet.at(now + ALLOCATE_TIME, partial(self._late, session))
        self.table.add(session)

    def _allocated(self, session: Session, wanted: tuple[Wanted, ...], result: Result, now: float) -> None:
        if not isinstance(result, Relays):
            self._refused(session, result)
        elif session.state is not State.allocating:
            self._release(wanted)
        elif self._attachments.find(session.callee) is None:
            self._release(wanted)
            self._admission.attempt(session.caller, session.callee, NOT_CONNECTED, session.label, now)
            self._abandon(session, ErrorCode.not_connected, f"{session.callee} is not attached")
        else:
            self.table.extend(session, streams(wanted, result))
            self._present(session, now)

    def _release(self, wanted: tuple[Wanted, ...]) -> None:
        for each in wanted:
            self._outlet.tell(ReleaseRelay(each.group))

    def _refused(self, session: Session, result: Result) -> None:
        if session.state is not State.allocating:
            return
        self._abandon(session, *refusal(result))

    def _present(self, session: Session, now: float) -> None:
        """The call exists: the callee is told, and the caller that it was."""
        session.cancel_timers()
        session.move(Input.allocated)
        session.timer = self._outlet.at(now + ANSWER_TIME, partial(self._unanswered, session))
        self._announcer.invited(session, self._announcer.connection(session, Who.callee))
        self._announcer.inviting(session, session.origin)
        self._announcer.operator(session)

    def _repeat(
        self, session: Session, connection: Connection, request: message.Invite, callee: Identity
    ) -> None:
        """The id is taken: by this very call, whose reply may have been lost, or by another."""
        same = (session.caller, session.callee, session.kinds)
        if same != (connection.client, callee, tuple(request.streams)) or not session.presented:
            reason = f"session {request.session} exists already"
            self._outlet.refuse(connection.number, request.id, ErrorCode.conflict, reason)
        elif session.state is State.ended:
            reason = f"session {request.session} has ended"
            self._outlet.refuse(connection.number, request.id, ErrorCode.conflict, reason)
        else:
            self._announcer.inviting(session, Origin(connection.number, request.id))
            self._announcer.state(session, Who.caller, connection.number)

    def _progress(
        self, connection: Connection, request: message.Ringing | message.Answer, what: Input, now: float
    ) -> None:
        session = self.find(connection, request)
        if session is None:
            return
        before = session.move(what) if session.callee == connection.client else None
        if before is None:
            reason = f"the call is in state {session.state_text}, which does not allow this from you"
            self._outlet.refuse(connection.number, request.id, ErrorCode.wrong_state, reason)
            return
        self._announcer.done(connection, request)
        if before is not session.state:
            session.answer = request.payload
            self._advanced(session)

    def _advanced(self, session: Session) -> None:
        if session.state is State.talk and session.timer is not None:
            session.timer.cancel()
        self._announcer.state(session, Who.caller, self._announcer.connection(session, Who.caller))
        self._announcer.operator(session)

    def find(self, connection: Connection, request: SessionRequest) -> Session | None:
        """The call that the request names; refuses the request if there is none that its sender knows of."""
        client = connection.client
        session = self.table.find(client, Key(request.caller, request.session))
        if session is None or (session.state is State.allocating and session.callee == client):
            reason = f"there is no call {request.session} of {request.caller}"
            self._outlet.refuse(connection.number, request.id, ErrorCode.unknown_session, reason)
            return None
        return session

    def _abandon(self, session: Session, code: ErrorCode, reason: str) -> None:
        """Drop a call that nobody was told of: its invite fails, and nothing has changed."""
        session.cancel_timers()
        session.move(Input.end)
        self.table.forget(session)
        self._announcer.refuse(session.origin, code, reason)

    def _late(self, session: Session, now: float) -> None:
        self._abandon(session, ErrorCode.unavailable, "the relay does not answer")

    def _unanswered(self, session: Session, now: float) -> None:
        self.end(session, EndReason.timeout, Who.server, now)

    def _lost(self, session: Session, now: float) -> None:
        self.end(session, EndReason.lost, Who.server, now)

    def _forget(self, session: Session, now: float) -> None:
        self.table.forget(session)

    def _bound_ended(self) -> None:
        oldest = self.table.oldest_ended
        if self.table.ended_count > MAX_ENDED and oldest is not None:
            oldest.cancel_timers()
            self.table.forget(oldest)


def _returned(session: Session, who: Who) -> None:
    """A party is back within its grace period."""
    grace = session.away.pop(who, None)
    if grace is not None:
        grace.cancel()
