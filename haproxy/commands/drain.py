"""`drain`: stop without cutting off a call."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rtlib.command.drain import DEFAULT_PATIENCE, Cancel, Patience
from rtlib.command.registry import command

if TYPE_CHECKING:
    from rtlib.drain import Drain


class DrainCommands:
    """Empties the proxy before it stops."""

    def __init__(self, drain: Drain) -> None:
        self._drain = drain

    @command("drain")
    def drain(self, *, patience: Patience = DEFAULT_PATIENCE, cancel: Cancel = False) -> str:
        """Refuse new calls with 503 and Retry-After, wait for those that run, then stop the proxy.

        Registrations are accepted until the end; those of the proxy elsewhere end at once.
        The command does not wait.

        Example: genproxy-cli drain --patience 600
        """
        from rtlib.drain import ask

        return ask(self._drain, patience, cancel)
