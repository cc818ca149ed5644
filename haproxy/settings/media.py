"""`[media]`: the RTP proxy, used with enableNAT (guide 8)."""

from __future__ import annotations

from typing import Literal

from pydantic import model_validator

from haproxy.settings.types import HostEntries
from rtlib.settings import Section, setting
from rtlib.settings.types import Port


class Media(Section):
    """Proxy media (RTP) configuration."""

    tos: int = setting(184, "type of service of RTP packets (184: expedited forwarding)", ge=0, le=255)
    rtpPortMin: Port = setting(20000, "lowest port number for RTP")
    rtpPortMax: Port = setting(30000, "highest port number for RTP")
    timeout: int = setting(60, "time until a session without media is deleted", unit="s", ge=1)
    silent_timeout: int = setting(
        3600, "the same while media is muted or inactive", unit="s", ge=1, alias="silent-timeout"
    )
    foreign_timeout: int = setting(
        14400,
        "time until sessions taken over from another node are deleted",
        unit="s",
        ge=1,
        alias="foreign-timeout",
    )
    final_timeout: int = setting(
        86400,
        "total time that a session may be active; 0 for no limit",
        unit="s",
        ge=0,
        alias="final-timeout",
    )
    updateRtpDbPass: bool = setting(False, "make a new password for the media database at the next commit")
    amtelcoMediaEncryption: str = setting(
        "",
        "SIP header that sets the media encryption of an outgoing call; empty for none",
        pattern=r"^[\w.!%*+`'~-]*$",
    )
    rtpList: HostEntries = setting((), "hosts whose outbound media is not encrypted")
    dtlsList: HostEntries = setting((), "hosts whose outbound media is encrypted with DTLS")
    sdesList: HostEntries = setting((), "hosts whose outbound media is encrypted with SDES")
    changeMediaEncryption: bool = setting(
        False, "change the encryption where inbound and outbound transports differ"
    )
    defaultMediaEncryption: Literal["sdes", "dtls"] = setting(
        "sdes", "encryption used by changeMediaEncryption"
    )
    enableAvpf: bool = setting(False, "enable RTCP-based feedback where the encryption was changed")

    @model_validator(mode="after")
    def _consistent(self) -> Media:
        if self.rtpPortMax < self.rtpPortMin + self.rtpPortMin % 2 + 1:
            raise ValueError(
                "rtpPortMin and rtpPortMax must leave room for an even port and the odd one above it"
            )
        return self
