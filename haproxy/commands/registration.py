"""`show registrations` and `refresh registration`: where the proxy itself has registered."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated

import msgspec

from rtlib.command.error import Conflict, NotFound
from rtlib.command.registry import Argument, Role, command
from rtlib.command.render import Column

if TYPE_CHECKING:
    from haproxy.uac.registration import Registration
    from haproxy.uac.service import OutboundRegistrations


class RegistrationRow(msgspec.Struct, frozen=True):
    """One outbound registration."""

    uuid: Annotated[str, Column("UUID", "l_uuid")]
    aor: Annotated[str, Column("USER", "the address-of-record, r_username@r_domain")]
    registrar: Annotated[str, Column("REGISTRAR", "auth_proxy")]
    place: Annotated[str, Column("PLACE", "transport and address of the registrar that registered us last")]
    state: Annotated[
        str,
        Column("STATE", "waiting, registering, registered, failed, unregistering or unregistered"),
    ]
    code: Annotated[int | None, Column("CODE", "the last answer; 408: none came, 503: none could come")]
    next: Annotated[int | None, Column("NEXT", "seconds to the next attempt; none is planned without")]
    expires: Annotated[int, Column("EXPIRES", "seconds until the registrar forgets us; 0: it has")]
    contact: Annotated[str, Column("CONTACT", "the URI that the registrar calls")]
    reason: Annotated[str, Column("REASON", "what went wrong, or is wrong with the answer")]


class RegistrationCommands:
    """Looks at outbound registrations, and hastens them."""

    def __init__(self, service: OutboundRegistrations, now: Callable[[], float]) -> None:
        self._service = service
        self._now = now

    @command("show registrations", role=Role.viewer)
    def show(self, uuid: Annotated[str | None, Argument("only this l_uuid")] = None) -> list[RegistrationRow]:
        """Show where the proxy has registered itself (outbound registrations).

        Example: genproxy-cli show registrations
        """
        now = self._now()
        rows = [_row(each, now) for each in self._service.machine if uuid in {None, each.account.uuid}]
        if uuid is not None and not rows:
            raise _unknown(uuid)
        return rows

    @command("refresh registration")
    def refresh(self, uuid: Annotated[str, Argument("l_uuid of the registration")]) -> str:
        """Register now, without waiting for the next attempt. The command does not wait for the answer.

        Example: genproxy-cli refresh registration provider
        """
        try:
            started = self._service.refresh(uuid)
        except KeyError:
            raise _unknown(uuid) from None
        if not started:
            raise Conflict(f"registration {uuid} is being tried already, or this node does not register now")
        return f"registration {uuid} is being tried"


def _unknown(uuid: str) -> NotFound:
    return NotFound(f"there is no outbound registration {uuid}")


def _row(registration: Registration, now: float) -> RegistrationRow:
    from rtlib.address import text

    account, flow = registration.account, registration.flow
    place = "" if flow is None else f"{flow.transport}:{text(flow.remote)}"
    due = registration.due
    return RegistrationRow(
        account.uuid,
        _text(account.aor).partition(":")[2],
        account.proxy,
        place,
        registration.state.value,
        registration.status or None,
        None if due is None else max(0, round(due - now)),
        max(0, round(registration.expires - now)),
        _text(account.contact),
        registration.reason,
    )


def _text(data: bytes) -> str:
    return data.decode("utf-8", "replace")
