"""Asks name servers by twisted.names: those of the operator, or of the system, and `/etc/hosts` before."""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import IPv6Address
from pathlib import Path
from typing import Any, Final

from twisted.internet.defer import Deferred, TimeoutError
from twisted.logger import Logger
from twisted.names import client, dns
from twisted.names.error import DNSQueryTimeoutError, DomainError, ResolverError
from twisted.names.hosts import searchFileForAll
from twisted.python.filepath import FilePath

from haproxy.dns.record import Answer, Naptr, Question, Record, Srv

RESOLV_CONF: Final = Path("/etc/resolv.conf")
HOSTS: Final = Path("/etc/hosts")
ATTEMPTS: Final = (1, 2)
"""Seconds to wait for each name server, the first and the second time."""
HOSTS_TTL: Final = 60.0
NO_TTL: Final = 60.0
"""Seconds that a negative answer holds which does not say how long."""

log = Logger()


class DnsResolver:
    """One client for all questions. It never blocks, and never fails: there is always an answer."""

    def __init__(self, reactor: Any, servers: Sequence[tuple[str, int]] = (), hosts: Path = HOSTS) -> None:
        """`servers` are addresses and ports; without any, those of `/etc/resolv.conf` as it changes."""
        self._hosts = FilePath(str(hosts))
        resolv = None if servers else str(RESOLV_CONF)
        self._client: Any = client.Resolver(resolv, list(servers), ATTEMPTS, reactor)
        self.asked = 0
        self.failed = 0

    def stop(self) -> None:
        """Look at `/etc/resolv.conf` no more."""
        call = getattr(self._client, "_parseCall", None)
        if call is not None and call.active():
            call.cancel()

    async def ask(self, question: Question) -> Answer:
        """The answer to a question."""
        known = self._in_hosts(question)
        if known is not None:
            return known
        self.asked += 1
        try:
            answers, authority, _ = await self._look_up(question)
        except DomainError as refusal:
            # No such name, or a name server that cannot say: there are no records either way.
            message = refusal.args[0] if refusal.args else None
            return Answer((), _negative_ttl(getattr(message, "authority", [])))
        except (DNSQueryTimeoutError, ResolverError, TimeoutError, OSError):
            self.failed += 1
            return Answer(failed=True)
        except Exception:  # noqa: BLE001 - requests wait for this answer, whatever comes
            log.failure("asking name servers for {name} failed", name=question.name)
            self.failed += 1
            return Answer(failed=True)
        records = [each for header in answers if (each := record_of(header, question)) is not None]
        if not records:
            return Answer((), _negative_ttl(authority))
        return Answer(tuple(records), float(min(header.ttl for header in answers)))

    def _look_up(self, question: Question) -> Deferred[Any]:
        asking = {
            "A": self._client.lookupAddress,
            "AAAA": self._client.lookupIPV6Address,
            "SRV": self._client.lookupService,
            "NAPTR": self._client.lookupNamingAuthorityPointer,
        }
        found: Deferred[Any] = asking[question.kind](question.name, ATTEMPTS)
        return found

    def _in_hosts(self, question: Question) -> Answer | None:
        """What the hosts file says. A name in it has addresses only: no name server is asked for more."""
        name = question.name.removeprefix("_sip._udp.").removeprefix("_sip._tcp.").removeprefix("_sips._tcp.")
        try:
            found = searchFileForAll(self._hosts, name.encode("idna"))
        except (OSError, UnicodeError):
            return None
        if not found:
            return None
        colon = question.kind == "AAAA"
        wanted = question.kind in {"A", "AAAA"}
        return Answer(tuple(each for each in found if wanted and (":" in each) == colon), HOSTS_TTL)


def record_of(header: Any, question: Question) -> Record | None:
    """A record of twisted's as ours; None for one of another kind than was asked for."""
    if dns.QUERY_TYPES.get(header.type) != question.kind:
        return None
    payload = header.payload
    if question.kind == "A":
        return str(payload.dottedQuad())
    if question.kind == "AAAA":
        return str(IPv6Address(payload.address))
    if question.kind == "SRV":
        return Srv(payload.priority, payload.weight, payload.port, _name(payload.target))
    return Naptr(
        payload.order,
        payload.preference,
        _text(payload.flags),
        _text(payload.service),
        _name(payload.replacement),
    )


def _text(value: Any) -> str:
    return bytes(value.string).decode("ascii", "replace")


def _name(value: Any) -> str:
    return bytes(value.name).decode("ascii", "replace").lower().rstrip(".")


def _negative_ttl(authority: Sequence[Any]) -> float:
    """RFC 2308 section 5: the lesser of the SOA record's TTL and its minimum."""
    soa = [header for header in authority if header.type == dns.SOA]
    return float(min(soa[0].ttl, soa[0].payload.minimum)) if soa else NO_TTL
