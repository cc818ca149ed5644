"""Types of settings that only the guide has: subnet masks, address lists, hosts with ports."""

from __future__ import annotations

import re
from ipaddress import ip_network
from typing import Annotated, Any, TypeAlias

from pydantic import AfterValidator, BeforeValidator, Field

from rtlib.settings.types import Entry, ListEntry, parse_entry, parse_host, parse_ip


def parse_mask(value: Any) -> int:
    """The prefix length of a subnet mask in CIDR (24) or dot-decimal (255.255.255.0) form. ValueError."""
    text = str(value).removeprefix("/")
    if text.isascii() and text.isdigit():
        return int(text)
    try:
        return ip_network(f"0.0.0.0/{text}").prefixlen
    except ValueError:
        raise ValueError(f"{value!r} is not a subnet mask such as 24 or 255.255.255.0") from None


def split_list(value: Any) -> Any:
    """Items of a list of strings, each of which may hold several by commas or spaces (guide 7.1.11)."""
    if isinstance(value, str):
        value = [value]
    if not isinstance(value, list | tuple):
        return value
    return tuple(
        part
        for item in value
        for part in (re.split(r"[,\s]+", item) if isinstance(item, str) else [item])
        if part != ""
    )


def parse_host_entry(value: Any) -> str:
    """`<host>[:<port>]` in its usual spelling, IPv6 as `[addr]:port`. Raises ValueError."""
    text = str(value)
    host, port = _split_port(text)
    parsed = parse_host(host)
    if port is None:
        return parsed
    if not port.isdigit() or not 0 < int(port) < 65536:
        raise ValueError(f"{text!r} has a port that is not between 1 and 65535")
    return f"[{parsed}]:{port}" if ":" in parsed else f"{parsed}:{port}"


def parse_listen_socket(value: Any) -> str:
    """`[<proto>:]<ip>[:<port>]` with tcp or tls (guide 7.1.24). Raises ValueError."""
    text = str(value)
    protocol, separator, rest = text.partition(":")
    if separator and protocol in {"udp", "tcp", "tls"}:
        return f"{protocol}:{parse_host_entry(rest)}"
    host, _ = _split_port(text)
    parse_ip(host)
    return parse_host_entry(text)


def split_socket(text: str) -> tuple[str, str, int | None]:
    """Protocol (may be empty), address and port of what `parse_listen_socket` has accepted."""
    protocol, separator, rest = text.partition(":")
    if not separator or protocol not in {"udp", "tcp", "tls"}:
        protocol, rest = "", text
    host, port = _split_port(rest)
    return protocol, host, None if port is None else int(port)


def _split_port(text: str) -> tuple[str, str | None]:
    if text.startswith("["):
        host, _, rest = text[1:].partition("]")
        return host, rest.removeprefix(":") or None
    if text.count(":") > 1:
        return text, None
    host, separator, port = text.partition(":")
    return host, port if separator else None


def parse_name_server(value: Any) -> Entry:
    """`<ip>[:<port>]`. Raises ValueError."""
    entry = value if isinstance(value, Entry) else parse_entry(value)
    if entry.network.num_addresses != 1:
        raise ValueError(f"{value!r} is a network, not the address of a name server")
    return entry


Agent: TypeAlias = Annotated[str, Field(min_length=4, max_length=64)]
"""Part of a name; a shorter one would be in many."""
Mask: TypeAlias = Annotated[int, BeforeValidator(parse_mask), Field(ge=0, le=128)]
Entries: TypeAlias = Annotated[tuple[ListEntry, ...], BeforeValidator(split_list)]
NameServer: TypeAlias = Annotated[ListEntry, AfterValidator(parse_name_server)]
HostEntry: TypeAlias = Annotated[str, BeforeValidator(parse_host_entry)]
HostEntries: TypeAlias = Annotated[tuple[HostEntry, ...], BeforeValidator(split_list)]
ListenSocket: TypeAlias = Annotated[str, BeforeValidator(parse_listen_socket)]
ListenSockets: TypeAlias = Annotated[tuple[ListenSocket, ...], BeforeValidator(split_list)]
NameServers: TypeAlias = Annotated[tuple[NameServer, ...], BeforeValidator(split_list)]
Md5: TypeAlias = Annotated[str, Field(pattern=r"^([0-9a-fA-F]{32})?$")]
UserPrefix: TypeAlias = Annotated[str, Field(pattern=r"^[A-Za-z0-9_.!~*'()&=+$,;?/-]+$")]
"""The beginning of the user part of a SIP URI (RFC 3261 section 25.1, without escapes)."""
