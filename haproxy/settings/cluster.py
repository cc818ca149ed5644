"""`[[nodes]]` and `[[fences]]`: the machines of the cluster, and what cuts a failed one off (guide 5, 6)."""

from __future__ import annotations

from typing import Literal

from pydantic import model_validator

from rtlib.settings import Section, setting
from rtlib.settings.types import Host, IpAddress, Port


class Node(Section):
    """One machine of the cluster."""

    nodeID: int = setting(..., "unique number of the node", ge=1, le=15)
    nodeName: str = setting(..., "unique name of the node", pattern=r"^[A-Za-z0-9._-]+$")
    privateIP: IpAddress = setting(..., "address on the private network")
    publicIP: IpAddress | None = setting(None, "address on the public network, if there is one")
    sshKeyEnable: bool = setting(True, "public key authentication for access to the node")
    sshPassword: str = setting("", "password of genweb, where keys are not used", secret=True)


class Fence(Section):
    """One device that can cut a node off."""

    fenceName: str = setting(..., "unique name of the fence", pattern=r"^[A-Za-z0-9_-]+$")
    fenceNodeName: str = setting(..., "node that the fence acts on")
    fencePriority: int = setting(1, "1 is used first", ge=1, le=9)
    fenceAgent: str = setting(..., "program that controls the device", pattern=r"^fence_[\w-]+$")
    fenceDevicePlug: str = setting(..., "plug or port of the device that the node is connected to")
    fenceDeviceIP: Host = setting(..., "address of the device")
    fenceDeviceIPPort: Port = setting(161, "port of the device")
    fenceSnmpVersion: Literal["2c", "3"] = setting("2c", "SNMP version")
    fenceSnmpUser: str = setting("", "community (2c) or user name (3)", secret=True)
    fenceSnmpAuthProt: Literal["None", "SHA", "MD5"] = setting("None", "SNMP 3 authentication protocol")
    fenceSnmpAuthPass: str = setting("", "SNMP 3 authentication password", secret=True)
    fenceSnmpPrivProt: Literal["None", "DES", "AES"] = setting("None", "SNMP 3 privacy protocol")
    fenceSnmpPrivPass: str = setting("", "SNMP 3 privacy password", secret=True)

    @model_validator(mode="after")
    def _consistent(self) -> Fence:
        if self.fenceSnmpPrivProt != "None" and self.fenceSnmpAuthProt == "None":
            raise ValueError(
                "fenceSnmpPrivProt needs fenceSnmpAuthProt (RFC 3414: no privacy without authentication)"
            )
        return self
