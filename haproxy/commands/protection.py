"""`show lists`, `show blocked`, `check address` and `unblock`: who may send us what, and why."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated

import msgspec

from rtlib.command.registry import Argument, BadArgument, NotFound, Role, command
from rtlib.command.render import Column

if TYPE_CHECKING:
    from haproxy.protection.accesslist import Lists
    from haproxy.protection.guard import Guard
    from haproxy.proxy.source import Sources
    from rtlib.address import Address


class ListRow(msgspec.Struct, frozen=True):
    """One entry of a list."""

    list: Annotated[str, Column("LIST", "denyList, allowList or proxyList; of several the first one counts")]
    entry: Annotated[str, Column("ENTRY", "address, port if only that one is meant, and prefix length")]
    origin: Annotated[str, Column("ORIGIN", "settings, a node of the cluster, or a Genesis system")]


class CheckRow(msgspec.Struct, frozen=True):
    """One thing that decides on a source."""

    check: Annotated[str, Column("CHECK", "what was looked at, in the order in which it counts")]
    result: Annotated[str, Column("RESULT", "yes or no")]
    reason: Annotated[str, Column("WHY", "the entry that the address belongs to, or what follows")]


class BlockedRow(msgspec.Struct, frozen=True):
    """A source of which nothing is taken."""

    address: Annotated[str, Column("ADDRESS", "IP address, or the /64 of an IPv6 address")]
    kind: Annotated[str, Column("KIND", "flood or scanner")]
    since: Annotated[int, Column("SINCE", "seconds since it was blocked")]
    left: Annotated[int, Column("LEFT", "seconds until its rate is looked at again")]
    dropped: Annotated[int, Column("DROPPED", "messages that were not looked at")]
    reason: Annotated[str, Column("WHY", "what it did")]


class Unblocked(msgspec.Struct, frozen=True):
    """What came of it."""

    unblocked: Annotated[int, Column("Unblocked", "addresses that were blocked until now")]


class ProtectionCommands:
    """Looks at the protection of a running proxy, and frees whom it blocks."""

    def __init__(self, *, lists: Lists, sources: Sources, guard: Guard, now: Callable[[], float]) -> None:
        """`now` is the guard's clock."""
        self._lists = lists
        self._sources = sources
        self._guard = guard
        self._now = now

    @command("show lists", role=Role.viewer)
    def lists(
        self, name: Annotated[str | None, Argument("only denyList, allowList or proxyList")] = None
    ) -> list[ListRow]:
        """Show the lists of addresses. Genesis systems count as if they were on the allowList.

        Example: genproxy-cli show lists denyList
        """
        names = [each for each, _ in self._lists]
        if name is not None and name not in names:
            raise BadArgument(f"there is no list {name}; there are {', '.join(names)}")
        rows = [ListRow(each, str(entry), origin) for each, part in self._lists for entry, origin in part]
        rows += [ListRow("allowList", place, origin) for place, origin in self._sources.genesis_places()]
        return [row for row in rows if name in {None, row.list}]

    @command("check address", role=Role.viewer)
    def check(
        self, address: Annotated[str, Argument("IP address, with :port if an entry has one")]
    ) -> list[CheckRow]:
        """Tell which lists an address is on, by which entry, and what follows for its messages.

        Example: genproxy-cli check address 192.0.2.7:5060
        """
        return [*self._checks(_address(address))]

    @command("show blocked", role=Role.viewer)
    def blocked(self) -> list[BlockedRow]:
        """Show who is blocked for a flood or as a scanner; with protectionDryRun, who would be.

        Example: genproxy-cli show blocked
        """
        now = self._now()
        return [
            BlockedRow(
                source.host,
                source.kind,
                round(now - source.since),
                max(0, round(source.until - now)),
                source.dropped,
                source.reason,
            )
            for source in self._guard.blocked()
        ]

    @command("unblock")
    def unblock(
        self,
        address: Annotated[str | None, Argument("only this IP address; else all that are blocked")] = None,
    ) -> Unblocked:
        """Let somebody who is blocked send again. Put who is blocked wrongly on the allowList, too.

        Example: genproxy-cli unblock 192.0.2.7
        """
        try:
            count = self._guard.unblock(address)
        except ValueError:
            raise BadArgument(f"{address!r} is not an IP address") from None
        if not count:
            raise NotFound("nobody is blocked" if address is None else f"{address} is not blocked")
        return Unblocked(count)

    def _checks(self, address: Address) -> list[CheckRow]:
        rows = []
        for name, entries in self._lists:
            entry = entries.find(address)
            reason = "" if entry is None else f"{entry} ({entries.origin(entry)})"
            rows.append(CheckRow(name, "no" if entry is None else "yes", reason))
        genesis = self._sources.shares_host(address)
        rows.append(CheckRow("Genesis", "yes" if genesis else "no", "a registered system" if genesis else ""))
        blocked = self._guard.is_blocked(address)
        rows.append(CheckRow("blocked", "no" if blocked is None else "yes", blocked or ""))
        return rows


def _address(text: str) -> Address:
    """The address of `ip[:port]`; port 0 where there is none. Raises BadArgument."""
    from rtlib.address import pack
    from rtlib.settings.types import parse_entry

    try:
        entry = parse_entry(text)
    except ValueError:
        raise BadArgument(f"{text!r} is not an IP address, or one with a port") from None
    if entry.network.num_addresses != 1:
        raise BadArgument(f"{text!r} is a network, not an address")
    return pack(str(entry.network.network_address), entry.port or 0)
