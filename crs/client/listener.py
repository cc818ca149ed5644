"""What a client's application is told; a subclass overrides what it cares about."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any

from twisted.internet.defer import Deferred

from crs.client.call import IncomingCall
from crs.client.change import IncomingChange
from crs.client.error import ClientError
from crs.client.group import GroupCall
from crs.signaling.message import Attached, Deliver, EndReason, Offer


class Listener:
    """By default calls are refused as busy, and messages stay in the mailbox."""

    def incoming(self, call: IncomingCall) -> None:
        """Somebody calls: `ring`, `answer` or `decline` it now or later."""
        _dismiss(call.decline(EndReason.busy))

    def changing(self, change: IncomingChange) -> None:
        """The other party of a call offers to change its streams; by default it is refused."""
        _dismiss(change.refuse())

    def group(self, call: GroupCall) -> None:
        """Somebody invites to a group call: `ring`, `join` or `leave` it. By default we are busy."""
        _dismiss(call.leave(EndReason.busy))

    def message(self, item: Deliver) -> bool:
        """A message; True once it is kept, and may leave the mailbox. The same one may come twice."""
        return False

    def receipt(self, item: Deliver) -> bool:
        """Somebody has confirmed a message of ours; True when noted, and it may leave the mailbox."""
        return True

    def confirmed(self, item: Deliver) -> None:
        """The server knows that a message or receipt was taken: it will not come again."""

    def offered(self, offer: Offer) -> None:
        """There is a monthly update to fetch and confirm. The same one may be offered twice."""

    def detached(self, reason: str) -> None:
        """This connection is no longer registered: superseded, removed, denied."""

    def interrupted(self, reason: ClientError) -> None:
        """The connection is lost, and the client tries to get it back; calls go on meanwhile."""

    def returned(self, attached: Attached) -> None:
        """The client is attached again. If not resumed, calls may be lost and messages come twice."""

    def lost(self, reason: ClientError) -> None:
        """The connection is gone."""


def _dismiss(work: Coroutine[Deferred[Any], Any, None]) -> None:
    """For what may fail without harm: it has ended then."""
    Deferred.fromCoroutine(work).addErrback(lambda failure: failure.trap(ClientError))
