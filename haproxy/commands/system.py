"""`reload` and `set primary`: what an operator changes in a running proxy."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

import msgspec

from rtlib.command.registry import Argument, BadArgument, CommandError, command
from rtlib.command.render import Column


class ChangeRow(msgspec.Struct, frozen=True):
    """One setting that the file has changed."""

    setting: Annotated[str, Column("SETTING", "the key in genproxy.toml")]
    effect: Annotated[str, Column("EFFECT", "applied, or needs a restart")]


Changes = tuple[list[str], list[str]]


class SystemCommands:
    """Acts on a running proxy."""

    def __init__(self, *, reload: Callable[[], Changes], set_primary: Callable[[int], None]) -> None:
        """`reload` gives the keys applied and those that need a restart; raises SettingsError."""
        self._reload = reload
        self._set_primary = set_primary

    @command("reload")
    def reload(self) -> list[ChangeRow]:
        """Read genproxy.toml again and apply what can be applied without a restart.

        Example: genproxy-cli reload
        """
        from haproxy.tls.error import TlsError
        from rtlib.settings import SettingsError

        try:
            applied, restart = self._reload()
        except (SettingsError, TlsError) as error:
            raise CommandError(f"nothing was reloaded:\n{error}") from None
        rows = [ChangeRow(key, "applied") for key in applied]
        return rows + [ChangeRow(key, "needs a restart") for key in restart]

    @command("set primary")
    def set_primary(
        self, number: Annotated[int, Argument("1 (dispatchPriUser) or 0 (dispatchSecUser)")]
    ) -> str:
        """Make a dispatch set the primary one.

        Example: genproxy-cli set primary 0
        """
        try:
            self._set_primary(number)
        except ValueError as error:
            raise BadArgument(str(error)) from None
        return f"set {number} is primary while one of its systems is active"
