"""The composition root: builds all parts of the server from settings and bound sockets, and wires them."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from socket import socket
from typing import Any, Final

from twisted.application.service import Service
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater
from twisted.internet.threads import deferToThreadPool
from twisted.logger import Logger

from crs import blacklist, measure, stores
from crs.accounts import Accounts
from crs.addressmap import AddressMap
from crs.admins import Admins
from crs.blacklist import Blacklists
from crs.commands.account import AccountCommands
from crs.commands.admins import AdminCommands
from crs.commands.blacklist import BlacklistCommands
from crs.commands.clientdata import ClientDataCommands
from crs.commands.drain import DrainCommands
from crs.commands.files import AccountFiles
from crs.commands.interworking import InterworkingCommands
from crs.commands.members import MemberCommands
from crs.commands.purge import PurgeCommands
from crs.commands.room import RoomCommands
from crs.commands.rotate import RotateCommands
from crs.commands.secret import SecretCommands
from crs.commands.show import ShowCommands
from crs.commands.statistics import StatisticsCommands
from crs.commands.system import SystemCommands
from crs.commands.trace import TraceCommands
from crs.commands.updates import UpdateCommands
from crs.commands.version import VersionCommands
from crs.commands.wakeup import WakeupCommands
from crs.core import Core
from crs.doorway import Doorway
from crs.expulsion import Expulsion
from crs.gate import ClientGate
from crs.home import ADMINS, DATABASE, PEERS, RELAY_SOCKET, audit_file, notify_script
from crs.identity import Identity
from crs.keepalive import GRACE, KeepAlive
from crs.limits import LimitTable
from crs.monthly import Monthly
from crs.peers import Peers
from crs.relay.inside import NAME as RELAY_NAME
from crs.relay.inside import InsideRelay
from crs.relay.interface import Relay
from crs.relay.remote import RemoteRelay
from crs.rooms import Rooms
from crs.rotation import Deadlines
from crs.rules import Rules
from crs.settings import Main, Settings, load
from crs.signaling.event import Result, Trace
from crs.signaling.offers import Offered
from crs.signaling.registrar import Identification, Policy
from crs.signaling.rendezvous import Rendezvous
from crs.signaling.ticket import Sealer
from crs.statistics import Statistics
from crs.storage import Storage
from crs.stores import Stores
from crs.switchboard import Switchboard
from crs.tokenkey import token_key
from crs.version import VERSION
from rtlib.collector import Collector
from rtlib.command.audit import AuditLog
from rtlib.command.registry import CommandError, Registry
from rtlib.command.server import CommandFactory
from rtlib.daemon import DaemonService
from rtlib.defect import Defects
from rtlib.drain import Drain
from rtlib.lateness import Lateness
from rtlib.listen import StreamPort
from rtlib.log import Divided, LogObserver, LogWatch
from rtlib.media.choice import forwarder
from rtlib.metrics import Metrics
from rtlib.notify import ScriptNotifier
from rtlib.offence import OffenceLog
from rtlib.settings import SettingsError
from rtlib.store.server import Login, parse_place

log = Logger()

NAME: Final = "crs"


@dataclass(frozen=True)
class Sockets:
    """What was bound before the start; None for what is switched off."""

    clients: socket
    commands: socket
    relay: socket | None = None
    metrics: socket | None = None
    manhole: socket | None = None


class Server(DaemonService):
    """Everything in one process. `reactor` is the asyncio reactor."""

    def __init__(
        self,
        home: Path,
        settings: Settings,
        sockets: Sockets,
        accounts: Accounts,
        *,
        reactor: Any,
        observer: LogObserver | Divided | None,
    ) -> None:
        super().__init__(NAME, reactor, observer, self._reread)
        self._home = home
        self._settings = settings
        self._accounts = accounts
        self._blacklists = Blacklists(home / "accounts")
        self._blacklists.load(account.name for account in accounts)
        self._rooms = Rooms(home / "accounts")
        self._rooms.load(account.name for account in accounts)
        self._files = AccountFiles(accounts, self._blacklists, self._rooms, self._in_thread)
        self._admins = Admins(home / ADMINS)
        self._reactor = reactor
        self._log_observer = observer
        self._offences = OffenceLog()
        self._lateness = Lateness(reactor)
        self._defects = Defects()
        self._notifier = ScriptNotifier(reactor, notify_script(home))
        self._stores = self._make_stores()
        self._limits = LimitTable(_limits(settings.main))
        self._storage = Storage(self._stores.high, self._limits, self._stores.low)
        self._trace = TraceCommands(time.time, LogWatch().set)
        self._addresses = AddressMap(_addresses(settings.main))
        self._relay = self._make_relay(sockets.relay)
        self._keep_alive: Rules[KeepAlive] = Rules(_keep_alive(settings.main))
        self._cleanup: Rules[float] = Rules(_cleanup(settings.main))
        self._sealer = Sealer(token_key(home / "data", settings.main.key), secrets.token_bytes)
        self._machine = Rendezvous(
            Identification(f"{NAME}/{VERSION}", secrets.token_hex(16), time.time),
            self._sealer,
            Policy(self._denial, self._cleanup.find, accounts.are_connected, self._rooms.find, self._offered),
            self._limits,
        )
        self._statistics = Statistics(self._machine.directory, self._is_counted, time.monotonic)
        self._switchboard = Switchboard(
            self._machine,
            self._storage,
            self._relay,
            reactor,
            offences=self._offences,
            is_account=accounts.__contains__,
            on_trace=self._happened,
            on_object=self._trace.publish_object,
            read_blob=self._read_blob,
        )
        self._doorway = Doorway(self._switchboard, self._trace.publish_connection)
        self._expulsion = Expulsion(
            lambda client: self._denial(client) is not None,
            self._machine,
            self._doorway.purge,
            now=time.monotonic,
            pause=self._pause,
        )
        self._monthly = Monthly(
            accounts,
            clock=reactor,
            in_thread=self._in_thread,
            judge=self._expulsion.enforce,
            attached=lambda: list({each.client for each in self._machine.attachments}),
            offer=self._switchboard.offer,
            pause=self._pause,
            notify=partial(self._notifier.notify, NAME),
        )
        self._drain = Drain(
            reactor,
            refuse=self._machine.refuse_calls,
            calls=lambda: self._machine.calls.live_count,
            stop=reactor.stop,
            notify=partial(self._notifier.notify, NAME),
        )
        self._rotate = RotateCommands(self._files, self._doorway.purge_connections)
        self._registry = self._commands()
        self._wire(sockets)

    def _make_relay(self, sock: socket | None) -> Relay:
        """The relay: here if its port is ours, else the one in the process of its own."""
        translate = self._addresses.find
        if sock is None:
            return RemoteRelay(
                self._home / RELAY_SOCKET,
                self._reactor,
                now=time.monotonic,
                port=self._settings.main.relay_listen_port,
                translate=translate,
                watch=partial(stores.changed, self._notifier.notify, RELAY_NAME),
            )
        return InsideRelay(
            sock,
            forwarder(self._reactor, self._settings.main.relay_pause / 1e6),
            self._reactor,
            limits=self._settings.relay_limits,
            offences=OffenceLog(),
            translate=translate,
        )

    def startService(self) -> None:
        """Start, and say which settings wait for a later version."""
        for name in self._settings.without_effect():
            log.warn("{name} has no effect in this version", name=name)
        super().startService()

    def _wire(self, sockets: Sockets) -> None:
        """Add the services, in the order in which they start."""
        self._notifier.setServiceParent(self)
        self._lateness.setServiceParent(self)
        self._defects.setServiceParent(self)
        self._core(sockets.clients).setServiceParent(self)
        audit = AuditLog(audit_file(self._home))
        factory = CommandFactory(self._registry, self._reactor, self._offences, audit=audit)
        StreamPort(sockets.commands, factory, self._reactor).setServiceParent(self)
        _Closing(factory.close).setServiceParent(self)
        self._monthly.setServiceParent(self)
        Deadlines(self._accounts, self._rotate.finish, self._reactor).setServiceParent(self)
        self._drain.setServiceParent(self)
        _Closing(self._trace.close).setServiceParent(self)
        if sockets.metrics is not None:
            StreamPort(sockets.metrics, self._metrics(factory).site(), self._reactor).setServiceParent(self)
        if sockets.manhole is not None:
            self._manhole(sockets.manhole).setServiceParent(self)
        Collector(self._reactor).setServiceParent(self)

    def _core(self, clients: socket) -> Core:
        gate = ClientGate(
            clients,
            self._accounts.key,
            self._doorway,
            reactor=self._reactor,
            keep_alive=self._keep_alive,
            limits=self._limits,
            told=self._doorway.saw,
        )
        return Core(
            self._accounts,
            self._stores,
            self._storage,
            relay=self._relay,
            switchboard=self._switchboard,
            clients=gate,
            notifier=self._notifier,
            clock=self._reactor,
            wall=time.time,
            fatal=self.give_up,
        )

    def _commands(self) -> Registry:
        registry = Registry()
        show = ShowCommands(
            self._machine, self._relay, self._settings.name, now=time.monotonic, wall=time.time
        )
        owners = (
            show,
            self._trace,
            AccountCommands(self._files, self._admins, self._switchboard.remove_account),
            AdminCommands(self._files, self._admins),
            ClientDataCommands(
                self._files,
                self._storage.state,
                self._settings.name,
                self._trace.publish_object,
                wall=time.time,
            ),
            DrainCommands(self._drain),
            BlacklistCommands(self._files, self._expulsion.enforce, self._trace.publish_object),
            InterworkingCommands(self._files, Peers(self._home / PEERS)),
            PurgeCommands(self._files, self._doorway.purge, self._expulsion.enforce),
            RoomCommands(
                self._files, self._machine.bridge.find_rooms, self._switchboard.close_room, self._limits
            ),
            self._rotate,
            SecretCommands(),
            StatisticsCommands(
                self._files,
                self._machine.directory,
                now=time.monotonic,
                flush=self._switchboard.flush,
                pause=self._pause,
            ),
            SystemCommands(self._settings.name, self._accounts),
            UpdateCommands(
                self._files,
                self._machine.directory,
                applied=self._monthly.applied,
                pause=self._pause,
            ),
            MemberCommands(self._files, self._machine, self._storage.state, self._storage.forget),
            VersionCommands(),
            WakeupCommands(self._files, self._storage.state, lambda: self._settings.main.push),
        )
        for owner in owners:
            registry.add(owner)
        return registry

    def _happened(self, event: Trace) -> None:
        """What the machine tells of clients, calls and messages."""
        self._trace.publish(event)
        self._statistics.record(event)

    def _is_counted(self, account: str) -> bool:
        found = self._accounts.get(account)
        return found is not None and found.statistics

    def _denial(self, client: Identity) -> str | None:
        """Why a client may not attach, if so."""
        if client in self._blacklists:
            return blacklist.REASON
        standing = self._accounts.standing(client)
        return None if standing.admitted else standing.value

    def _offered(self, client: Identity) -> list[Offered]:
        return self._monthly.offered(client)

    async def _read_blob(self, client: Identity, month: str) -> Result:
        return await self._monthly.read_blob(client, month)

    def _pause(self) -> Deferred[None]:
        """Let others be served."""
        return deferLater(self._reactor, 0)

    def _in_thread(self, function: Callable[..., Any], *arguments: Any) -> Deferred[Any]:
        return deferToThreadPool(self._reactor, self._reactor.getThreadPool(), function, *arguments)

    def _make_stores(self) -> Stores:
        main = self._settings.main
        if main.store == "sqlite":
            return stores.sqlite(self._home / DATABASE, self._reactor, self._notifier.notify)
        servers = {
            name: (parse_place(server.place), Login(password=server.password or ""))
            for name, server in main.redis.items()
        }
        return stores.redis(servers, self._reactor, self._notifier.notify)

    def _metrics(self, commands: CommandFactory) -> Metrics:
        metrics = Metrics(NAME, VERSION)
        self._lateness.add_to(metrics)
        self._defects.add_to(metrics)
        measure.signaling(metrics, self._machine, lambda: self._switchboard.connections)
        measure.abuse(metrics, self._limits, self._relay, self._offences.totals)
        measure.storing(metrics, self._stores, self._storage)
        measure.media(metrics, self._relay)
        measure.domains(metrics, self._accounts, self._blacklists)
        measure.operation(metrics, self._trace, self._drain, self._notifier, commands.totals)
        metrics.gauge(
            "timers", "Calls that are scheduled for later.", lambda: len(self._reactor.getDelayedCalls())
        )
        return metrics

    def _manhole(self, sock: socket) -> StreamPort:
        from rtlib.manhole import manhole_factory

        keys = self._settings.main.manhole_keys
        assert keys is not None
        namespace = {"server": self, "registry": self._registry}
        factory = manhole_factory(namespace, self._home / keys, self._home / "run" / "manhole_key")
        return StreamPort(sock, factory, self._reactor)

    def _reread(self) -> None:
        """Apply what can be applied while we run, and say what cannot. Raises SettingsError."""
        try:
            new = load(self._home)
        except SettingsError as error:
            self._notifier.notify(NAME, f"reload failed: {error}")
            raise
        live, restart = self._settings.changes(new)
        for key in live:
            log.info("{key} is changed", key=key)
        for key in restart:
            log.warn("{key} is changed in its file, which needs a restart", key=key)
        if self._log_observer is not None:
            self._log_observer.change(*new.main.log)
        if new.main.key != self._settings.main.key:
            self._sealer.change(token_key(self._home / "data", new.main.key))
        self._keep_alive.replace(_keep_alive(new.main))
        self._cleanup.replace(_cleanup(new.main))
        self._limits.replace(_limits(new.main))
        self._addresses.replace(_addresses(new.main))
        self._settings = new
        Deferred.fromCoroutine(self._reread_accounts())

    async def _reread_accounts(self) -> None:
        """As `reload account` does."""
        try:
            await self._registry.call("reload account")
            self._notifier.notify(NAME, "reloaded")
        except CommandError as error:
            log.warn("the accounts were not reloaded: {error}", error=error)
            self._notifier.notify(NAME, f"reload failed: {error}")
        except Exception:  # noqa: BLE001  nobody waits for this one
            log.failure("the accounts were not reloaded")
            self._notifier.notify(NAME, "reload failed: internal error; the log has the details")


def _keep_alive(main: Main) -> Iterator[tuple[str, KeepAlive]]:
    for line in main.keep_alive:
        grace = GRACE if line.grace_period is None else line.grace_period / 1000
        yield line.match, KeepAlive(line.method, line.interval / 1000, grace)


def _addresses(main: Main) -> Iterator[tuple[str, str]]:
    for line in main.addr_map:
        yield line.public, line.used


def _limits(main: Main) -> Iterator[tuple[str, int, str | None]]:
    for line in main.limits:
        yield line.name, line.value, line.account


def _cleanup(main: Main) -> Iterator[tuple[str, float]]:
    for line in main.detach_cleanup:
        yield line.match, line.delay / 1000


class _Closing(Service):
    """Calls a function when the daemon stops."""

    def __init__(self, close: Callable[[], None]) -> None:
        self._close = close

    def stopService(self) -> None:
        super().stopService()
        self._close()
