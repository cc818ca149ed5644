"""`reload`: what an operator changes in a running proxy."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

import msgspec

from rtlib.command.registry import CommandError, command
from rtlib.command.render import Column


class ChangeRow(msgspec.Struct, frozen=True):
    """One setting that the file has changed."""

    setting: Annotated[str, Column("SETTING", "the key in genproxy.toml")]
    effect: Annotated[str, Column("EFFECT", "applied, or needs a restart")]


Changes = tuple[list[str], list[str]]


class SystemCommands:
    """Acts on a running proxy."""

    def __init__(self, *, reload: Callable[[], Changes]) -> None:
        """`reload` gives the keys applied and those that need a restart; raises SettingsError."""
        self._reload = reload

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
            raise CommandError(f"nothing was reloaded: {'; '.join(str(error).splitlines())}") from None
        rows = [ChangeRow(key, "applied") for key in applied]
        return rows + [ChangeRow(key, "needs a restart") for key in restart]
