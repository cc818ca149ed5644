"""`dispatcher show`, `set` and `explain`: the Genesis systems, and which of them get the calls."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated

import msgspec

from rtlib.command.registry import Argument, BadArgument, NotFound, Role, command
from rtlib.command.render import Column

if TYPE_CHECKING:
    from haproxy.dispatcher.destination import Destination, Evidence
    from haproxy.dispatcher.probe import Prober
    from haproxy.dispatcher.set import Dispatcher


class DestinationRow(msgspec.Struct, frozen=True):
    """One Genesis system."""

    dispatch_set: Annotated[str, Column("DISPATCH SET", "1 or 0, and the role that the set has now")]
    status: Annotated[str, Column("STATUS", "Active, Probing (it has failed, not often enough) or Inactive")]
    uri: Annotated[str, Column("URI", "the contact that the system registered")]
    since: Annotated[int, Column("SINCE", "seconds that it has had this status")]
    reason: Annotated[str, Column("REASON", "why it has it")]


class ReasonRow(msgspec.Struct, frozen=True):
    """Why one Genesis system is in its state."""

    dispatch_set: Annotated[int, Column("SET", "1 or 0")]
    uri: Annotated[str, Column("URI", "the contact that the system registered")]
    status: Annotated[str, Column("STATUS", "as in `dispatcher show`")]
    since: Annotated[int, Column("SINCE", "seconds that it has had this status")]
    next_probe: Annotated[int | None, Column("NEXT PROBE", "seconds until then; empty while one is due")]
    calls: Annotated[int, Column("CALLS", "calls that it has answered, in whatever way")]
    failed: Annotated[int, Column("FAILED", "calls that it did not answer, or that could not be sent there")]
    why: Annotated[str, Column("WHY", "why it has this status, and what would change it")]


class EvidenceRow(msgspec.Struct, frozen=True):
    """Something that was seen of a Genesis system."""

    uri: Annotated[str, Column("URI", "the contact that the system registered")]
    ago: Annotated[float, Column("AGO", "seconds ago")]
    kind: Annotated[str, Column("KIND", "OPTIONS or INFO: a probe; call; REGISTER; timer")]
    outcome: Annotated[str, Column("OUTCOME", "what came of it")]
    code: Annotated[int | None, Column("CODE", "the final response; empty without one")]
    rtt: Annotated[float | None, Column("RTT", "milliseconds until that response")]
    status: Annotated[str, Column("STATUS", "what the system's status was then")]


class Explanation(msgspec.Struct, frozen=True):
    """What the dispatcher knows, and concludes."""

    primary: Annotated[str, Column("PRIMARY", "which set gets the calls, and why")]
    destinations: Annotated[list[ReasonRow], Column("", "the systems, the primary set first")]
    evidence: Annotated[list[EvidenceRow], Column("", "what was seen of each, the oldest first; bounded")]


class DispatcherCommands:
    """Looks at the dispatcher, and chooses the primary set."""

    def __init__(
        self,
        dispatcher: Dispatcher,
        prober: Prober,
        *,
        set_primary: Callable[[int], None],
        now: Callable[[], float],
    ) -> None:
        """`set_primary` raises ValueError."""
        self._dispatcher = dispatcher
        self._prober = prober
        self._set_primary = set_primary
        self._now = now

    @command("dispatcher show", role=Role.viewer)
    def show(self) -> list[DestinationRow]:
        """Show the Genesis systems of both dispatch sets.

        Example: genproxy-cli dispatcher show
        """
        now, primary = self._now(), self._dispatcher.primary
        rows = [_destination_row(each, primary, now) for each in self._dispatcher.destinations()]
        return sorted(rows, key=lambda row: row.dispatch_set)

    @command("show dispatcher", role=Role.viewer)
    def listed(self) -> list[DestinationRow]:
        """Show the same as `dispatcher show`.

        Example: genproxy-cli show dispatcher
        """
        return self.show()

    @command("dispatcher set")
    def set(self, number: Annotated[int, Argument("1 (dispatchPriUser) or 0 (dispatchSecUser)")]) -> str:
        """Make a dispatch set the primary one: it gets the calls while one of its systems is up.

        Example: genproxy-cli dispatcher set 0
        """
        try:
            self._set_primary(number)
        except ValueError as error:
            raise BadArgument(str(error)) from None
        if self._dispatcher.primary != number:
            return f"set {number} will be primary once one of its systems is up"
        return f"set {number} is primary"

    @command("dispatcher explain", role=Role.viewer)
    def explain(
        self,
        system: Annotated[str | None, Argument("only this one: its URI or its user")] = None,
    ) -> Explanation:
        """Explain why each Genesis system is in its state: its last probes, codes and round-trip times.

        Example: genproxy-cli dispatcher explain genesis_a
        """
        from haproxy.dispatcher.explain import why_primary

        now = self._now()
        found = self._dispatcher.destinations()
        if system is not None:
            found = [each for each in found if system.encode() in {each.uri, each.user}]
            if not found:
                raise NotFound(f"no Genesis system has registered as {system}, nor with that contact")
        return Explanation(
            why_primary(self._dispatcher),
            [self._reason_row(each, now) for each in found],
            [_evidence_row(each, seen, now) for each in found for seen in each.history],
        )

    def _reason_row(self, destination: Destination, now: float) -> ReasonRow:
        from haproxy.dispatcher.explain import why

        due = self._prober.next_of(destination)
        return ReasonRow(
            destination.number,
            _text(destination.uri),
            destination.state.value.capitalize(),
            round(now - destination.since),
            None if due is None else max(0, round(due - now)),
            destination.calls,
            destination.failed_calls,
            why(destination, self._dispatcher.rules, now),
        )


def _destination_row(destination: Destination, primary: int, now: float) -> DestinationRow:
    role = "Primary" if destination.number == primary else "Backup"
    return DestinationRow(
        f"{destination.number} ({role})",
        destination.state.value.capitalize(),
        _text(destination.uri),
        round(now - destination.since),
        destination.reason,
    )


def _evidence_row(destination: Destination, seen: Evidence, now: float) -> EvidenceRow:
    return EvidenceRow(
        _text(destination.uri),
        round(now - seen.when, 1),
        seen.kind,
        seen.outcome,
        seen.status or None,
        None if seen.rtt is None else round(seen.rtt * 1000, 2),
        seen.state.value.capitalize(),
    )


def _text(data: bytes) -> str:
    return data.decode("utf-8", "replace")
