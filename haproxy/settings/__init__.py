"""The schema of `genproxy.toml`: the guide's keys, defaults and ranges (chapters 3, 5-13), by table.

`Settings` is the file. Keys are spelled as in the guide; Yes and No are `true` and `false`;
an absent key means the guide's default. Keys of our own are marked "beyond the guide".
"""

from __future__ import annotations

from typing import Any

from pydantic import model_validator

from haproxy.settings.cluster import Fence, Node
from haproxy.settings.database import Database
from haproxy.settings.media import Media
from haproxy.settings.notification import Notification
from haproxy.settings.proxy import Proxy
from haproxy.settings.registration import OutboundRegistration, Subscriber
from haproxy.settings.system import System
from haproxy.settings.tls import Tls
from rtlib.settings import Section, setting

__all__ = ["Settings", "without_effect", "without_password"]


class Settings(Section):
    """Everything in `genproxy.toml`."""

    system: System = setting(..., "global system configuration (guide 3)")
    proxy: Proxy = setting(Proxy, "proxy configuration (guide 7)")
    media: Media = setting(Media, "proxy media (RTP) configuration (guide 8)")
    database: Database = setting(Database, "database configuration (guide 13)")
    subscribers: tuple[Subscriber, ...] = setting((), "users that may register (guide 11)", live=True)
    tls: tuple[Tls, ...] = setting((), "TLS sections (guide 9)", live=True)
    notifications: tuple[Notification, ...] = setting((), "who is notified (guide 10)", live=True)
    outbound_registrations: tuple[OutboundRegistration, ...] = setting(
        (), "where to register (guide 12)", live=True
    )
    nodes: tuple[Node, ...] = setting((), "nodes of the cluster (guide 5)")
    fences: tuple[Fence, ...] = setting((), "fence devices of the nodes (guide 6)")

    @model_validator(mode="after")
    def _unique(self) -> Settings:
        """Refuse two entries with the same name in a list, and entries that name what there is not."""
        for table, keys in _IDENTITIES.items():
            for key in keys:
                _no_duplicates(table, key, getattr(self, table))
        names = {node.nodeName for node in self.nodes}
        for fence in self.fences:
            if fence.fenceNodeName not in names:
                raise ValueError(f"fence {fence.fenceName}: there is no node named {fence.fenceNodeName}")
        for entry in self.outbound_registrations:
            try:
                entry.way(self.system, tls=self.proxy.enableTLS)
            except ValueError as error:
                raise ValueError(f"outbound_registrations {entry.l_uuid}: {error}") from None
        if self.nodes and not self.system.privatePing:
            raise ValueError("system.privatePing is required when nodes are configured")
        return self


_IDENTITIES: dict[str, tuple[tuple[str, ...], ...]] = {
    "subscribers": (("username", "domain"),),
    "tls": (("tlsDomain", "tlsRole"),),
    "notifications": (("notifyURL",),),
    "outbound_registrations": (("l_uuid",),),
    "nodes": (("nodeID",), ("nodeName",)),
    "fences": (("fenceName",),),
}


def _no_duplicates(table: str, keys: tuple[str, ...], entries: tuple[Section, ...]) -> None:
    seen: set[tuple[Any, ...]] = set()
    for entry in entries:
        identity = tuple(getattr(entry, key) for key in keys)
        if identity in seen:
            names = ", ".join(f"{key} {value}" for key, value in zip(keys, identity, strict=True))
            raise ValueError(f"two entries of {table} have {names}")
        seen.add(identity)


WITHOUT_EFFECT: dict[str, frozenset[str]] = {
    "system": frozenset(
        {
            "privatePing",
            "publicPing",
            "startAtBoot",
            "onFailMode",
        }
        | {"startup_fencing"}
    ),
    "media": frozenset(
        {"foreign_timeout", "updateRtpDbPass", "amtelcoMediaEncryption", "rtpList", "dtlsList", "sdesList"}
        | {"changeMediaEncryption", "defaultMediaEncryption", "enableAvpf"}
    ),
    "database": frozenset(
        {
            "dbEngine",
            "rootPass",
            "dbHost",
            "kamDatabase",
            "dbrwUser",
            "dbrwPass",
            "dbroPass",
            "replicationPass",
        }
    ),
}
"""Keys that this version reads and checks, but whose feature it does not have yet."""

LISTS_WITHOUT_EFFECT = ("nodes", "fences")


def without_effect(settings: Settings) -> list[str]:
    """The keys a file sets that this version does not act on, by the names they have in the file."""
    found = [f"[[{table}]]" for table in LISTS_WITHOUT_EFFECT if getattr(settings, table)]
    for table, keys in WITHOUT_EFFECT.items():
        section: Section = getattr(settings, table)
        fields = type(section).model_fields
        given = (name for name in fields if name in section.model_fields_set & keys)
        found += [f"{table}.{fields[name].alias or name}" for name in given if not _is_default(section, name)]
    return found


def without_password(settings: Settings) -> list[str]:
    """The subscribers that nobody can prove to be, though everybody has to, as `username@domain`."""
    if not (settings.proxy.enableRegAuth or settings.proxy.enableInviteAuth):
        return []
    return [
        f"{each.username}@{each.domain}"
        for each in settings.subscribers
        if not (each.password or each.ha1 or each.ha1b)
    ]


def _is_default(section: Section, name: str) -> bool:
    field = type(section).model_fields[name]
    return bool(getattr(section, name) == field.get_default(call_default_factory=True))
