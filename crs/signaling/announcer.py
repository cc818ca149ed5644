"""What the parties of calls, and the operator, are told of them; telling it twice does no harm."""

from __future__ import annotations

from crs.signaling import message
from crs.signaling.attachment import AttachmentTable, Connection
from crs.signaling.event import SessionEvent
from crs.signaling.message import ErrorCode, Who
from crs.signaling.outlet import Outlet
from crs.signaling.session import Origin, Session, State


class Announcer:
    """Writes the messages about calls."""

    def __init__(self, outlet: Outlet, attachments: AttachmentTable) -> None:
        self._outlet = outlet
        self._attachments = attachments

    def connection(self, session: Session, who: Who) -> int | None:
        """Where a party is told."""
        return self._attachments.number(session.client(who))

    def refuse(self, origin: Origin, code: ErrorCode, reason: str) -> None:
        """A request fails."""
        self._outlet.refuse(origin.connection, origin.request, code, reason)

    def done(self, connection: Connection, request: message.Request) -> None:
        """A request is carried out."""
        self._outlet.send(connection.number, message.Ok(id=request.id))

    def state(self, session: Session, who: Who, connection: int | None) -> None:
        """Tell a party what it must know of a live call."""
        if who is Who.callee:
            if session.state in (State.invite, State.ringing):
                self.invited(session, connection)
        elif session.state is State.ringing:
            self._outlet.send(connection, message.Rang(session=session.label, payload=session.answer))
        elif session.state is State.talk:
            self._outlet.send(connection, message.Answered(session=session.label, payload=session.answer))

    def invited(self, session: Session, connection: int | None) -> None:
        """Tell the callee of the call."""
        invited = message.Invited(
            session=session.label,
            caller=session.caller.uri,
            account=session.caller.account,
            relays=session.legs(Who.callee),
            payload=session.payload,
        )
        self._outlet.send(connection, invited)

    def inviting(self, session: Session, origin: Origin) -> None:
        """Tell the caller that the callee was told."""
        inviting = message.Inviting(id=origin.request, session=session.label, relays=session.legs(Who.caller))
        self._outlet.send(origin.connection, inviting)

    def end(self, session: Session, connection: int | None) -> None:
        """Tell a party of the end."""
        assert session.reason is not None
        assert session.who is not None
        ended = message.Ended(
            session=session.label, caller=session.caller.uri, reason=session.reason, who=session.who
        )
        self._outlet.send(connection, ended)

    def operator(self, session: Session) -> None:
        """Trace the state."""
        self._outlet.tell(
            SessionEvent(
                session.caller, session.callee, session.state_text, session.label, len(session.streams)
            )
        )
