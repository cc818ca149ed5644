"""For tests: the client's end of a connection whose other end a test plays, message by message."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred

from crs.client import websocket
from crs.client.call import IncomingCall
from crs.client.error import ClientError, Closed
from crs.client.listener import Listener
from crs.signaling import message
from crs.signaling.message import Attached, Kind


class PlayedLink:
    """Decodes what the client sends; closing it closes it."""

    host = "192.0.2.1"

    def __init__(self, receiver: websocket.Receiver) -> None:
        self.receiver = receiver
        self.sent: list[Any] = []
        self.deaf = False
        self.aborted = False

    def send(self, data: bytes) -> None:
        """Keep what the client sends."""
        self.sent.append(message.decode_client_message(data))

    def close(self) -> None:
        """Close, unless the server is deaf."""
        if not self.deaf:
            self.receiver.lost(Closed("closed"))

    def abort(self) -> None:
        """Cut the connection off."""
        self.aborted = True
        self.receiver.lost(Closed("aborted"))


class Log(Listener):
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.told: list[Any] = []
        self.take = True

    def incoming(self, call: IncomingCall) -> None:
        """Keep the call."""
        self.told.append(call)

    def message(self, item: message.Deliver) -> bool:
        """Keep the message; confirm it if `take` is set."""
        self.told.append(item)
        return self.take

    def detached(self, reason: str) -> None:
        """Keep the reason."""
        self.told.append(reason)

    def interrupted(self, reason: ClientError) -> None:
        """Keep the reason."""
        self.told.append(f"interrupted: {reason}")

    def returned(self, attached: Attached) -> None:
        """Keep whether it resumed."""
        self.told.append(f"returned: {attached.resumed}")

    def lost(self, reason: ClientError) -> None:
        """Keep the reason."""
        self.told.append(str(reason))


def start(work: Any) -> list[Any]:
    """Run a coroutine until it waits; its result or Failure comes into the list."""
    results: list[Any] = []
    Deferred.fromCoroutine(work).addBoth(results.append)
    return results


def finished(work: Any) -> Any:
    """The result of a coroutine that does not wait."""
    (result,) = start(work)
    return result


def invited(**changes: Any) -> message.Invited:
    """Somebody calls."""
    fields: dict[str, Any] = {"session": "s1", "caller": "+462", "account": "demo"}
    fields |= {"relays": [], "payload": b""}
    return message.Invited(**(fields | changes))


def delivered(**changes: Any) -> message.Deliver:
    """A message arrives."""
    fields: dict[str, Any] = {
        "kind": Kind.content,
        "message": "m1",
        "sender": "+462",
        "account": "demo",
        "time": 1.0,
        "payload": b"text",
    }
    return message.Deliver(**(fields | changes))


def welcome(number: int = 1, **changes: Any) -> message.Attached:
    """The reply to an attach."""
    fields: dict[str, Any] = {"uri": "+461", "account": "demo", "server": "crs/1", "instance": "run 1"}
    fields |= {"time": 1.0, "token": b"token", "resumed": False, "received": 0}
    return message.Attached(id=number, **(fields | changes))
