"""Socket addresses as raw bytes: what recvmmsg(2) hands out and sendmmsg(2) takes, without decoding.

The layout is Linux's `sockaddr_in` (ip(7), 16 bytes) or `sockaddr_in6` (ipv6(7), 28 bytes). Such bytes
are hashable and compare fast, so tables are keyed by them; text is made only for people and messages.
"""

from __future__ import annotations

import struct
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, ip_address

Address = bytes
"""A raw Linux socket address: opaque, hashable, equal only to the same address and port."""

AF_INET = 2
AF_INET6 = 10
IPV4_SIZE = 16
IPV6_SIZE = 28

_FAMILY = struct.Struct("=H")  # sa_family_t is in host byte order, everything else is not
_PORT = struct.Struct("!H")
_SCOPE = struct.Struct("=I")
_CACHED = 8192  # addresses in use at a time; each entry costs some 350 bytes, and every call brings new ones


@lru_cache(_CACHED)
def pack(host: str, port: int) -> Address:
    """Make an address of a numeric IPv4 or IPv6 `host` (also `fe80::1%2`, by interface number) and a port.

    Raises ValueError, whose text is the reason, for a name, a malformed address or a port outside 0..65535.
    """
    if not 0 <= port <= 0xFFFF:
        raise ValueError(f"port {port} is not between 0 and 65535")
    ip = ip_address(host)
    if isinstance(ip, IPv4Address):
        return _FAMILY.pack(AF_INET) + _PORT.pack(port) + ip.packed + bytes(8)
    return _FAMILY.pack(AF_INET6) + _PORT.pack(port) + bytes(4) + ip.packed + _SCOPE.pack(_scope(ip))


@lru_cache(_CACHED)
def unpack(address: Address) -> tuple[str, int]:
    """Give host text and port; an IPv4-mapped IPv6 address is given as IPv4. ValueError if it is neither."""
    if len(address) < IPV4_SIZE:
        raise ValueError(f"not an IPv4 or IPv6 socket address: {address.hex()}")
    (family,) = _FAMILY.unpack_from(address)
    (port,) = _PORT.unpack_from(address, 2)
    if family == AF_INET and len(address) == IPV4_SIZE:
        return str(IPv4Address(address[4:8])), port
    if family == AF_INET6 and len(address) == IPV6_SIZE:
        return _ipv6_text(address), port
    raise ValueError(f"not an IPv4 or IPv6 socket address: {address.hex()}")


@lru_cache(_CACHED)
def text(address: Address) -> str:
    """Give `1.2.3.4:5060` or `[2001:db8::1]:5060`. ValueError if it is not an address."""
    return join(*unpack(address))


def join(host: str, port: int) -> str:
    """Write a host (numeric or a name) and a port as one word, with brackets where IPv6 needs them."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


@lru_cache(_CACHED)
def subnet(host: str) -> str:
    """Give what one subscriber has: a numeric IPv4 address itself, of an IPv6 address its /64 (RFC 6177).

    Who counts by address counts by this. Raises ValueError.
    """
    ip = ip_address(host)
    if isinstance(ip, IPv6Address):
        if ip.ipv4_mapped is not None:
            return str(ip.ipv4_mapped)
        return f"{IPv6Address(ip.packed[:8] + bytes(8))}/64"
    return str(ip)


def _scope(ip: IPv6Address) -> int:
    scope = ip.scope_id
    if scope is None:
        return 0
    if not scope.isdecimal() or int(scope) > 0xFFFFFFFF:
        raise ValueError(f"the scope of {ip} is not an interface number")
    return int(scope)


def _ipv6_text(address: Address) -> str:
    ip = IPv6Address(address[8:24])
    (scope,) = _SCOPE.unpack_from(address, 24)
    if ip.ipv4_mapped is not None:
        return str(ip.ipv4_mapped)
    return f"{ip}%{scope}" if scope else str(ip)
