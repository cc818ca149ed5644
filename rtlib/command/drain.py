"""The options of the command `drain`, which each server words in its own way."""

from __future__ import annotations

from typing import Annotated, Final

from rtlib.command.registry import Option

DEFAULT_PATIENCE: Final = 3600

Patience = Annotated[int, Option("--patience", help="Seconds after which calls that still run are cut off.")]
Cancel = Annotated[bool, Option("--cancel", help="Accept calls again, and do not stop.")]
