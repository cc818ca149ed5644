"""The proxy at work: joins the sans-IO core to sockets, database, resolver, notifier and log."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable
from typing import Any

from sqlalchemy import Table
from twisted.application.service import Service
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall
from twisted.logger import Logger

from haproxy.assembly import Assembly, assemble
from haproxy.dispatcher.set import PRIMARY_SET, DestinationChanged, DestinationRefused, PrimaryChanged
from haproxy.dns.record import Answer
from haproxy.dns.resolver import DnsResolver
from haproxy.network import bind_media
from haproxy.notification.event import Change, destination_changed, primary_changed
from haproxy.protection.service import Protection
from haproxy.proxy import overload
from haproxy.proxy.event import MALFORMED, Event, Offence, RegistrationChanged, Resolve
from haproxy.proxy.side import Sides
from haproxy.registrar import table
from haproxy.registrar.database import Database, Rows, subscriber_rows
from haproxy.registrar.location import Binding, Removed, Saved
from haproxy.registrar.writer import BindingWriter, binding_of
from haproxy.rtpproxy.port import PortPool
from haproxy.rtpproxy.relay import SWEEP, MediaProxy, Timeouts
from haproxy.settings import Settings
from haproxy.sip.flow import Flow
from haproxy.sip.uri import parse as parse_uri
from haproxy.tracing import SipTracer
from haproxy.transport import SipTransport
from haproxy.uac.service import OutboundRegistrations
from haproxy.uacconfig import accounts_of, retry_of, rows_of
from rtlib.address import Address, pack, unpack
from rtlib.driver import Driver
from rtlib.media.choice import forwarder
from rtlib.media.forwarder import Forwarder
from rtlib.notify import Notifier
from rtlib.offence import OffenceLog

PREFERRED = "preferred dispatch set"
"""Under this name the database keeps which set was primary."""

SLACK = 0.05
"""Seconds: no timer that a message sets comes sooner, and under load one is always armed for so soon."""

CHUNK = 1000
"""Bindings that are forgotten before their events are taken: the queue of those is bounded."""

log = Logger()


class Exchange(Service):
    """The core, its driver, and what they have to do with the world."""

    def __init__(
        self,
        reactor: Any,
        settings: Settings,
        sides: Sides,
        *,
        database: Database,
        key: bytes,
        notifier: Notifier,
        report: Callable[[Change], None],
    ) -> None:
        """`report` tells the servers that are notified."""
        self.settings = settings
        self.offences = OffenceLog()
        self.forwarder: Forwarder = forwarder(reactor)
        self.media = self._make_media(settings, sides) if settings.proxy.enableNAT else None
        self._reactor = reactor
        self._notifier = notifier
        self._report = report
        preferred = int(database.value(PREFERRED) or PRIMARY_SET)
        self.assembly: Assembly = assemble(
            settings,
            sides,
            key=key,
            entropy=secrets.token_bytes,
            media=self.media,
            preferred=preferred,
            overloaded=self._overloaded,
        )
        self.tracer = SipTracer(time.time)
        self.protection = Protection(reactor, self.assembly.guard, self.offences)
        self.resolver = DnsResolver(reactor, settings.system.name_servers)
        self._kept = preferred
        self._locals = {f"{side.host}:{side.port}": side for side in sides}
        self.writer = BindingWriter(reactor, database, self._describe)
        self.transport: SipTransport | None = None
        self.driver: Driver[Flow, Event] = Driver(
            self.assembly.core, reactor, self._send, self._happened, slack=SLACK
        )
        self.outbound = OutboundRegistrations(
            reactor,
            self.assembly.registrations,
            flush=self.driver.flush,
            notifier=notifier,
            now=time.monotonic,
        )
        self._sweep = LoopingCall(self._sweep_media)
        self._sweep.clock = IReactorTime(reactor)
        self._load(database)

    def use(self, transport: SipTransport) -> None:
        """Take the sockets, which need `receive` and `failed` of this object to be made."""
        self.transport = transport
        self.assembly.dispatcher.deaf = transport.was_deaf

    def startService(self) -> None:
        """Look after silent calls from now on."""
        super().startService()
        self.driver.flush()
        if self.media is not None:
            self._sweep.start(SWEEP, now=False)

    def stopService(self) -> None:
        """Stop all timers, have all bindings written as they are, and give all media ports back."""
        super().stopService()
        self.writer.settle(self.assembly.location)
        if self._sweep.running:
            self._sweep.stop()
        self.tracer.close()
        self.driver.stop()
        self.resolver.stop()
        self.forwarder.stop()

    def receive(self, batch: list[tuple[bytes, Flow]]) -> None:
        """Messages from the sockets."""
        if self.tracer.active:
            self.tracer.messages(batch, received=True)
        self.driver.receive(batch)

    def failed(self, flow: Flow, reason: str) -> None:
        """A flow does not work."""
        self.assembly.core.flow_failed(flow, time.monotonic(), reason)
        self.driver.flush()

    def offence(self, kind: str, source: Address, reason: str) -> None:
        """Count bad behaviour; log it unless this source was logged a moment ago."""
        host, port = unpack(source)
        if self.offences.count(kind, host, time.monotonic()):
            self.outbound.machine.trouble(source, reason)
            log.warn(
                "{kind} from {host} port {port}: {reason}", kind=kind, host=host, port=port, reason=reason
            )

    def set_primary(self, number: int, reason: str = "set by command") -> None:
        """Make a dispatch set the primary one. Raises ValueError."""
        self.assembly.dispatcher.set_primary(number, reason, time.monotonic())
        self.assembly.core.settle(time.monotonic())
        self._keep_preferred()
        self.driver.flush()

    def refuse(self, reason: str) -> None:
        """Refuse new calls from now on, and let no provider send any; "" accepts them again."""
        self.assembly.core.refusal = reason
        self.outbound.switch(active=not reason)

    def calls(self) -> int:
        """How many calls are up."""
        return self.assembly.core.calls.count(time.monotonic())

    def flush_bindings(self, user: str | None) -> int:
        """Forget all bindings, or those of a user, with or without domain; how many."""
        location, core = self.assembly.location, self.assembly.core
        wanted = None if user is None else user.encode()
        chosen = [each for each in location if wanted is None or wanted in {each.aor, each.user}]
        for number, binding in enumerate(chosen):
            location.remove(binding, "flushed")
            if number % CHUNK == 0:
                core.settle(time.monotonic())
        core.settle(time.monotonic())
        self.driver.flush()
        return len(chosen)

    def flush_transactions(self, call_id: str | None) -> int:
        """End all transactions, or those of one Call-ID; how many."""
        count = self.assembly.core.flush(None if call_id is None else call_id.encode(), time.monotonic())
        self.driver.flush()
        return count

    def apply(self, settings: Settings) -> None:
        """Take the settings that may change while running. Who is no subscriber any more is unregistered."""
        assembly = self.assembly
        assembly.apply(settings)
        self.protection.look()
        for binding in list(assembly.location):
            if assembly.subscribers.find(binding.aor) is None:
                assembly.location.remove(binding, "not a subscriber any more")
        assembly.core.settle(time.monotonic())
        for shown, rows in self._mirrors(settings).items():
            self.writer.mirror(shown, rows)
        self.outbound.apply(accounts_of(settings, assembly.sides), retry_of(settings))
        self.driver.flush()

    def _send(self, batch: list[tuple[bytes, Flow]]) -> None:
        assert self.transport is not None
        if self.tracer.active:
            self.tracer.messages(batch, received=False)
        self.transport.send(batch)

    def _happened(self, event: Event) -> None:
        handler = self._HANDLERS.get(type(event))
        if handler is not None:
            handler(self, event)

    def _binding_changed(self, change: Saved | Removed) -> None:
        self.writer.add(change)
        self._welcome(change.binding)

    def _welcome(self, binding: Binding) -> None:
        if isinstance(binding.flow, Flow):
            # Refreshes are not told as long as they are covered.
            self.assembly.guard.registered(binding.flow.remote, binding.covered)

    def _resolve(self, asked: Resolve) -> None:
        question = asked.question

        def done(answer: Answer) -> None:
            if answer.failed and self.offences.count("dns", question.name, time.monotonic()):
                log.warn("no name server answers for {kind} {name}", kind=question.kind, name=question.name)
            self.assembly.core.resolved(question, answer, time.monotonic())
            self.driver.flush()

        Deferred.fromCoroutine(self.resolver.ask(question)).addCallback(done)

    def _offended(self, offence: Offence) -> None:
        self.offence(offence.kind, offence.flow.remote, offence.reason)
        if offence.kind == MALFORMED and self.transport is not None:
            # What follows nonsense in a stream cannot be trusted to be a message.
            self.transport.close(offence.flow)

    def _primary_changed(self, moved: PrimaryChanged) -> None:
        text = f"set {moved.current} is primary instead of set {moved.previous}: {moved.reason}"
        log.warn("{text}", text=text)
        self._notifier.notify("genproxy/dispatcher", text)
        system = self.settings.system.systemName
        self._report(primary_changed(system, moved.previous, moved.current, moved.reason))
        self._keep_preferred()

    def _destination_changed(self, change: DestinationChanged) -> None:
        uri = change.uri.decode("utf-8", "replace")
        text = f"{uri} of set {change.number} is {change.current}, was {change.previous}: {change.reason}"
        log.info("{text}", text=text)
        self._notifier.notify("genproxy/dispatcher", text)
        self._report(destination_changed(uri, change.number, change.previous, change.current, change.reason))

    def _destination_refused(self, refused: DestinationRefused) -> None:
        uri = refused.uri.decode("utf-8", "replace")
        if self.offences.count("dispatcher", uri, time.monotonic()):
            log.warn("{uri} was not taken into a dispatch set: {reason}", uri=uri, reason=refused.reason)

    def _overloaded(self, happened: overload.Event) -> None:
        if isinstance(happened, overload.OverloadBegan):
            lost = ", and some found no room" if happened.lost else ""
            text = f"overload: messages have waited {happened.waited:.1f} s{lost}: new requests are refused"
            log.warn("{text}", text=text)
        else:
            refused = f"{happened.refused} requests were refused"
            text = f"the overload is over after {happened.seconds:.1f} s; {refused}"
            log.info("{text}", text=text)
        self._notifier.notify("genproxy/overload", text)

    def _registration_changed(self, change: RegistrationChanged) -> None:
        self.outbound.changed(change)

    _HANDLERS: dict[type, Callable[[Any, Any], None]] = {
        Saved: _binding_changed,
        Removed: _binding_changed,
        Resolve: _resolve,
        Offence: _offended,
        PrimaryChanged: _primary_changed,
        DestinationChanged: _destination_changed,
        DestinationRefused: _destination_refused,
        RegistrationChanged: _registration_changed,
    }

    def _keep_preferred(self) -> None:
        preferred = self.assembly.dispatcher.preferred
        if preferred != self._kept:
            self._kept = preferred
            self.writer.keep(PREFERRED, str(preferred))

    def _sweep_media(self) -> None:
        assert self.media is not None
        for call_id, reason in self.media.sweep(time.monotonic()):
            log.info(
                "media of call {call} ended: {reason}", call=call_id.decode(errors="replace"), reason=reason
            )

    def _make_media(self, settings: Settings, sides: Sides) -> MediaProxy:
        media = settings.media
        pool = PortPool(
            self.forwarder,
            bind=lambda host, port: bind_media(host, port, media.tos),
            low=media.rtpPortMin,
            high=media.rtpPortMax,
            start=secrets.randbelow(65536),
            hosts={side.media_host: side.host for side in sides},
        )
        return MediaProxy(
            self.forwarder, pool, Timeouts(media.timeout, media.silent_timeout, media.final_timeout)
        )

    def _mirrors(self, settings: Settings) -> dict[Table, Rows]:
        """What Kamailio's tables are to show of the configuration."""
        assembly = self.assembly
        return {
            table.subscriber: subscriber_rows(assembly.subscribers),
            table.address: assembly.lists.rows(),
            table.uacreg: rows_of(settings),
        }

    def _load(self, database: Database) -> None:
        """Take the bindings that the database kept, and the Genesis systems among them."""
        for shown, mirrored in self._mirrors(self.settings).items():
            database.mirror(shown, mirrored)
        offset = time.time() - time.monotonic()
        rows, exact = database.bindings(time.time())
        bindings = [binding_of(row, self._restore, offset, exact=exact) for row in rows]
        now = time.monotonic()
        subscribers = self.assembly.subscribers
        self.assembly.location.load((b for b in bindings if subscribers.find(b.aor) is not None), now)
        dispatcher = self.assembly.dispatcher
        # The preferred set first, so that primary does not move to and fro while they are counted in.
        ranked = sorted(
            self.assembly.location, key=lambda b: dispatcher.set_of(b.user) != dispatcher.preferred
        )
        for binding in ranked:
            dispatcher.restored(binding.user, binding.contact, binding.flow, now)
            self._welcome(binding)
        self.assembly.core.settle(now)

    def _describe(self, flow: object) -> tuple[str, str]:
        """The columns `socket` and `received` for a flow, as Kamailio writes them."""
        if not isinstance(flow, Flow):
            return "", ""
        side = self.assembly.sides.of(flow.local)
        host, port = unpack(flow.remote)
        shown = f"[{host}]" if ":" in host else host
        parameter = "" if flow.transport == "udp" else f";transport={flow.transport}"
        return f"{flow.transport}:{side.host}:{side.port}", f"sip:{shown}:{port}{parameter}"

    def _restore(self, socket: str, received: str) -> Flow | None:
        """The flow of these columns; a stream's connection is gone, so that only datagrams have one."""
        transport, _, place = socket.partition(":")
        side = self._locals.get(place)
        if transport != "udp" or side is None:
            return None
        try:
            uri = parse_uri(received.encode())
            return Flow("udp", side.local("udp"), pack(uri.host.strip(b"[]").decode(), uri.port or 5060))
        except ValueError:
            return None
