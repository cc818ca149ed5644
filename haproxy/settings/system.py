"""`[system]`: the whole system's addresses, name and logs (guide 3)."""

from __future__ import annotations

from ipaddress import ip_address
from typing import Literal

from pydantic import model_validator

from haproxy.settings.types import HostEntries, Mask, NameServers, split_socket
from rtlib.settings import Section, setting
from rtlib.settings.types import Endpoint, Host, IpAddress, Port


class System(Section):
    """Global system configuration."""

    systemName: str = setting("genproxysa", "name to identify the system", pattern=r"^\S+$")
    privateIP: IpAddress = setting(..., "private floating IP address for the system")
    privatePort: Port = setting(5060, "private listening port for SIP messages")
    privatePortTLS: Port = setting(5061, "private listening port for SIPS messages")
    privateSubnet: Mask = setting(..., "private subnet mask, CIDR (24) or dot-decimal (255.255.255.0)")
    privatePing: Host | None = setting(
        None, "device to ping to monitor the private network; required with nodes"
    )
    publicIP: Host | None = setting(None, "public IP address or host name of the system; absent if not used")
    publicPort: Port = setting(5060, "public listening port for SIP messages")
    publicPortTLS: Port = setting(5061, "public listening port for SIPS messages")
    publicPing: Host | None = setting(None, "device to ping to monitor the public network")
    alias: HostEntries = setting(
        (),
        "domain names of the system as host[:port], 5060 where no port is given; also the public address "
        "where publicIP is a host name",
        live=True,
    )
    mappedIP: IpAddress | None = setting(None, "private address that the router maps the public one to")
    mappedPort: Port = setting(5060, "private port that the public port is mapped to")
    mappedPortTLS: Port = setting(5061, "private port that the public SIPS port is mapped to")
    nameServers: NameServers = setting(
        (), "beyond the guide: name servers as address[:port]; absent for those of /etc/resolv.conf"
    )
    tlsKeyPath: str = setting(
        "/etc/ssl/genproxy_pvt",
        "beyond the guide: directory of private keys and certificates for TLS",
        pattern=r"^/.*$",
    )
    startAtBoot: bool = setting(False, "start the high availability system at boot")
    onFailMode: Literal["standby", "fence"] = setting("standby", "what becomes of a failed node")
    startup_fencing: bool = setting(False, "fence unseen nodes at startup", alias="startup-fencing")
    metricsListen: Endpoint | None = setting(
        None, "beyond the guide: address:port of the Prometheus endpoint /metrics; absent for none"
    )
    logLevel: Literal["debug", "info", "warn"] = setting(
        "info", "beyond the guide: least level logged", live=True
    )
    logFormat: Literal["text", "json"] = setting("text", "beyond the guide: form of the log file")
    logFile: str | None = setting(
        None,
        "beyond the guide: log file; else /var/log/genproxy/genproxy.log, or in log/ of another --state-dir",
    )

    @property
    def name_servers(self) -> list[tuple[str, int]]:
        """`nameServers` as address and port."""
        return [(str(entry.network.network_address), entry.port or 53) for entry in self.nameServers]

    @model_validator(mode="after")
    def _consistent(self) -> System:
        if self.publicIP is not None and not _is_address(self.publicIP):
            if self.mappedIP is None:
                raise ValueError("mappedIP is required where publicIP is a host name")
            if not any(_is_address(split_socket(alias)[1]) for alias in self.alias):
                raise ValueError("alias must have the public address where publicIP is a host name (3.7)")
        if self.mappedIP is not None and self.publicIP is None:
            raise ValueError("publicIP is required where mappedIP is used")
        if self.privateSubnet > ip_address(self.privateIP).max_prefixlen:
            raise ValueError(f"privateSubnet {self.privateSubnet} is too long for {self.privateIP}")
        if self.mappedIP is None and (self.publicIP, self.publicPort) == (self.privateIP, self.privatePort):
            raise ValueError("publicIP and publicPort must differ from privateIP and privatePort")
        return self


def _is_address(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True
