"""`flush bindings` and `flush transactions`: what an operator throws away."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

from rtlib.command.registry import Argument, command


class FlushCommands:
    """Throws away what a running proxy keeps."""

    def __init__(
        self, *, bindings: Callable[[str | None], int], transactions: Callable[[str | None], int]
    ) -> None:
        """Both give how many there were."""
        self._bindings = bindings
        self._transactions = transactions

    @command("flush bindings")
    def bindings(
        self, user: Annotated[str | None, Argument("only this user, with or without @domain")] = None
    ) -> str:
        """Forget registrations: phones and Genesis systems cannot be reached until they register again.

        Example: genproxy-cli flush bindings 5000
        """
        return f"{self._bindings(user)} bindings are forgotten"

    @command("flush transactions")
    def transactions(
        self, call_id: Annotated[str | None, Argument("only those of this Call-ID")] = None
    ) -> str:
        """End SIP transactions: requests that wait for an answer get 503. Calls that are up go on.

        Example: genproxy-cli flush transactions 3848276298220188511@atlanta.example.com
        """
        return f"{self._transactions(call_id)} transactions are ended"
