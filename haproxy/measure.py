"""What Prometheus can read of a running proxy. Names are without the prefix `genproxy_`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import TYPE_CHECKING

from haproxy.dispatcher.destination import State
from haproxy.sip import cache
from rtlib.metrics import Metrics

if TYPE_CHECKING:
    from haproxy.dispatcher.set import Dispatcher
    from haproxy.exchange import Exchange
    from haproxy.notification.service import Notifications
    from haproxy.protection.service import Protection
    from haproxy.tls.store import TlsStore
    from haproxy.transport import SipTransport
    from haproxy.uac.registrations import Registrations


def measure(metrics: Metrics, exchange: Exchange, transport: SipTransport) -> None:
    """Declare all metrics; they are read when somebody asks."""
    assembly, layer = exchange.assembly, exchange.assembly.core.layer
    counters = layer.counters
    metrics.gauge("bindings", "Contacts registered now.", lambda: len(assembly.location))
    metrics.gauge("transactions", "SIP transactions now.", lambda: len(layer))
    metrics.gauge("connections", "Open connections, by transport.", transport.connections_by, "transport")
    core = assembly.core
    metrics.gauge("calls_up", "Calls that are answered and not ended.", lambda: len(core.calls))
    metrics.gauge("traces", "Traces that are running.", lambda: exchange.tracer.watchers)
    metrics.gauge("draining", "1 while new calls are refused.", lambda: float(bool(core.refusal)))
    metrics.counter("requests", "New SIP requests.", lambda: counters.requests)
    metrics.counter("responses", "SIP responses to requests of ours.", lambda: counters.responses)
    metrics.counter("retransmissions", "Messages sent again.", lambda: counters.sent_again)
    metrics.counter("malformed", "Messages that could not be parsed.", lambda: counters.malformed)
    metrics.counter("timeouts", "Transactions that nobody answered.", lambda: counters.timeouts)
    metrics.counter(
        "overload", "Requests refused because of too many transactions.", lambda: counters.refused
    )
    overload = exchange.assembly.overload
    metrics.counter("overloads", "Times that more came in than could be worked on.", lambda: overload.times)
    metrics.gauge("overloaded", "1 while there is an overload.", lambda: float(overload.lasts))
    metrics.counter(
        "overload_refused", "New requests refused because of an overload.", lambda: overload.refused
    )
    metrics.gauge(
        "udp_waited_longest_seconds",
        "How long a message had waited to be read, since the last scrape, where others waited behind it.",
        overload.take_longest,
    )
    metrics.gauge("remembered", "Parsed headers and URIs that are kept, by kind.", cache.sizes, "kind")
    metrics.counter(
        "transactions_shortened",
        "Answered transactions that ended early to make room for others.",
        lambda: counters.shortened,
    )
    metrics.counter(
        "decisions", "Requests not proxied, and failovers.", lambda: assembly.core.counters, "kind"
    )
    metrics.counter("offences", "Bad input, by kind.", lambda: exchange.offences.totals, "kind")
    metrics.counter(
        "offences_unlogged",
        "Bad input that is not in the log because too much came at a time.",
        lambda: exchange.offences.unlogged,
    )
    metrics.counter(
        "registrations", "REGISTER requests, by outcome.", lambda: _registrations(exchange), "outcome"
    )
    metrics.counter(
        "udp_received", "Datagrams received, by socket.", lambda: _udp(transport, "received"), "socket"
    )
    metrics.counter(
        "udp_overrun",
        "Datagrams lost because we were too late to read them, by socket.",
        lambda: _udp(transport, "overrun"),
        "socket",
    )
    metrics.counter("udp_sent", "Datagrams sent, by socket.", lambda: _udp(transport, "sent"), "socket")
    metrics.counter(
        "udp_dropped", "Datagrams dropped, by socket.", lambda: _udp(transport, "dropped"), "socket"
    )
    metrics.counter(
        "udp_refused",
        "Datagrams that the system did not send, by socket.",
        lambda: _udp(transport, "send_errors"),
        "socket",
    )
    names, resolver = assembly.names, exchange.resolver
    metrics.gauge("dns_cached", "Answers of name servers that are kept.", lambda: len(names))
    metrics.counter("dns_hits", "Questions that the cache answered.", lambda: names.hits)
    metrics.counter("dns_queries", "Questions put to name servers.", lambda: resolver.asked)
    metrics.counter("dns_failures", "Questions that no name server answered.", lambda: resolver.failed)
    metrics.gauge("database_pending", "Bindings not written yet.", lambda: exchange.writer.pending)
    metrics.counter("database_dropped", "Changes given up.", lambda: exchange.writer.dropped)
    media = exchange.media
    if media is not None:
        metrics.gauge("calls", "Calls whose media is relayed.", lambda: len(media))
        metrics.counter("calls_started", "Calls whose media was relayed.", lambda: media.started)
        metrics.gauge("media_ports", "Port pairs in use.", lambda: media.ports_in_use)
        metrics.counter("media_wrong_source", "Media packets from elsewhere.", lambda: media.wrong_source)


def measure_dispatcher(metrics: Metrics, exchange: Exchange) -> None:
    """Declare what there is to know of the Genesis systems."""
    dispatcher, prober = exchange.assembly.dispatcher, exchange.assembly.prober
    metrics.gauge("primary_set", "Number of the primary dispatch set.", lambda: dispatcher.primary)
    metrics.gauge("destinations", "Genesis systems, by state.", lambda: _by_state(dispatcher), "state")
    metrics.counter("set_failovers", "Moves to the other dispatch set.", lambda: dispatcher.failovers)
    metrics.counter(
        "destination_rests",
        "Times that a system answered 503 and asked for no calls (Retry-After).",
        lambda: dispatcher.rests,
    )
    metrics.counter("destinations_refused", "Systems beyond a limit.", lambda: dispatcher.refused)
    metrics.counter("probes", "Probes of Genesis systems, by outcome.", lambda: prober.outcomes, "outcome")

    def round_trips() -> dict[str, float]:
        known = (each for each in dispatcher.members if each.rtt is not None)
        return {each.uri.decode(errors="replace"): each.rtt or 0.0 for each in known}

    metrics.gauge("probe_rtt_seconds", "Time of the last answer to a probe, by URI.", round_trips, "uri")


def measure_tls(metrics: Metrics, store: TlsStore, wall: Callable[[], float]) -> None:
    """Declare what there is to know of certificates."""

    def left() -> dict[str, float]:
        now = wall()
        return {loaded.section.name: loaded.end.timestamp() - now for loaded in store}

    def lists_left() -> dict[str, float]:
        now, found = wall(), {}
        for loaded in store:
            ends = [crl.next_update_utc.timestamp() for crl in loaded.crls if crl.next_update_utc]
            if ends:
                found[loaded.section.name] = min(ends) - now
        return found

    def problems() -> float:
        return float(sum(1 for loaded in store if store.problem(loaded.section)))

    metrics.gauge("tls_expiry_seconds", "Seconds until a certificate ends, by section.", left, "section")
    metrics.gauge(
        "tls_crl_expiry_seconds", "Seconds until a revocation list ends, by section.", lists_left, "section"
    )
    metrics.gauge("tls_problems", "TLS sections whose new files are no good.", problems)


def measure_protection(metrics: Metrics, protection: Protection) -> None:
    """Declare what there is to know of attackers."""
    guard = protection.guard
    metrics.counter(
        "messages_shut_out", "Messages dropped before anything of them was parsed.", guard.totals, "kind"
    )
    metrics.counter(
        "strangers_held",
        "Requests for Genesis that were too many of those whom nobody knows.",
        lambda: guard.held,
    )
    metrics.gauge(
        "messages_waiting",
        "Messages that wait until those of others have been worked on: their senders send much.",
        lambda: len(protection.backlog),
    )
    metrics.counter("blocks", "Times that an address was blocked.", lambda: guard.blocks, "kind")
    metrics.gauge(
        "addresses_blocked",
        "Addresses that are blocked now.",
        lambda: Counter(source.kind for source in guard.blocked()),
        "kind",
    )
    metrics.gauge("addresses_watched", "Addresses whose rate is known.", lambda: len(guard))
    metrics.counter("addresses_forgotten", "Addresses given up for others.", lambda: guard.forgotten)


def measure_notifications(metrics: Metrics, notifications: Notifications) -> None:
    """Declare what there is to know of the servers that are notified."""

    def outcomes() -> dict[tuple[str, str], float]:
        found = {}
        for courier in notifications:
            outbox = courier.outbox
            for name in ("sent", "failed", "refused", "dropped"):
                found[courier.target.name, name] = float(getattr(outbox, name))
        return found

    metrics.counter(
        "notifications", "Notifications, and attempts that failed.", outcomes, "target", "outcome"
    )
    metrics.gauge(
        "notifications_queued",
        "Notifications that wait.",
        lambda: {courier.target.name: float(len(courier.outbox)) for courier in notifications},
        "target",
    )
    metrics.gauge(
        "notifications_failing",
        "1 where the last attempt failed.",
        lambda: {courier.target.name: float(courier.outbox.failing) for courier in notifications},
        "target",
    )


def measure_registrations(metrics: Metrics, registrations: Registrations) -> None:
    """Declare what there is to know of the proxy's own registrations elsewhere."""
    tally = registrations.tally
    metrics.gauge(
        "outbound_registrations", "Registrations elsewhere, by state.", registrations.by_state, "state"
    )
    metrics.counter(
        "outbound_registration_attempts",
        "Attempts to register elsewhere, by final response, timeout or unreachable.",
        lambda: dict(tally.answers),
        "code",
    )
    metrics.counter(
        "outbound_registration_complaints", "Registrars' wrong answers.", lambda: tally.complaints
    )
    metrics.counter(
        "outbound_registration_failovers", "Registrars that another one replaced.", lambda: tally.failovers
    )


def _by_state(dispatcher: Dispatcher) -> dict[str, float]:
    states = Counter(destination.state for destination in dispatcher.members)
    return {state.value: float(states[state]) for state in State}


def _registrations(exchange: Exchange) -> dict[str, float]:
    registrar, authentication = exchange.assembly.registrar, exchange.assembly.authentication
    return {
        "accepted": registrar.accepted,
        "refused": registrar.refused,
        "wrong credentials": authentication.rejected,
    }


def _udp(transport: SipTransport, name: str) -> dict[str, float]:
    return {socket: float(getattr(counters, name)) for socket, counters in transport.counters().items()}
