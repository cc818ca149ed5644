"""Who may call whom now: what calls of two and of many have in common."""

from __future__ import annotations

from typing import Final, Protocol, TypeAlias

from crs.identity import Identity
from crs.limits import LimitTable
from crs.signaling.attachment import AttachmentTable, Connection
from crs.signaling.directory import Directory
from crs.signaling.event import SessionEvent
from crs.signaling.history import Attempt, History
from crs.signaling.message import ErrorCode
from crs.signaling.outlet import Outlet
from crs.signaling.session import Key

NOT_FOUND: Final = "responder not found"
NOT_CONNECTED: Final = "responder not connected"

Objection: TypeAlias = tuple[ErrorCode, str]


class Load(Protocol):
    """What there is already."""

    @property
    def live_count(self) -> int:
        """How many calls have not ended."""

    def count(self, client: Identity) -> int:
        """How many calls a client is in."""

    def is_taken(self, client: Identity, key: Key) -> bool:
        """Whether a client has a call of this name."""


class Admission:
    """Says why a call cannot be; keeps the attempts for the operator."""

    def __init__(
        self,
        outlet: Outlet,
        attachments: AttachmentTable,
        directory: Directory,
        limits: LimitTable,
        load: Load,
    ) -> None:
        """`load` tells of the calls that there are."""
        self._outlet = outlet
        self._attachments = attachments
        self._directory = directory
        self._limits = limits
        self._load = load
        self.history = History()
        self.refusal = ""
        """Why there are no new calls now; empty while there are."""

    def closed(self) -> Objection | None:
        """Why nobody can begin a call."""
        if self.refusal:
            return ErrorCode.unavailable, self.refusal
        if self._load.live_count >= self._limits.general.sessions:
            return self._reached("sessions", "the server has too many calls")
        return None

    def is_taken(self, client: Identity, key: Key) -> bool:
        """Whether a client has a call of this name."""
        return self._load.is_taken(client, key)

    def reach(self, caller: Identity, callee: Identity, label: str, now: float) -> Objection | None:
        """Why a client cannot be reached; the attempt is kept."""
        if not self._directory.knows(callee, caller.account):
            self.attempt(caller, callee, NOT_FOUND, label, now)
            return ErrorCode.not_found, f"no client {callee} is known"
        if self._attachments.find(callee) is None:
            self.attempt(caller, callee, NOT_CONNECTED, label, now)
            return ErrorCode.not_connected, f"{callee} is not attached"
        if self.is_taken(callee, Key(caller.uri, label)):
            return ErrorCode.conflict, f"the callee has another call {label} from {caller.uri}"
        return None

    def attempt(self, caller: Identity, callee: Identity, state: str, label: str, now: float) -> None:
        """Keep an attempt, and trace it."""
        self.history.add(Attempt(caller, callee, state, now), now)
        self._outlet.tell(SessionEvent(caller, callee, state, label))

    def limit(self, connection: Connection, *clients: Identity, now: float) -> Objection | None:
        """The limit that a call of these clients would exceed."""
        if not connection.allowance.invite(now):
            return self._reached("invites-per-second", "too many calls in a short time; wait a little")
        for client in clients:
            most = self._limits.of(client.account).sessions_per_client
            if self._load.count(client) >= most:
                return self._reached("sessions-per-client", f"{client} may have {most} calls at a time")
        return None

    def crowd(self, owner: Identity, size: int) -> Objection | None:
        """The limit that one more party of this client's group or room would exceed."""
        most = self._limits.of(owner.account).group_members
        return self._reached("group-members", f"{owner} may gather {most} parties") if size >= most else None

    def _reached(self, limit: str, reason: str) -> Objection:
        self._limits.reached[limit] += 1
        return ErrorCode.limit, reason
