"""`drain` and `drain --cancel`: stop the server once the last call has ended."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Final

from rtlib.command.registry import BadArgument, Conflict, Option, command

if TYPE_CHECKING:
    from crs.drain import Drain

MAX_PATIENCE: Final = 86400
DEFAULT_PATIENCE: Final = 3600

Patience = Annotated[int, Option("--patience", help="Seconds after which calls that still run are cut off.")]
Cancel = Annotated[bool, Option("--cancel", help="Accept calls again, and do not stop.")]


class DrainCommands:
    """Empties the server before it stops."""

    def __init__(self, drain: Drain) -> None:
        self._drain = drain

    @command("drain")
    def drain(self, *, patience: Patience = DEFAULT_PATIENCE, cancel: Cancel = False) -> str:
        """Refuse new calls, wait for those that run, then stop the server.

        Clients stay connected and messages are delivered until the end. The command does not wait.

        Example: crs-cli drain --patience 600
        """
        if cancel:
            return self._cancel()
        if not 0 <= patience <= MAX_PATIENCE:
            raise BadArgument(f"--patience: must be 0 to {MAX_PATIENCE} seconds")
        if self._drain.active:
            raise Conflict("the server is being drained already")
        running = self._drain.begin(patience)
        return f"no new calls are taken; the server stops when those that run have ended: {running}"

    def _cancel(self) -> str:
        if not self._drain.active:
            raise Conflict("the server is not being drained")
        self._drain.cancel()
        return "new calls are accepted again"
