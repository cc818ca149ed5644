"""`[[subscribers]]`: who may register here (guide 11); `[[outbound_registrations]]`: where we do (12)."""

from __future__ import annotations

from typing import NamedTuple

from pydantic import field_validator

from haproxy.settings.system import System
from haproxy.settings.types import ListenSocket, Md5, split_socket
from haproxy.sip.flow import Transport
from haproxy.sip.uri import Uri, UriError
from haproxy.sip.uri import parse as parse_uri
from rtlib.settings import Section, setting
from rtlib.settings.types import Host

TRANSPORTS: dict[bytes, Transport] = {b"udp": "udp", b"tcp": "tcp", b"tls": "tls"}


class Subscriber(Section):
    """A user that may register, and that may authenticate."""

    username: str = setting(..., "user of the address-of-record (the To header)", pattern=r"^[^\s@:<>]+$")
    domain: Host = setting(..., "host of the address-of-record (the To header)")
    password: str = setting("", "password; if given, ha1 and ha1b are ignored", secret=True)
    ha1: Md5 = setting("", "MD5 of username:domain:password", secret=True)
    ha1b: Md5 = setting("", "MD5 of username@domain:domain:password", secret=True)


class Way(NamedTuple):
    """How requests of a registration leave."""

    side: str
    """`private` or `public`."""
    transport: Transport


class OutboundRegistration(Section):
    """One registration of this system at another."""

    l_uuid: str = setting(..., "unique id, the user of the Contact header", pattern=r"^[^\s@:<>]+$")
    l_username: str = setting(
        ..., "local user: calls to the registered contact are for l_username@l_domain", min_length=1
    )
    l_domain: Host = setting(..., "local host")
    r_username: str = setting(..., "user of the To and From headers", min_length=1)
    r_domain: Host = setting(..., "host of the request URI, To and From headers")
    realm: str = setting("", "realm of the registrar, which its challenge must have; empty for any")
    auth_username: str = setting("", "user name for authentication; r_username where empty")
    auth_password: str = setting(
        "", "password for authentication; if given, auth_ha1 is ignored", secret=True
    )
    auth_ha1: Md5 = setting("", "MD5 of auth_username:realm:password", secret=True)
    auth_proxy: str = setting(
        ..., "where to send requests: [sip[s]:]URI[;parameters]; ;transport=tcp or tls for other than UDP"
    )
    expires: int = setting(3600, "life of the registration", unit="s", ge=1, le=4294967295)
    reg_delay: int = setting(0, "delay after the start", unit="s", ge=0)
    reg_contact_addr: str = setting(
        "", "host[:port][;parameters] of the Contact header; publicIP where empty"
    )
    socket: ListenSocket | None = setting(
        None, "[proto:]ip[:port] to register from; that of the public network"
    )

    @property
    def proxy(self) -> Uri:
        """`auth_proxy`, `sip:` where it names no protocol (guide 12.2.10)."""
        text = self.auth_proxy
        scheme = "" if text.lower().startswith(("sip:", "sips:")) else "sip:"
        return parse_uri((scheme + text).encode())

    def way(self, system: System, *, tls: bool) -> Way:
        """Network and transport, from `socket` and `auth_proxy` (12.2.10, 12.2.14). Raises ValueError."""
        uri = self.proxy
        wished: Transport | None = "tls" if uri.scheme == b"sips" else TRANSPORTS.get(uri.transport)
        side, bound = "public", None
        if self.socket is not None:
            side, bound = _socket(self.socket, system)
        if wished is not None and bound is not None and (wished == "tls") != (bound == "tls"):
            raise ValueError(f"socket {self.socket} is not for {wished}, which auth_proxy asks for")
        transport = wished or bound or "udp"
        if transport == "tls" and not tls:
            raise ValueError("registration over TLS needs proxy.enableTLS")
        return Way(side, transport)

    @field_validator("auth_proxy")
    @classmethod
    def _is_a_sip_uri(cls, value: str) -> str:
        text = value if value.lower().startswith(("sip:", "sips:")) else f"sip:{value}"
        try:
            uri = parse_uri(text.encode())
        except UriError:
            raise ValueError(f"{value!r} is no SIP URI such as sip:provider.example;transport=tls") from None
        allowed = {b"", b"tls"} if uri.scheme == b"sips" else {b"", *TRANSPORTS}
        if uri.transport not in allowed:
            raise ValueError(f"{value!r} has a transport other than udp, tcp and tls; sips is always TLS")
        return value

    @field_validator("reg_contact_addr")
    @classmethod
    def _is_a_place(cls, value: str) -> str:
        if value.lower().startswith(("sip:", "sips:")):
            raise ValueError("must not begin with sip: or sips:")
        try:
            uri = parse_uri(f"sip:{value or 'x'}".encode())
        except UriError:
            raise ValueError(f"{value!r} is not host[:port][;parameters]") from None
        if uri.user is not None or uri.headers:
            raise ValueError(f"{value!r} must have neither user nor headers: the user is l_uuid")
        return value


def _socket(text: str, system: System) -> tuple[str, Transport | None]:
    """The side of a socket of ours, and its protocol where one is meant. Raises ValueError."""
    protocol, host, port = split_socket(text)
    ours = [place for place in _places(system) if place[1] == host]
    if not ours:
        raise ValueError(f"socket {text}: {host} is no address of this system")
    if port is None:
        return ours[0][0], TRANSPORTS.get(protocol.encode())
    for side, _, plain, secure in ours:
        if port == plain and protocol != "tls":
            return side, TRANSPORTS.get(protocol.encode(), "udp")
        if port == secure and protocol in {"", "tls"}:
            return side, "tls"
    raise ValueError(f"socket {text}: this system has no such socket at {host}")


def _places(system: System) -> list[tuple[str, str, int, int]]:
    """Side, address, port, port for TLS; first the public ones, because they are the default."""
    found = [("private", system.privateIP, system.privatePort, system.privatePortTLS)]
    if system.publicIP is not None:
        found.insert(0, ("public", system.publicIP, system.publicPort, system.publicPortTLS))
    if system.mappedIP is not None:
        found.insert(0, ("public", system.mappedIP, system.mappedPort, system.mappedPortTLS))
    return found
