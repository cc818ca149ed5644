"""The composition root of genproxy: builds all, wires all, and starts and stops it."""

from __future__ import annotations

import random
import secrets
import socket
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from twisted.application.service import Service
from twisted.logger import Logger

from haproxy.commands.dispatcher import DispatcherCommands
from haproxy.commands.dns import DnsCommands
from haproxy.commands.drain import DrainCommands
from haproxy.commands.flush import FlushCommands
from haproxy.commands.notification import NotificationCommands
from haproxy.commands.protection import ProtectionCommands
from haproxy.commands.registration import RegistrationCommands
from haproxy.commands.show import ShowCommands
from haproxy.commands.system import Changes, SystemCommands
from haproxy.commands.tls import TlsCommands
from haproxy.commands.trace import TraceCommands
from haproxy.commands.version import VersionCommands
from haproxy.dispatcher.door import ControlDoor, ControlSocket
from haproxy.dispatcherconfig import doorman_of
from haproxy.dns.record import Answer, Question
from haproxy.exchange import Exchange
from haproxy.measure import (
    measure,
    measure_dispatcher,
    measure_notifications,
    measure_protection,
    measure_registrations,
    measure_tls,
)
from haproxy.notification.client import Client
from haproxy.notification.event import certificate_ends
from haproxy.notification.node import NodeState
from haproxy.notification.service import Notifications, Sender
from haproxy.notification.target import Target
from haproxy.notifyconfig import targets_of
from haproxy.proxy.side import Sides
from haproxy.registrar.database import Database
from haproxy.settings import Settings, without_effect, without_password
from haproxy.sip import transaction
from haproxy.tls.store import TlsStore
from haproxy.tls.watch import TlsWatch
from haproxy.tlsconfig import DEFAULT_PAIR, sections_of
from haproxy.transport import BoundSocket, SipTransport
from haproxy.version import VERSION
from rtlib.collector import Collector
from rtlib.command.registry import Registry
from rtlib.command.server import CommandFactory
from rtlib.daemon import DaemonService
from rtlib.defect import Defects
from rtlib.drain import Drain
from rtlib.lateness import Lateness
from rtlib.listen import StreamPort
from rtlib.log import LogObserver, init
from rtlib.manhole import manhole_factory
from rtlib.metrics import Metrics
from rtlib.notify import ScriptNotifier
from rtlib.settings.change import changes

NAME = "genproxy"

log = Logger(NAME)


@dataclass(frozen=True, slots=True)
class Sockets:
    """Everything that was bound before the start."""

    sip: Sequence[BoundSocket]
    command: socket.socket
    manhole: socket.socket
    metrics: socket.socket | None
    control: Sequence[ControlSocket] = ()


@dataclass(frozen=True, slots=True)
class State:
    """What the proxy keeps in its state directory."""

    folder: Path
    key: bytes
    """Secret; signs Record-Route values and nonces, also of before a restart."""
    database: Database
    tls: TlsStore | None


class Genproxy(DaemonService):
    """The daemon: all services, in the order in which they start."""

    def __init__(
        self,
        settings: Settings,
        sides: Sides,
        sockets: Sockets,
        state: State,
        *,
        read: Callable[[], Settings],
        reactor: Any,
        observer: LogObserver | None,
    ) -> None:
        """`read` reads the settings again; it raises SettingsError."""
        super().__init__(NAME, reactor, observer, reload=self.reload)
        self.settings = settings
        self._read = read
        self._log_observer = observer
        self._state = state
        self._notifier = ScriptNotifier(reactor, state.folder / "scripts" / "notify.sh")
        node = socket.gethostname()
        self.notifications = self._make_notifications(settings, node, reactor)
        self._node = NodeState(node, self.notifications.report)
        self.exchange = Exchange(
            reactor,
            settings,
            sides,
            database=state.database,
            key=state.key,
            notifier=self._notifier,
            report=self.notifications.report,
        )
        transport = SipTransport(
            reactor,
            sockets.sip,
            self.exchange.receive,
            self.exchange.failed,
            self.exchange.offence,
            tls=state.tls,
            gate=self.exchange.protection,
            overload=self.exchange.assembly.overload,
        )
        self.exchange.use(transport)
        self.metrics = Metrics(NAME, VERSION)
        lateness, defects = Lateness(reactor), Defects()
        lateness.add_to(self.metrics)
        defects.add_to(self.metrics)
        measure(self.metrics, self.exchange, transport)
        measure_notifications(self.metrics, self.notifications)
        measure_protection(self.metrics, self.exchange.protection)
        measure_registrations(self.metrics, self.exchange.outbound.machine)
        measure_dispatcher(self.metrics, self.exchange)
        self._control = self._make_control(sockets.control, reactor)
        if state.tls is not None:
            measure_tls(self.metrics, state.tls, time.time)
            TlsWatch(reactor, state.tls, time.time, self._certificate_ends).setServiceParent(self)
        self._drain = Drain(
            reactor,
            refuse=self._refuse,
            calls=self.exchange.calls,
            stop=reactor.stop,
            notify=lambda text: self._notifier.notify(NAME, text),
        )
        self._drain.setServiceParent(self)
        self.commands = self._make_commands()
        # They stop in reverse: first no more input, at last what is left is written.
        children = [
            lateness,
            defects,
            self._notifier,
            self.notifications,
            self.exchange.writer,
            self.exchange,
            self.exchange.protection,
            transport,
            self.exchange.outbound,
        ]
        for child in [*children, *self._make_doors(sockets, state, reactor), Collector(reactor)]:
            child.setServiceParent(self)

    def startService(self) -> None:
        """Say what has no effect, and start."""
        for key in without_effect(self.settings):
            log.warn("{key} has no effect in this version", key=key)
        self._warn_of_passwords()
        super().startService()
        code = "Python" if transaction.__file__.endswith(".py") else "machine code"
        log.info("the hot path of SIP runs as {code}", code=code)
        for side in self.exchange.assembly.sides:
            spoken = "UDP and TCP" if side.tls_port is None else f"UDP and TCP; {side.tls_port}, TLS"
            text = "{side} side: {host}:{port}, {spoken}"
            init(log, text, side=side.name, host=side.host, port=side.port, spoken=spoken)
        self._notifier.notify(NAME, f"{self.settings.system.systemName} started")
        self._node.enter("online", "genproxy has started")

    def stopService(self) -> Any:
        """Tell that it stops, and stop."""
        self._notifier.notify(NAME, f"{self.settings.system.systemName} stops")
        self._node.enter("offline", "genproxy stops")
        return super().stopService()

    async def farewell(self) -> None:
        """Let no provider send calls here any more."""
        await self.exchange.outbound.leave()

    def reload(self) -> Changes:
        """Read the settings again and apply what can be applied; keys applied, and keys that need a restart.

        Raises SettingsError and TlsError, and then nothing has changed.
        """
        new = self._read()
        applied, restart = changes(self.settings, new)
        if self._state.tls is not None:
            self._state.tls.replace(sections_of(new, self._state.folder / DEFAULT_PAIR))
        self.exchange.apply(new)
        self.notifications.replace(targets_of(new))
        self._control.doorman = doorman_of(new)
        if self._log_observer is not None:
            self._log_observer.level = new.system.logLevel
        self.settings = new
        init(log, "reloaded; applied: {applied}", applied=", ".join(applied) or "nothing has changed")
        for key in restart:
            log.warn("{key} was changed, which needs a restart", key=key)
        self._warn_of_passwords()
        return applied, restart

    def _warn_of_passwords(self) -> None:
        for name in without_password(self.settings):
            log.warn("subscriber {name} has no password: nobody can prove to be {name}", name=name)

    def _make_notifications(self, settings: Settings, node: str, reactor: Any) -> Notifications:
        def client(target: Target) -> Client:
            return Client(reactor, target, self._ask, secrets.token_bytes)

        return Notifications(
            reactor,
            Sender(settings.system.systemName, node),
            targets_of(settings),
            poster=client,
            now=time.monotonic,
            wall=time.time,
            entropy=secrets.token_bytes,
            random=random.random,
        )

    async def _ask(self, question: Question) -> Answer:
        """Ask name servers."""
        return await self.exchange.resolver.ask(question)

    def _refuse(self, reason: str) -> None:
        """Refuse new calls from now on; "" accepts them again."""
        self.exchange.refuse(reason)
        self._node.enter("draining" if reason else "online", reason or "new calls are accepted again")

    def _certificate_ends(self, section: str, text: str) -> None:
        """A TLS section needs an operator."""
        self._notifier.notify(f"{NAME}/tls", f"{section}: {text}")
        self.notifications.report(certificate_ends(section, text))

    def _make_commands(self) -> Registry:
        registry = Registry()
        assembly = self.exchange.assembly
        show = ShowCommands(
            location=assembly.location,
            media=self.exchange.media,
            layer=assembly.core.layer,
            now=time.monotonic,
        )
        dispatcher = DispatcherCommands(
            assembly.dispatcher,
            assembly.prober,
            set_primary=self.exchange.set_primary,
            now=time.monotonic,
        )
        system = SystemCommands(reload=self.reload)
        tls = TlsCommands(self._state.tls, time.time)
        trace = TraceCommands(self.exchange.tracer.subscribe)
        flush = FlushCommands(
            bindings=self.exchange.flush_bindings, transactions=self.exchange.flush_transactions
        )
        dns = DnsCommands(assembly.names, time.monotonic)
        protection = ProtectionCommands(
            lists=assembly.lists,
            sources=assembly.sources,
            guard=assembly.guard,
            now=self.exchange.protection.now,
        )
        for owner in (
            dispatcher,
            dns,
            flush,
            protection,
            show,
            system,
            tls,
            trace,
            DrainCommands(self._drain),
            NotificationCommands(self.notifications, time.monotonic),
            RegistrationCommands(self.exchange.outbound, time.monotonic),
            VersionCommands(),
        ):
            registry.add(owner)
        return registry

    def _make_control(self, sockets: Sequence[ControlSocket], reactor: Any) -> ControlDoor:
        control = ControlDoor(
            reactor,
            sockets,
            self.exchange.assembly.dispatcher,
            set_primary=self.exchange.set_primary,
            offences=self.exchange.offences,
            doorman=doorman_of(self.settings),
            tls=self._state.tls,
        )
        control.measure(self.metrics)
        return control

    def _make_doors(self, sockets: Sockets, state: State, reactor: Any) -> list[Service]:
        """Where operators come in: command socket, manhole, metrics."""
        commands = CommandFactory(self.commands, reactor, self.exchange.offences)
        namespace = {"service": self, "commands": self.commands}
        shell = manhole_factory(
            namespace, state.folder / "authorized_keys", state.folder / "run" / "manhole_host_key"
        )
        doors: list[Service] = [
            _CommandPort(sockets.command, commands, reactor),
            StreamPort(sockets.manhole, shell, reactor),
            self._control,
        ]
        if sockets.metrics is not None:
            doors.append(StreamPort(sockets.metrics, self.metrics.site(), reactor))
        return doors


class _CommandPort(StreamPort):
    """The command socket, whose connections end with it."""

    def __init__(self, sock: socket.socket, factory: CommandFactory, reactor: Any) -> None:
        super().__init__(sock, factory, reactor)
        self._commands = factory

    def stopService(self) -> Any:
        """End the connections, too."""
        self._commands.close()
        return super().stopService()
