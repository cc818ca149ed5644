"""From the settings to the proxy's sides and bound sockets (guide 3.2-3.14)."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from ipaddress import ip_address, ip_network

from haproxy.dispatcher.door import ControlSocket
from haproxy.proxy.side import TRANSPORTS, Side, Sides
from haproxy.settings import Settings
from haproxy.settings.system import System
from haproxy.transport import BoundSocket
from rtlib.listen import bind_datagram, bind_stream, listening
from rtlib.settings.types import Entry, parse_entry

DEFAULT_PORT = 5060


def sides_of(settings: Settings) -> Sides:
    """The private side, and the public one where `publicIP` is set and is not the same socket."""
    system, tls = settings.system, settings.proxy.enableTLS
    network = ip_network(f"{system.privateIP}/{system.privateSubnet}", strict=False)
    private, port = system.privateIP, system.privatePort
    private_tls = system.privatePortTLS if tls else None
    if system.publicIP is None:
        return Sides([Side("private", 0, private, port, private, port, private, network, private_tls)])
    public, public_port, media = system.publicIP, system.publicPort, _media_address(system)
    bound, bound_tls = (public, public_port), system.publicPortTLS
    if system.mappedIP is not None:
        bound, bound_tls = (system.mappedIP, system.mappedPort), system.mappedPortTLS
    shown_tls = system.publicPortTLS if tls else None
    if bound == (private, port):
        # One socket for both networks: everybody is told the public address (guide 3.12).
        one = Side("private", 0, private, port, public, public_port, media, network, private_tls, shown_tls)
        return Sides([one])
    if (bound[0], bound_tls) == (private, private_tls):
        # The same for TLS alone: its only socket is the public side's.
        private_tls = None
    inside = Side("private", 0, private, port, private, port, private, network, private_tls)
    public_tls = bound_tls if tls else None
    return Sides([inside, Side("public", 1, *bound, public, public_port, media, None, public_tls, shown_tls)])


def names_of(settings: Settings) -> list[tuple[str, int]]:
    """Every host and port by which the system is known (guide 1.2.4, 3.11)."""
    system = settings.system
    places = [(system.privateIP, system.privatePort, system.privatePortTLS)]
    if system.publicIP is not None:
        places.append((system.publicIP, system.publicPort, system.publicPortTLS))
    if system.mappedIP is not None:
        places.append((system.mappedIP, system.mappedPort, system.mappedPortTLS))
    names = [(host, port) for host, port, _ in places]
    if settings.proxy.enableTLS:
        names += [(host, port) for host, _, port in places]
    return names + [_split(alias) for alias in system.alias]


def nodes_of(settings: Settings) -> dict[Entry, str]:
    """The addresses of all nodes of the cluster, and whose they are."""
    return {
        parse_entry(address): f"node {node.nodeName}"
        for node in settings.nodes
        for address in (node.privateIP, node.publicIP)
        if address is not None
    }


def bind_all(settings: Settings, sides: Sides) -> Iterator[BoundSocket]:
    """Bind every side for UDP, TCP and TLS. Raises ListenError, whose text begins with the setting's name."""
    names = {"private": "privatePort", "public": "mappedPort" if settings.system.mappedIP else "publicPort"}
    for side in sides:
        for transport in TRANSPORTS:
            port = side.port_of(transport)
            if port is None:
                continue
            bind = bind_datagram if transport == "udp" else bind_stream
            name = names[side.name] + ("TLS" if transport == "tls" else "")
            sock = listening(name, bind, side.host, port)
            yield BoundSocket(side.local(transport), transport, sock, side.host)


CONTROL_PORT = {"tcp": 80, "tls": 443}


def bind_control(settings: Settings) -> Iterator[ControlSocket]:
    """Bind the sockets of HTTP dispatcher control (guide 7.1.24). Raises ListenError."""
    for text in settings.proxy.dispatchListenSock:
        transport, _, place = text.partition(":") if text[:4] in {"tcp:", "tls:"} else ("tcp", "", text)
        host, port = _split(place, CONTROL_PORT[transport])
        sock = listening("dispatchListenSock", bind_stream, host, port)
        yield ControlSocket(sock, host, secure=transport == "tls")


def bind_media(host: str, port: int, tos: int) -> socket.socket:
    """A socket for RTP with the type of service that the operator wants (guide 8.1.1). Raises ListenError."""
    sock = bind_datagram(host, port, MEDIA_BUFFER)
    if sock.family == socket.AF_INET6:
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_TCLASS, tos)
    else:
        sock.setsockopt(socket.IPPROTO_IP, socket.IP_TOS, tos)
    return sock


MEDIA_BUFFER = 256 * 1024
"""Bytes that a media socket may hold: a second of video, five of audio at its worst."""


def _media_address(system: System) -> str:
    """The address for SDP: where publicIP is a name, the first address among the aliases (guide 3.7)."""
    candidates = [str(system.publicIP), *(_split(alias)[0] for alias in system.alias)]
    return next(host for host in candidates if _is_address(host))


def _is_address(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True


def _split(place: str, default: int = DEFAULT_PORT) -> tuple[str, int]:
    if _is_address(place):
        return place, default
    host, _, port = place.rpartition(":") if ":" in place else (place, "", "")
    return host.strip("[]"), int(port or default)
