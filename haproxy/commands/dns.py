"""`show dns` and `flush dns`: what name servers have answered."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated

import msgspec

from rtlib.command.registry import Argument, Role, command
from rtlib.command.render import Column

if TYPE_CHECKING:
    from haproxy.dns.cache import Cache
    from haproxy.dns.record import Answer


class DnsRow(msgspec.Struct, frozen=True):
    """One answer."""

    name: Annotated[str, Column("NAME", "the name that was asked for")]
    kind: Annotated[str, Column("TYPE", "NAPTR, SRV, A or AAAA")]
    expires: Annotated[int, Column("EXPIRES", "seconds until it is asked for again; 0 once it is over")]
    answer: Annotated[str, Column("ANSWER", "the records; none, or why there is no answer")]


class DnsCommands:
    """Looks at the cache."""

    def __init__(self, cache: Cache, now: Callable[[], float]) -> None:
        self._cache = cache
        self._now = now

    @command("show dns", role=Role.viewer)
    def show(self, name: Annotated[str | None, Argument("only this name")] = None) -> list[DnsRow]:
        """Show the answers of name servers that the proxy keeps (RFC 3263).

        Example: genproxy-cli show dns
        """
        now = self._now()
        return [
            DnsRow(question.name, question.kind, max(0, round(entry.expires - now)), _text(entry.answer))
            for question, entry in self._cache
            if name is None or question.name == name
        ]

    @command("flush dns")
    def flush(self) -> str:
        """Forget all answers of name servers.

        Example: genproxy-cli flush dns
        """
        return f"{self._cache.flush()} answers are forgotten"


def _text(answer: Answer) -> str:
    if answer.failed:
        return "no name server answers"
    return (
        "; ".join(
            record if isinstance(record, str) else " ".join(map(str, record)) for record in answer.records
        )
        or "none"
    )
