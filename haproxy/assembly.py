"""Builds the sans-IO core from the settings: everything between the sockets and the database."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from haproxy.dispatcher.destination import Rules
from haproxy.dispatcher.probe import Pace, Prober
from haproxy.dispatcher.set import Dispatcher
from haproxy.dns.cache import Cache
from haproxy.network import names_of, nodes_of
from haproxy.protection.accesslist import AccessList, Lists
from haproxy.protection.guard import Guard, Policy
from haproxy.protection.source import Limits
from haproxy.proxy.admission import Admission, Checks
from haproxy.proxy.alarm import Alarm
from haproxy.proxy.contact import OwnContacts
from haproxy.proxy.conversation import Conversation
from haproxy.proxy.core import ProxyCore
from haproxy.proxy.domain import Domains, bracketed
from haproxy.proxy.event import Event, Resolve
from haproxy.proxy.forward import Forwarding
from haproxy.proxy.hop import Resolver
from haproxy.proxy.liveness import Liveness
from haproxy.proxy.overload import Event as Overloaded
from haproxy.proxy.overload import Overload
from haproxy.proxy.reply import Reply
from haproxy.proxy.route import Router
from haproxy.proxy.side import Sides
from haproxy.proxy.source import Sources
from haproxy.proxy.target import Targets
from haproxy.registrar.authentication import Authentication
from haproxy.registrar.location import CONTACTS, LocationService
from haproxy.registrar.registrar import Lifetimes, Registrar
from haproxy.registrar.subscriber import Subscriber, Subscribers
from haproxy.rtpproxy.relay import MediaProxy
from haproxy.settings import Settings
from haproxy.settings.registration import Subscriber as SubscriberSettings
from haproxy.sip.transaction import TransactionLayer
from haproxy.sip.uri import canonical_host
from haproxy.uac.attempt import Stack
from haproxy.uac.registrations import Registrations
from haproxy.uacconfig import accounts_of, contacts_of, retry_of
from haproxy.version import identification
from rtlib.nonce import Nonces
from rtlib.wheel import Wheel


@dataclass(frozen=True, slots=True)
class Assembly:
    """The parts that the service talks to."""

    core: ProxyCore
    sides: Sides
    location: LocationService
    dispatcher: Dispatcher
    prober: Prober
    subscribers: Subscribers
    lists: Lists
    sources: Sources
    domains: Domains
    registrar: Registrar
    admission: Admission
    authentication: Authentication
    guard: Guard
    overload: Overload
    names: Cache
    contacts: OwnContacts
    registrations: Registrations

    def apply(self, settings: Settings) -> None:
        """Take the settings that may change while running."""
        self.subscribers.replace(map(subscriber_of, settings.subscribers))
        self.domains.replace(names_of(settings))
        _fill(self.lists, settings)
        self.registrar.lifetimes = _lifetimes(settings)
        self.admission.checks = _checks(settings)
        self.guard.apply(_policy(settings))
        self.dispatcher.persistent = settings.proxy.astPersistentFailover
        self.dispatcher.rules = _rules(settings, self.dispatcher.rules.probing)
        self.prober.pace = _pace(settings)
        self.contacts.replace(contacts_of(settings, self.sides))


def assemble(
    settings: Settings,
    sides: Sides,
    *,
    key: bytes,
    entropy: Callable[[int], bytes],
    media: MediaProxy | None,
    preferred: int,
    overloaded: Callable[[Overloaded], None] = lambda happened: None,
) -> Assembly:
    """Build the core. `key` is secret and lasts; `preferred` is the dispatch set that was primary before.

    `overloaded` is told of overloads, which the sockets notice.
    """
    proxy = settings.proxy
    # All systems of a set may have the same user (guide 7.1.20).
    location = LocationService(max(CONTACTS, proxy.dispatchLimit))
    subscribers = Subscribers(map(subscriber_of, settings.subscribers))
    domains = Domains(names_of(settings))
    dispatcher = _dispatcher(settings, preferred)
    lists = Lists(AccessList(), AccessList(), AccessList())
    _fill(lists, settings)
    sources = Sources(lists, dispatcher)
    guard = Guard(lists, _policy(settings), pardon=sources.shares_host, inside=sides.private.contains)
    overload = Overload(sources.is_genesis, overloaded)
    user_agent = identification(proxy.userAgent)
    layer = TransactionLayer(
        lambda flow: sides.of(flow.local).sent_by_of(flow.transport),
        entropy,
        server_header=identification(proxy.serverHeader),
        user_agent=user_agent,
        refuses=overload.refuses,
    )
    wheel: Wheel[Alarm] = Wheel()
    events: deque[Event] = deque()
    names = Cache()
    resolver = Resolver(sides, lambda question: events.append(Resolve(question)), entropy, names)
    router = Router(sides, domains, key, ignore_sips=proxy.rrIgnoreSips)
    conversation = Conversation(sides, media)
    registrar = Registrar(location, _lifetimes(settings))
    # A key of its own for each run: what was recorded before a restart cannot be sent again after it.
    authentication = Authentication(subscribers, Nonces(entropy(32), entropy), proxy.authAlgorithms)
    prober = Prober(dispatcher, _pace(settings))
    admission = Admission(
        domains=domains,
        checks=_checks(settings),
        sides=sides,
        sources=sources,
        subscribers=subscribers,
        location=location,
        dispatcher=dispatcher,
        authentication=authentication,
        guard=guard,
        tell=events.append,
    )
    liveness = Liveness(
        layer=layer,
        sides=sides,
        resolver=resolver,
        prober=prober,
        schedule=wheel.schedule,
        method=proxy.astPingMethod.encode(),
        user_agent=user_agent,
    )
    contacts = OwnContacts(domains, contacts_of(settings, sides))
    registrations = Registrations(
        Stack(layer, resolver, wheel.schedule, entropy, user_agent),
        accounts_of(settings, sides),
        retry=retry_of(settings),
        tell=events.append,
    )
    core = ProxyCore(
        layer=layer,
        sides=sides,
        sources=sources,
        router=router,
        targets=Targets(
            admission=admission,
            domains=domains,
            sources=sources,
            location=location,
            subscribers=subscribers,
            dispatcher=dispatcher,
            contacts=contacts,
            sides=sides,
        ),
        resolver=resolver,
        forwarding=Forwarding(layer, router, resolver, conversation),
        conversation=conversation,
        reply=Reply(layer),
        admission=admission,
        registrar=registrar,
        location=location,
        dispatcher=dispatcher,
        liveness=liveness if proxy.enableAstFailover else None,
        wheel=wheel,
        events=events,
    )
    return Assembly(
        core,
        sides,
        location,
        dispatcher,
        prober,
        subscribers,
        lists,
        sources,
        domains,
        registrar,
        admission,
        authentication,
        guard,
        overload,
        names,
        contacts,
        registrations,
    )


def subscriber_of(settings: SubscriberSettings) -> Subscriber:
    """A subscriber with the hashes that the settings give, or that their password makes."""
    user, domain = settings.username.encode(), settings.domain.encode()
    if b":" in domain:
        domain = canonical_host(bracketed(settings.domain))  # as it stands in the To of a REGISTER
    if settings.password:
        return Subscriber.with_password(user, domain, settings.password.encode())
    return Subscriber(user, domain, settings.ha1.lower().encode(), settings.ha1b.lower().encode())


def _dispatcher(settings: Settings, preferred: int) -> Dispatcher:
    proxy = settings.proxy
    return Dispatcher(
        primary_user=proxy.dispatchPriUser.encode(),
        secondary_user=proxy.dispatchSecUser.encode(),
        limit=proxy.dispatchLimit,
        size=proxy.dispatchSize,
        persistent=proxy.astPersistentFailover,
        rules=_rules(settings, proxy.enableAstFailover),
        preferred=preferred,
    )


def _fill(lists: Lists, settings: Settings) -> None:
    proxy = settings.proxy
    lists.deny.replace(proxy.denyList)
    # The nodes watch each other by OPTIONS (guide 7.1.12).
    lists.allow.replace(proxy.allowList, nodes_of(settings))
    lists.proxy.replace(proxy.proxyList)


def _rules(settings: Settings, probing: bool) -> Rules:
    proxy = settings.proxy
    return Rules(proxy.astDownThreshold, proxy.astUpThreshold, proxy.astHoldDown, probing)


def _pace(settings: Settings) -> Pace:
    proxy = settings.proxy
    return Pace(proxy.astPingInterval, proxy.astPingRetry, proxy.astPingTimeout)


def _policy(settings: Settings) -> Policy:
    """What the operator wants of the protection."""
    proxy = settings.proxy
    limits = Limits(
        requests=proxy.floodRate * proxy.floodInterval,
        messages=proxy.floodBurst * proxy.floodInterval,
        interval=proxy.floodInterval,
        intervals=proxy.floodIntervals,
        block=proxy.floodBlockTime,
    )
    return Policy(
        proxy.enableAntiFlood,
        limits,
        proxy.scannerAgents,
        proxy.protectionDryRun,
        proxy.strangerRate if proxy.enableAntiFlood else 0,
    )


def _lifetimes(settings: Settings) -> Lifetimes:
    proxy = settings.proxy
    return Lifetimes(proxy.registerDefaultExpires, proxy.registerMinExpires, proxy.registerMaxExpires)


def _checks(settings: Settings) -> Checks:
    proxy = settings.proxy
    return Checks(
        register_auth=proxy.enableRegAuth,
        invite_auth=proxy.enableInviteAuth,
        contact=proxy.enableContactCheck,
        registered=proxy.enableRegCheck,
    )
