"""What a client's application is told; a subclass overrides what it cares about."""

from __future__ import annotations

from twisted.internet.defer import Deferred

from crs.client.call import IncomingCall
from crs.client.error import ClientError
from crs.signaling.message import Attached, Deliver, EndReason


class Listener:
    """By default calls are refused as busy, and messages stay in the mailbox."""

    def incoming(self, call: IncomingCall) -> None:
        """Somebody calls: `ring`, `answer` or `decline` it now or later."""
        declining = Deferred.fromCoroutine(call.decline(EndReason.busy))
        declining.addErrback(lambda failure: failure.trap(ClientError))

    def message(self, item: Deliver) -> bool:
        """A message; True once it is kept, and may leave the mailbox. The same one may come twice."""
        return False

    def receipt(self, item: Deliver) -> bool:
        """Somebody has confirmed a message of ours; True when noted, and it may leave the mailbox."""
        return True

    def confirmed(self, item: Deliver) -> None:
        """The server knows that a message or receipt was taken: it will not come again."""

    def detached(self, reason: str) -> None:
        """This connection is no longer registered: superseded, removed, denied."""

    def interrupted(self, reason: ClientError) -> None:
        """The connection is lost, and the client tries to get it back; calls go on meanwhile."""

    def returned(self, attached: Attached) -> None:
        """The client is attached again. If not resumed, calls may be lost and messages come twice."""

    def lost(self, reason: ClientError) -> None:
        """The connection is gone."""
