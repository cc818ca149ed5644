"""`trace`: SIP messages as a ladder, as they pass, until ctrl-c."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Annotated, Final, NamedTuple

import msgspec

from rtlib.command.registry import Argument, Option, Role, Stream, command
from rtlib.command.render import Column

LEFT: Final = 24
"""Characters for the peer on the left, and for its arrow."""
ARROW: Final = 40


class TraceRow(msgspec.Struct, frozen=True):
    """One SIP message."""

    time: datetime
    call: Annotated[int, Column("CALL", "number of the call in this trace; 0 where it cannot be read")]
    lane: Annotated[int, Column("LANE", "0 for whoever began the call, 1 for the next peer, and so on")]
    received: bool
    transport: str
    peer: str
    message: Annotated[str, Column("MESSAGE", "first line, and the kind of the body")]
    method: str
    cseq: int
    call_id: str
    users: list[str]
    size: int
    first: bool
    """The first one of its call that is shown to anybody."""

    def draw(self) -> str:
        """A rung of the ladder: who began the call on the left, the proxy as a bar, others on the right.

        Before the first one of a call a line tells its Call-ID.
        """
        begin = f"#{self.call} is Call-ID {self.call_id}\n" if self.first else ""
        return begin + self._rung()

    def _rung(self) -> str:
        time = self.time.strftime("%H:%M:%S.%f")[:-3]
        label = f" {self.message} "[: ARROW - 4]
        head = f"{time} #{self.call:<4}"
        peer = f"{self.transport}:{self.peer}"
        if self.lane == 0:
            arrow = f"{label:-^{ARROW - 2}}"
            arrow = f"-{arrow}>" if self.received else f"<{arrow}-"
            return f"{head} {peer:>{LEFT}} {arrow} |"
        arrow = f"{label:-^{ARROW - 2}}"
        arrow = f"<{arrow}-" if self.received else f"-{arrow}>"
        return f"{head} {'':{LEFT}} {'':{ARROW}} | {arrow} {peer}"


class TraceFilter(NamedTuple):
    """Which messages somebody wants to see; empty is all."""

    call: str = ""
    user: str = ""
    method: str = ""

    def matches(self, row: TraceRow) -> bool:
        """Whether a message is one of them."""
        return (
            (not self.call or row.call_id.startswith(self.call))
            and (not self.user or self.user in row.users)
            and (not self.method or row.method == self.method.upper())
        )


class TraceCommands:
    """Shows what passes."""

    def __init__(self, subscribe: Callable[[TraceFilter], Stream[TraceRow]]) -> None:
        self._subscribe = subscribe

    @command("trace", role=Role.viewer)
    def trace(
        self,
        call: Annotated[str, Argument("only calls whose Call-ID begins like this")] = "",
        *,
        user: Annotated[str, Option("--user", help="Only calls from, to or for this user.")] = "",
        method: Annotated[str, Option("--method", help="Only this method, with its responses.")] = "",
    ) -> Stream[TraceRow]:
        """Show SIP messages as a ladder, call by call, as they pass. Stop with ctrl-c.

        Whoever began a call is on the left, the proxy is the bar, everybody else on the right.

        Example: genproxy-cli trace --user 5000
        """
        return self._subscribe(TraceFilter(call, user, method))
