"""The proxy's own contacts at other registrars, and whom calls to these are for (guide 12.2). Sans-IO."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from haproxy.proxy.domain import Domains
from haproxy.sip.flow import DEFAULT_PORT
from haproxy.sip.uri import Uri, escape_user


class OwnContact(NamedTuple):
    """One outbound registration."""

    contact: Uri
    """What the registrar was told; its user part is unique."""
    user: bytes
    """`l_username`."""
    domain: bytes
    """`l_domain`, an IPv6 address in brackets."""

    @property
    def uri(self) -> bytes:
        """Whom calls to it are for."""
        return self.contact.scheme + b":" + escape_user(self.user) + b"@" + self.domain


class OwnContacts:
    """All of them, by user part."""

    def __init__(self, domains: Domains, contacts: Iterable[OwnContact] = ()) -> None:
        self._domains = domains
        self.replace(contacts)

    def replace(self, contacts: Iterable[OwnContact]) -> None:
        """Take others, as after a change of the configuration."""
        self.by_user = {each.contact.username: each for each in contacts}
        """By the user part of what the registrar was told."""

    def find(self, uri: Uri) -> OwnContact | None:
        """The contact that a Request-URI names, by the place we registered or by any name of ours."""
        found = self.by_user.get(uri.username)
        if found is None or not (self._domains.owns(uri) or _place(uri) == _place(found.contact)):
            return None
        return found


def _place(uri: Uri) -> tuple[bytes, int]:
    secure = uri.scheme == b"sips" or uri.transport == b"tls"
    return uri.host, uri.port or DEFAULT_PORT["tls" if secure else "udp"]
