"""Which domains are the proxy's own (guide 1.2.4, 3.11). Sans-IO."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from haproxy.registrar.location import address_of_record
from haproxy.sip.uri import Uri, canonical_host

DEFAULT_PORT = 5060


class Domains:
    """Hosts and ports by which the system is known: its addresses and aliases."""

    def __init__(self, names: Iterable[tuple[str, int]]) -> None:
        self.version = 0
        """Another number whenever they have changed."""
        self.replace(names)

    def replace(self, names: Iterable[tuple[str, int]]) -> None:
        """Take another set of names, as after a change of the configuration."""
        self.version += 1
        self._ports: dict[bytes, set[int]] = {}
        for host, port in names:
            self._ports.setdefault(canonical_host(bracketed(host)), set()).add(port)

    def owns(self, uri: Uri) -> bool:
        """Whether a URI's domain is ours.

        Without a port any name of ours is: an address-of-record has none, whatever port we listen on.
        """
        ports = self._ports.get(uri.host)
        return ports is not None and (uri.port is None or uri.port in ports)

    def records_of(self, user: bytes) -> Iterator[bytes]:
        """The addresses-of-record that a user may have: one at each of our names."""
        return (address_of_record(user, host) for host in self._ports)


def bracketed(host: str) -> bytes:
    """A host as URIs have it."""
    return (f"[{host}]" if ":" in host and host[0] != "[" else host).encode()
