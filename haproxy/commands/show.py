"""`show bindings`, `calls` and `transactions`: what is going on now."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated

import msgspec

from rtlib.command.registry import Argument, Role, command
from rtlib.command.render import Column

if TYPE_CHECKING:
    from haproxy.registrar.location import Binding, LocationService
    from haproxy.rtpproxy.call import Call
    from haproxy.rtpproxy.relay import MediaProxy
    from haproxy.sip.step import Transaction
    from haproxy.sip.transaction import TransactionLayer
    from rtlib.address import Address


class BindingRow(msgspec.Struct, frozen=True):
    """One contact of a registered user."""

    aor: Annotated[str, Column("USER", "the registered address-of-record")]
    contact: Annotated[str, Column("CONTACT", "where calls for the user go")]
    expires: Annotated[int, Column("EXPIRES", "seconds until the registration expires")]
    source: Annotated[str, Column("SOURCE", "where the registration came from")]
    user_agent: Annotated[str, Column("USER-AGENT", "the software that registered")]


class CallRow(msgspec.Struct, frozen=True):
    """One call whose media goes through the proxy."""

    call_id: Annotated[str, Column("CALL-ID", "the Call-ID")]
    state: Annotated[str, Column("STATE", "setup or talk")]
    time: Annotated[int, Column("TIME", "seconds since it began")]
    caller: Annotated[str, Column("CALLER", "where media of the caller comes from")]
    callee: Annotated[str, Column("CALLEE", "where media of the called party comes from")]
    packets: Annotated[int, Column("PACKETS", "media packets forwarded in both directions")]
    bytes: Annotated[int, Column("BYTES", "bytes of these packets")]


class TransactionRow(msgspec.Struct, frozen=True):
    """One SIP transaction."""

    kind: Annotated[str, Column("KIND", "server: a request to us; client: a request of ours")]
    method: Annotated[str, Column("METHOD", "the request's method")]
    state: Annotated[str, Column("STATE", "the state of RFC 3261")]
    peer: Annotated[str, Column("PEER", "transport and address of the other side")]
    call_id: Annotated[str, Column("CALL-ID", "the Call-ID")]


class ShowCommands:
    """Looks at a running proxy."""

    def __init__(
        self,
        *,
        location: LocationService,
        media: MediaProxy | None,
        layer: TransactionLayer,
        now: Callable[[], float],
    ) -> None:
        self._location = location
        self._media = media
        self._layer = layer
        self._now = now

    @command("show bindings", role=Role.viewer)
    def bindings(
        self, user: Annotated[str | None, Argument("only this user, with or without @domain")] = None
    ) -> list[BindingRow]:
        """Show who is registered, and where.

        Example: genproxy-cli show bindings 5000
        """
        now = self._now()
        chosen = (binding for binding in self._location if user is None or _is_of(binding, user))
        return sorted((_binding_row(binding, now) for binding in chosen), key=lambda row: row.aor)

    @command("show calls", role=Role.viewer)
    def calls(self) -> list[CallRow]:
        """Show the calls whose media goes through the proxy (with enableNAT).

        Example: genproxy-cli show calls
        """
        now, media = self._now(), self._media
        return [] if media is None else [_call_row(media, call, now) for call in media]

    @command("show transactions", role=Role.viewer)
    def transactions(self) -> list[TransactionRow]:
        """Show the SIP transactions.

        Example: genproxy-cli show transactions
        """
        return [_transaction_row(each) for each in self._layer.transactions()]


def _text(data: bytes) -> str:
    return data.decode("utf-8", "replace")


def _is_of(binding: Binding, user: str) -> bool:
    return user.encode() in {binding.aor, binding.user}


def _binding_row(binding: Binding, now: float) -> BindingRow:
    source = _peer(binding.flow)
    left = max(0, round(binding.expires - now))
    return BindingRow(_text(binding.aor), _text(binding.contact), left, source, _text(binding.user_agent))


def _call_row(media: MediaProxy, call: Call, now: float) -> CallRow:
    counters = media.counters(call)
    return CallRow(
        _text(call.call_id),
        "talk" if call.established else "setup",
        round(now - call.created),
        _place(call.caller.source),
        _place(call.callee.source),
        sum(flow.tx for flow in counters),
        sum(flow.tx_bytes for flow in counters),
    )


def _transaction_row(transaction: Transaction) -> TransactionRow:
    kind = type(transaction).__name__.removesuffix("Transaction").lower()
    peer = _peer(transaction.flow)
    method, call_id = _text(transaction.method), _text(transaction.call_id)
    return TransactionRow(kind, method, transaction.state.value, peer, call_id)


def _peer(flow: object) -> str:
    from haproxy.sip.flow import Flow
    from rtlib.address import text

    return f"{flow.transport}:{text(flow.remote)}" if isinstance(flow, Flow) else ""


def _place(address: Address | None) -> str:
    from rtlib.address import text

    return text(address) if address is not None else "-"
