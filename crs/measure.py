"""What Prometheus can read of a running server. Names are without the prefix `crs_`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from rtlib.metrics import Metrics

if TYPE_CHECKING:
    from crs.accounts import Accounts
    from crs.blacklist import Blacklists
    from crs.commands.trace import TraceCommands
    from crs.limits import LimitTable
    from crs.relay.interface import Relay
    from crs.signaling.rendezvous import Rendezvous
    from crs.storage import Storage
    from crs.stores import Stores
    from rtlib.drain import Drain
    from rtlib.notify import ScriptNotifier


def signaling(metrics: Metrics, machine: Rendezvous, connections: Callable[[], int]) -> None:
    """Clients and calls."""
    metrics.gauge("connections", "Clients that are connected.", connections)
    metrics.gauge("attached", "Clients that are attached.", lambda: machine.attachments.attached_count)
    metrics.gauge(
        "suspended",
        "Clients that lost their connection and may still resume.",
        lambda: machine.attachments.suspended_count,
    )
    metrics.counter(
        "resumed", "Attachments that went on over another connection.", lambda: machine.registrar.resumed
    )
    metrics.counter(
        "updates",
        "Offers of monthly updates, and answers to them.",
        lambda: dict(machine.offers.counts),
        "step",
    )
    metrics.gauge("clients_known", "Clients that have ever attached.", lambda: len(machine.directory))
    metrics.gauge("sessions", "Calls that have not ended.", lambda: machine.calls.live_count)
    metrics.gauge(
        "asks_pending", "Work that the storage or the relay has not done yet.", lambda: machine.pending
    )


def abuse(metrics: Metrics, limits: LimitTable, relay: Relay, offences: Counter[str]) -> None:
    """What clients and strangers do that they should not."""
    metrics.counter(
        "limits_reached", "Limits that clients have reached.", lambda: dict(limits.reached), "limit"
    )
    metrics.counter(
        "offences",
        "What clients and strangers did wrong.",
        lambda: {**relay.last_statistics.offences, **offences},
        "kind",
    )


def storing(metrics: Metrics, stores: Stores, storage: Storage) -> None:
    """What is kept."""
    metrics.gauge("store_waiting", "Operations that wait for the disk.", lambda: stores.waiting)
    metrics.gauge("store_failed", "1 while nothing can be written to the database.", lambda: stores.failed)
    metrics.gauge("redis_up", "Redis servers that are there.", lambda: stores.connected, "service")
    metrics.counter("receipts_dropped", "Receipts for overfull mailboxes.", lambda: storage.dropped_receipts)


def media(metrics: Metrics, relay: Relay) -> None:
    """The relay."""
    metrics.gauge("relays", "Relay resources in use.", lambda: dict(relay.last_statistics.in_use), "type")
    metrics.counter(
        "relay_packets",
        "Packets of the relay's port.",
        lambda: dict(relay.last_statistics.port._asdict()),
        "kind",
    )
    metrics.counter(
        "relay_binds", "Bind packets by outcome.", lambda: dict(relay.last_statistics.binds), "outcome"
    )


def domains(metrics: Metrics, accounts: Accounts, blacklists: Blacklists) -> None:
    """Accounts, and who belongs to them."""
    metrics.gauge("accounts", "Accounts that are loaded.", lambda: len(accounts))
    metrics.gauge(
        "accounts_with_two_secrets",
        "Accounts whose former secret is valid yet.",
        lambda: sum(len(account.secrets(accounts.now())) > 1 for account in accounts),
    )
    metrics.gauge(
        "accounts_expired",
        "Accounts that had updates and have none for this month.",
        lambda: _expired(accounts),
    )
    metrics.gauge(
        "blacklisted",
        "Clients on blacklists.",
        lambda: sum(len(blacklists.of(each.name)) for each in accounts),
    )


def operation(
    metrics: Metrics,
    trace: TraceCommands,
    drain: Drain,
    notifier: ScriptNotifier,
    commands: Mapping[tuple[str, str], int],
) -> None:
    """What operators do, and what they are told. `commands` counts by name and outcome."""
    metrics.counter(
        "events", "Events of clients, calls and messages.", lambda: dict(trace.totals), "kind", "state"
    )
    metrics.gauge("traces", "Traces that are running.", lambda: trace.readers)
    metrics.gauge("draining", "1 while new calls are refused.", lambda: float(drain.active))
    metrics.counter("commands", "Commands of operators.", lambda: dict(commands), "command", "outcome")
    metrics.counter("notifications_dropped", "Events not notified.", lambda: notifier.dropped)
    metrics.counter("notifications_failed", "Scripts that failed or took too long.", lambda: notifier.failed)


def _expired(accounts: Accounts) -> int:
    month = accounts.month()
    updates = (accounts.updates[account.name].in_force(month) for account in accounts)
    return sum(update is not None and update.outline.month < month for update in updates)
