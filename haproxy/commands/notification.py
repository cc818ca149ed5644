"""`show notifications` and `notify test`: the servers that are told of changes."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated

import msgspec

from rtlib.command.registry import Argument, NotFound, Role, command
from rtlib.command.render import Column

if TYPE_CHECKING:
    from haproxy.notification.courier import Courier
    from haproxy.notification.outbox import Outbox, Outcome
    from haproxy.notification.service import Notifications


class TargetRow(msgspec.Struct, frozen=True):
    """One target."""

    target: Annotated[str, Column("TARGET", "notifyURL, without what follows ?")]
    state: Annotated[str, Column("STATE", "new, ok or failing")]
    queued: Annotated[int, Column("QUEUED", "notifications that wait")]
    sent: Annotated[int, Column("SENT", "notifications that the server took")]
    failed: Annotated[int, Column("FAILED", "attempts that failed")]
    refused: Annotated[int, Column("REFUSED", "notifications that the server did not want: 413, 415, 422")]
    dropped: Annotated[int, Column("DROPPED", "notifications for which there was no room")]
    code: Annotated[int, Column("CODE", "status code of the last answer; 0 where there was none")]
    error: Annotated[str, Column("ERROR", "why the last attempt failed")]
    next: Annotated[int, Column("NEXT", "seconds until the next attempt; 0 where none waits for its time")]


class TestRow(msgspec.Struct, frozen=True):
    """What came of a test."""

    target: Annotated[str, Column("TARGET", "notifyURL, without what follows ?")]
    code: Annotated[int, Column("CODE", "status code of the answer; 0 where there was none")]
    result: Annotated[str, Column("RESULT", "ok, or why it failed")]


class NotificationCommands:
    """Looks at the targets, and tries them."""

    def __init__(self, notifications: Notifications, now: Callable[[], float]) -> None:
        """`now` is the clock of the notifications' timers."""
        self._notifications = notifications
        self._now = now

    @command("show notifications", role=Role.viewer)
    def show(self) -> list[TargetRow]:
        """Show the servers that are notified of changes, what waits for them, and why.

        Example: genproxy-cli show notifications
        """
        return [_row(courier, self._now()) for courier in self._notifications]

    @command("notify test")
    async def test(
        self, target: Annotated[str | None, Argument("only this one, as in show notifications")] = None
    ) -> list[TestRow]:
        """Send a notification that says that nothing has changed, and show what became of it.

        It does not wait for its turn; where it arrives, those that wait follow at once.

        Example: genproxy-cli notify test
        """
        outcomes = await self._notifications.test(target)
        if not outcomes:
            where = "there is no target" if target is None else f"there is no target {target}"
            raise NotFound(f"{where} in [[notifications]]")
        return [_test_row(name, outcome) for name, outcome in outcomes.items()]


def _row(courier: Courier, now: float) -> TargetRow:
    outbox = courier.outbox
    due = outbox.get_timer()
    return TargetRow(
        courier.target.name,
        _state(outbox),
        len(outbox),
        outbox.sent,
        outbox.failed,
        outbox.refused,
        outbox.dropped,
        outbox.last.code,
        outbox.last.error,
        0 if due is None else max(0, round(due - now)),
    )


def _state(outbox: Outbox) -> str:
    if outbox.failing:
        return "failing"
    return "ok" if outbox.sent + outbox.refused else "new"


def _test_row(name: str, outcome: Outcome) -> TestRow:
    return TestRow(name, outcome.code, outcome.error or "ok")
