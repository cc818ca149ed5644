"""The schema of crs.conf, crs-local.conf and crs-relay.conf (manual 4.1.2, 4.5, 4.8, 4.10 to 4.12).

A directive whose feature this version lacks is still read and checked, so that existing files
load; `without_effect` names those that a file has.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final, Literal

from pydantic import AfterValidator, model_validator

from crs.identity import parse as parse_identity
from crs.limits import BOUNDS
from crs.relay.allocation import KINDS
from rtlib.log import Format, Level
from rtlib.settings import Problem, Section, SettingsError, directives, keyvalue, setting
from rtlib.settings.change import changes
from rtlib.settings.directives import Directive, Grammar
from rtlib.settings.schema import Named
from rtlib.settings.types import Endpoint, Host, IpAddress, ListenPort, Port, parse_network
from rtlib.store.server import parse_place


def _match(text: str) -> str:
    """An IP range, or a client as uri@account."""
    if "@" in text:
        parse_identity(text.encode())
        return text
    return str(parse_network(text))


def _place(text: str) -> str:
    return str(parse_place(text))


def _limit_name(text: str) -> str:
    if text not in BOUNDS:
        raise ValueError(f"there is no limit of that name; the limits are {', '.join(BOUNDS)}")
    return text


LimitName = Annotated[str, AfterValidator(_limit_name), Named("name of a limit")]
Name = Annotated[str, Named("name of a host")]
RedisPlace = Annotated[str, AfterValidator(_place), Named("unix:/path or host:port")]
Match = Annotated[str, AfterValidator(_match), Named("IP range or uri@account-id")]

_NAME: Final = r"^[A-Za-z0-9_.-]{1,63}$"


class HostAddress(Section):
    """`ip <name> <address>`."""

    name: Name = setting(..., "name of a host of the pool", pattern=_NAME)
    address: IpAddress = setting(..., "its public address")


class AddressMap(Section):
    """`addr-map <public> <used>`."""

    public: IpAddress = setting(..., "address in crs.conf")
    used: IpAddress = setting(..., "address to connect to in its place")


class Cps(Section):
    """`cps <host> <port> <id> <secret>`."""

    host: Host = setting(..., "push server")
    port: Port = setting(..., "its port")
    id: str = setting(..., "our id there")
    secret: str = setting(..., "secret shared with it", secret=True)


class KeepAlive(Section):
    """`keep-alive <match> <method> <interval> [grace-period]`."""

    match: Match = setting(..., "clients that it is for")
    method: Literal["tcp", "ws"] = setting(..., "TCP keep-alive or WebSocket ping")
    interval: int = setting(..., "silence before a ping", ge=1000, unit="ms")
    grace_period: int | None = setting(None, "how long to wait for the answer to a ping", ge=1, unit="ms")

    @model_validator(mode="after")
    def _grace_needs_ws(self) -> KeepAlive:
        if self.grace_period is not None and self.method != "ws":
            raise ValueError("a grace period is possible with the method ws only")
        return self


class DetachCleanup(Section):
    """`detach-cleanup <match> <delay>`."""

    match: Match = setting(..., "clients that it is for")
    delay: int = setting(..., "time from the end of the registration to the close", ge=0, unit="ms")


class Limit(Section):
    """`limit <name> <value> [account]`."""

    name: LimitName = setting(..., "what is limited")
    value: int = setting(..., "the limit, for one client or address")
    account: str | None = setting(
        None, "account whose clients it is for; else those of all others", pattern=r"^[A-Za-z0-9_-]{1,20}$"
    )

    @model_validator(mode="after")
    def _within_bounds(self) -> Limit:
        bounds = BOUNDS[self.name]
        if not bounds.least <= self.value <= bounds.most:
            raise ValueError(f"{self.name} must be from {bounds.least} to {bounds.most}")
        if self.account is not None and not bounds.account:
            raise ValueError(f"{self.name} holds for all accounts: none can have its own")
        return self


class RedisServer(Section):
    """`redis-high <place> [password]`, `redis-low <place> [password]`."""

    place: RedisPlace = setting(..., "where it is: unix:/path or host:port")
    password: str | None = setting(None, "password of its user default", secret=True, min_length=1)


class DbBackup(Section):
    """`db-backup <mode> [peer]`."""

    mode: Literal["none", "replicate-from-peer", "read-from"] = setting(
        ..., "keep no copy of the peer's database, keep one, or serve clients from it"
    )
    peer: Name | None = setting(None, "host whose database it is, if not the next one")


class Main(Section):
    """crs.conf, the same on all hosts of a pool."""

    key: str | None = setting(
        None, "secret shared by the hosts of the pool", secret=True, min_length=8, live=True
    )
    ips: tuple[HostAddress, ...] = setting((), "public addresses of the hosts", live=True)
    hosts: tuple[Name, ...] = setting((), "the hosts of the pool", live=True)
    listen_ip: IpAddress = setting(
        "0.0.0.0",  # noqa: S104  the server's purpose
        "address to listen on for clients and media; :: is all of IPv6 and IPv4",
    )
    client_listen_port: ListenPort = setting(5223, "TCP port for clients")
    relay_listen_port: ListenPort = setting(146, "UDP port of the media relay")
    relay_service: Literal["inside", "separate"] = setting(
        "inside",
        "whether the media relay is a part of the server, or the process `twistd crs --role relay`,"
        " which goes on while the server is replaced",
    )
    relay_pause: int = setting(
        500,
        "how long the relay waits between two drains of its port under load, so that packets are moved in"
        " batches: more costs delay, less costs CPU",
        ge=0,
        le=10_000,
        unit="us",
    )
    metrics_listen: Endpoint | None = setting(None, "address and port for Prometheus; absent means off")
    manhole_keys: Path | None = setting(
        None, "authorized_keys file of who may log in at run/manhole.sock by SSH; absent means off"
    )
    limits: tuple[Limit, ...] = setting(
        (),
        "what clients and addresses may use, for all or for the clients of one account: see the table of"
        " limits; those of connections hold from the next one on",
        live=True,
    )
    store: Literal["sqlite", "redis"] = setting(
        "sqlite", "where messages, known clients and their items are kept: data/crs.db, or Redis"
    )
    redis_high: RedisServer | None = setting(
        None, "the Redis server that keeps all that must not be lost; its log is synchronous"
    )
    redis_low: RedisServer | None = setting(
        None, "the Redis server for what is expendable, such as message counts; without it, redis-high"
    )
    log_level: Literal["debug", "info", "warn"] = setting("info", "least type of event to log", live=True)
    log_format: Literal["text", "json"] = setting(
        "text", "lines of the manual's format, or JSON lines", live=True
    )
    pool_listen_port: ListenPort = setting(8090, "TCP port for the other hosts of the pool")
    sync_listen_port: ListenPort = setting(8091, "TCP port for database synchronization")
    iw_listen_port: ListenPort = setting(8080, "TCP port for inter-working servers")
    cps: Cps | None = setting(None, "push server", live=True)
    features: tuple[Literal["push"], ...] = setting((), "optional features that are on", live=True)
    push_config: tuple[tuple[str, ...], ...] = setting((), "how push notifications are sent")
    addr_map: tuple[AddressMap, ...] = setting(
        (), "addresses to use in place of other servers' public ones; the first match counts", live=True
    )
    keep_alive: tuple[KeepAlive, ...] = setting(
        (),
        "how and when silent clients are pinged, from their next connection on; the first match counts",
        live=True,
    )
    detach_cleanup: tuple[DetachCleanup, ...] = setting(
        (), "when unregistered clients are disconnected; the first match counts", live=True
    )

    @property
    def log(self) -> tuple[Level, Format]:
        """Level and format of the log."""
        return self.log_level, self.log_format

    @property
    def push(self) -> bool:
        """Whether push notifications are on, and there is a server to send them by."""
        return "push" in self.features and self.cps is not None

    @model_validator(mode="after")
    def _hosts_agree(self) -> Main:
        if len(self.hosts) > 1:
            raise ValueError(
                "several hosts need a store that they share, which this version lacks: declare one host"
            )
        unknown = {ip.name for ip in self.ips} - set(self.hosts)
        if self.hosts and unknown:
            raise ValueError(f"ip {', '.join(sorted(unknown))}: there is no host of that name")
        return self

    @model_validator(mode="after")
    def _redis_is_somewhere(self) -> Main:
        if self.store == "redis" and self.redis_high is None:
            raise ValueError("store redis needs the directive redis-high, which says where that is")
        if self.store == "sqlite" and (self.redis_high or self.redis_low):
            raise ValueError("redis-high and redis-low have no effect without store redis")
        return self

    @property
    def redis(self) -> dict[str, RedisServer]:
        """The Redis servers in use, by the names of their services (manual 5.4)."""
        servers = {"redis_high": self.redis_high, "redis_low": self.redis_low}
        return {name: server for name, server in servers.items() if server is not None}


class Local(Section):
    """crs-local.conf, of this host only."""

    crsname: Name | None = setting(None, "name of this host, one of those in crs.conf", pattern=_NAME)
    listen_ip: IpAddress | None = setting(None, "address to listen on, in place of the one in crs.conf")
    db_backup: DbBackup | None = setting(None, "whether this host keeps a copy of its peer's database")


class Relay(Section):
    """crs-relay.conf: how many relays of each type may exist; absent means no limit."""

    rtp: int | None = setting(None, "relays of SRTP", ge=0, alias="MAX_RTP_RELAYS")
    rtp_proxy: int | None = setting(None, "proxied relays of SRTP", ge=0, alias="MAX_RTP_PROXY_RELAYS")
    opaque: int | None = setting(None, "relays of opaque data", ge=0, alias="MAX_OPAQUE_RELAYS")
    opaque_proxy: int | None = setting(
        None, "proxied relays of opaque data", ge=0, alias="MAX_OPAQUE_PROXY_RELAYS"
    )
    opaque_multicast: int | None = setting(
        None, "multicast relays of opaque data", ge=0, alias="MAX_OPAQUE_MULTICAST_RELAYS"
    )


MAIN: Final = Grammar(
    (
        Directive("key", "key", ("shared-secret",)),
        Directive("ip", "ips", ("name", "address"), repeatable=True),
        Directive("host", "hosts", ("name",), repeatable=True),
        # Up to 4.11.0 each host was followed by lines that said what runs on it.
        Directive("app", "", ("module",), rest=True, repeatable=True),
        Directive("listen-ip", "listen_ip", ("address",)),
        Directive("client-listen-port", "client_listen_port", ("port",)),
        Directive("relay-listen-port", "relay_listen_port", ("port",)),
        Directive("relay-service", "relay_service", ("where",)),
        Directive("relay-pause", "relay_pause", ("microseconds",)),
        Directive("metrics-listen", "metrics_listen", ("address:port",)),
        Directive("manhole-keys", "manhole_keys", ("file",)),
        Directive("limit", "limits", ("name", "value", "account"), optional=1, repeatable=True),
        Directive("store", "store", ("kind",)),
        Directive("redis-high", "redis_high", ("place", "password"), optional=1),
        Directive("redis-low", "redis_low", ("place", "password"), optional=1),
        Directive("log-level", "log_level", ("level",)),
        Directive("log-format", "log_format", ("format",)),
        Directive("pool-listen-port", "pool_listen_port", ("port",)),
        Directive("sync-listen-port", "sync_listen_port", ("port",)),
        Directive("iw-listen-port", "iw_listen_port", ("port",)),
        Directive("cps", "cps", ("host", "port", "id", "secret")),
        Directive("features", "features", ("feature",), optional=1, rest=True),
        Directive("push-config", "push_config", ("words",), rest=True, repeatable=True),
        Directive("addr-map", "addr_map", ("public", "used"), repeatable=True),
        Directive(
            "keep-alive",
            "keep_alive",
            ("match", "method", "interval", "grace_period"),
            optional=1,
            repeatable=True,
        ),
        Directive("detach-cleanup", "detach_cleanup", ("match", "delay"), repeatable=True),
    ),
    headings={"GLOBAL": "", "POOL": "", "push-config": "push-config"},
)

LOCAL: Final = Grammar(
    (
        Directive("crsname", "crsname", ("name",)),
        Directive("listen-ip", "listen_ip", ("address",)),
        Directive("db-backup", "db_backup", ("mode", "peer"), optional=1),
    )
)

_WITHOUT_EFFECT: Final = frozenset(
    {
        "pool_listen_port",
        "sync_listen_port",
        "iw_listen_port",
        "cps",
        "features",
        "push_config",
        "db_backup",
    }
)

_NAMES: Final = {directive.field: directive.name for directive in (*MAIN.directives, *LOCAL.directives)}
"""The directives by their fields."""

DEFAULT_NAME: Final = "crs1"


@dataclass(frozen=True)
class Settings:
    """All three files."""

    main: Main
    local: Local
    relay: Relay

    @property
    def files(self) -> tuple[Section, ...]:
        """One section for each file."""
        return self.main, self.local, self.relay

    @property
    def name(self) -> str:
        """The name of this host."""
        return self.local.crsname or next(iter(self.main.hosts), DEFAULT_NAME)

    @property
    def listen_ip(self) -> str:
        """The address to listen on."""
        return self.local.listen_ip or self.main.listen_ip

    @property
    def relay_limits(self) -> dict[str, int | None]:
        """The most allocations of each kind."""
        return {kind: getattr(self.relay, kind.replace("-", "_")) for kind in KINDS}

    def changes(self, new: Settings) -> tuple[list[str], list[str]]:
        """What differs in the new files, as they call it: what a reload applies, what needs a restart."""
        live: list[str] = []
        restart: list[str] = []
        for old_file, new_file in zip(self.files, new.files, strict=True):
            applied, kept = changes(old_file, new_file)
            live += [_NAMES.get(key, key) for key in applied]
            restart += [_NAMES.get(key, key) for key in kept]
        return live, restart

    def without_effect(self) -> list[str]:
        """The directives and keys that the files have and that do nothing in this version."""
        return [
            _NAMES.get(field) or type(section).model_fields[field].alias or field
            for section in self.files
            for field in type(section).model_fields
            if field in section.model_fields_set & _WITHOUT_EFFECT
        ]


def load(home: Path) -> Settings:
    """The settings of a home directory; a missing file means the defaults. Raises SettingsError."""
    settings = Settings(
        main=directives.read(home / "crs.conf", Main, MAIN, optional=True),
        local=directives.read(home / "crs-local.conf", Local, LOCAL, optional=True),
        relay=keyvalue.read(home / "crs-relay.conf", Relay, optional=True),
    )
    hosts = settings.main.hosts
    if hosts and settings.name not in hosts:
        reason = f"{settings.name} is no host of crs.conf (hosts: {', '.join(hosts)})"
        raise SettingsError(home / "crs-local.conf", [Problem(None, "crsname", reason)])
    return settings
