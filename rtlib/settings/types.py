"""Types of settings: text in a file, checked values in the model, and the words for what is allowed."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from typing import Annotated, Any, Final, TypeAlias

from pydantic import Field, PlainSerializer, PlainValidator, WithJsonSchema

from rtlib.settings.schema import Named

AnyNetwork: TypeAlias = IPv4Network | IPv6Network

_HOST_NAME: Final = re.compile(r"(?!-)[A-Za-z0-9_-]{1,63}(?<!-)(\.(?!-)[A-Za-z0-9_-]{1,63}(?<!-))*\.?")
_DURATION: Final = re.compile(r"(\d+(?:\.\d+)?)\s*(ms|s|m|h|d)?")
_SECONDS: Final = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_ENTRY: Final = re.compile(
    r"(?:\[(?P<six>[^\]]+)\]|(?P<four>[^:/\[\]]+))(?::(?P<port>\d+))?(?:/(?P<prefix>\S+))?"
)


def parse_ip(value: object) -> str:
    """A numeric IPv4 or IPv6 address in its usual spelling. Raises ValueError."""
    try:
        return str(ip_address(str(value).strip("[]")))
    except ValueError:
        raise ValueError(f"{value!r} is not an IPv4 or IPv6 address") from None


def parse_host(value: object) -> str:
    """A numeric address or a host name. Raises ValueError."""
    text = str(value)
    try:
        return parse_ip(text)
    except ValueError:
        if _HOST_NAME.fullmatch(text) is None or re.fullmatch(r"[\d.]+", text):
            raise ValueError(f"{text!r} is neither an IP address nor a host name") from None
    return text


def parse_network(value: object) -> AnyNetwork:
    """An address with an optional `/prefix`; host bits are cleared. Raises ValueError."""
    try:
        return ip_network(str(value), strict=False)
    except ValueError:
        raise ValueError(f"{value!r} is not an IP network such as 192.0.2.0/24 or 2001:db8::/32") from None


def parse_duration(value: object) -> float:
    """Seconds; text may end with ms, s, m, h or d. Raises ValueError."""
    match = None if isinstance(value, bool) else _DURATION.fullmatch(str(value).strip())
    if match is None:
        raise ValueError(f"{value!r} is not a duration such as 30, 30s, 5m, 2h or 1d")
    return float(match[1]) * _SECONDS[match[2] or "s"]


@dataclass(frozen=True)
class Entry:
    """One item of an allow or deny list: `<addr>[:port][/subnet]`, IPv6 as `[addr]:port/prefix`."""

    network: AnyNetwork
    port: int | None = None
    """None means any port."""

    def __str__(self) -> str:
        host = str(self.network.network_address)
        text = f"[{host}]" if self.network.version == 6 else host
        if self.port is not None:
            text += f":{self.port}"
        length = self.network.prefixlen
        return text if length == self.network.max_prefixlen else f"{text}/{length}"


def parse_entry(value: object) -> Entry:
    """An `Entry` from its text, a bare IPv6 address or network included. Raises ValueError."""
    text = str(value)
    if text.count(":") > 1 and not text.startswith("["):
        return Entry(parse_network(text))
    match = _ENTRY.fullmatch(text)
    if match is None:
        raise ValueError(f"{text!r} is not an entry such as 192.0.2.1, 192.0.2.1:5060, 192.0.2.0/24")
    port = int(match["port"]) if match["port"] else None
    if port is not None and not 0 < port < 65536:
        raise ValueError(f"{text!r} has a port that is not between 1 and 65535")
    host, mask = match["six"] or match["four"], match["prefix"]
    network = parse_network(f"{host}/{mask}" if mask else host)
    # Python would take it as a wildcard mask; who writes one in a list of subnets has mistaken it.
    if mask and "." in mask and mask != str(network.netmask):
        raise ValueError(f"{text!r} has a subnet mask that is not such as 24 or 255.255.255.0")
    return Entry(network, port)


@dataclass(frozen=True)
class HostPort:
    """`host:port`, IPv6 as `[addr]:port`."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def parse_host_port(value: object) -> HostPort:
    """A `HostPort` from its text; port 0 asks the system for a free one. Raises ValueError."""
    host, separator, port = str(value).rpartition(":")
    if not separator or not port.isascii() or not port.isdigit() or int(port) > 65535:
        raise ValueError(f"{value!r} is not HOST:PORT")
    return HostPort(parse_host(host), int(port))


def _parsed(parse: Callable[[Any], Any], name: str, serialize: Callable[[Any], Any]) -> tuple[Any, ...]:
    """Metadata of an Annotated type whose text form `parse` reads."""

    def accept(value: Any) -> Any:
        return value if isinstance(value, Entry | HostPort | IPv4Network | IPv6Network) else parse(value)

    schema = {"type": "string", "description": name}
    return PlainValidator(accept), PlainSerializer(serialize), WithJsonSchema(schema), Named(name)


IpAddress: TypeAlias = Annotated[str, *_parsed(parse_ip, "IP address", str)]
Host: TypeAlias = Annotated[str, *_parsed(parse_host, "IP address or host name", str)]
Network: TypeAlias = Annotated[AnyNetwork, *_parsed(parse_network, "IP network", str)]
ListEntry: TypeAlias = Annotated[Entry, *_parsed(parse_entry, "address[:port][/subnet]", str)]
Endpoint: TypeAlias = Annotated[HostPort, *_parsed(parse_host_port, "address:port", str)]
Duration: TypeAlias = Annotated[float, *_parsed(parse_duration, "seconds, or with ms, s, m, h, d", float)]
Port: TypeAlias = Annotated[int, Field(ge=1, le=65535), Named("port")]
ListenPort: TypeAlias = Annotated[int, Field(ge=0, le=65535), Named("port or 0 for a free one")]
