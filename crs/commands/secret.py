"""`create sharedSecret`: random secrets, also for accounts. Needs no running daemon."""

from __future__ import annotations

import base64
import secrets
from typing import Annotated, Final

from crs.identity import MAX_SECRET
from rtlib.command.registry import BadArgument, Option, Role, command

DEFAULT_BITS: Final = 128

Bits = Annotated[int | None, Option("-b", "--bits", help="Length in bits, rounded up to whole bytes.")]
Bytes = Annotated[int | None, Option("-B", "--bytes", help="Length in bytes.")]


def random_secret(bits: int | None, octets: int | None) -> bytes:
    """A secret of the length that the options ask for, or of 128 bits. Raises BadArgument."""
    if bits is not None and octets is not None:
        raise BadArgument("-b and -B exclude each other")
    size = octets if octets is not None else -(-(DEFAULT_BITS if bits is None else bits) // 8)
    if not 1 <= size <= MAX_SECRET:
        raise BadArgument(f"a shared secret has 1 to {MAX_SECRET} bytes, not {size}")
    return secrets.token_bytes(size)


class SecretCommands:
    """Making of secrets."""

    @command("create sharedSecret", role=Role.viewer, local=True)
    def create(self, *, bits: Bits = None, octets: Bytes = None) -> str:
        """Create a random string in base64, of 128 bits unless an option says otherwise.

        Example: crs-cli create sharedSecret -B32
        """
        return base64.b64encode(random_secret(bits, octets)).decode()
