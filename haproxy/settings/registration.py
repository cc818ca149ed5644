"""`[[subscribers]]`: who may register here (guide 11); `[[outbound_registrations]]`: where we do (12)."""

from __future__ import annotations

from pydantic import model_validator

from haproxy.settings.types import ListenSocket, Md5
from rtlib.settings import Section, setting
from rtlib.settings.types import Host


class Subscriber(Section):
    """A user that may register, and that may authenticate."""

    username: str = setting(..., "user of the address-of-record (the To header)", pattern=r"^[^\s@:<>]+$")
    domain: Host = setting(..., "host of the address-of-record (the To header)")
    password: str = setting("", "password; if given, ha1 and ha1b are ignored", secret=True)
    ha1: Md5 = setting("", "MD5 of username:domain:password", secret=True)
    ha1b: Md5 = setting("", "MD5 of username@domain:domain:password", secret=True)


class OutboundRegistration(Section):
    """One registration of this system at another."""

    l_uuid: str = setting(..., "unique id, the user of the Contact header", pattern=r"^[^\s@:<>]+$")
    l_username: str = setting(..., "local user")
    l_domain: Host = setting(..., "local host")
    r_username: str = setting(..., "user of the To and From headers")
    r_domain: Host = setting(..., "host of the request URI, To and From headers")
    realm: str = setting("", "realm of the registrar")
    auth_username: str = setting("", "user name for authentication")
    auth_password: str = setting(
        "", "password for authentication; if given, auth_ha1 is ignored", secret=True
    )
    auth_ha1: Md5 = setting("", "MD5 of auth_username:realm:password", secret=True)
    auth_proxy: str = setting(..., "where to send requests: [sip[s]:]URI[;parameters]")
    expires: int = setting(3600, "life of the registration", unit="s", ge=1)
    reg_delay: int = setting(0, "delay after the start", unit="s", ge=0)
    reg_contact_addr: str = setting(
        "", "host[:port][;parameters] of the Contact header; publicIP where empty"
    )
    socket: ListenSocket | None = setting(
        None, "[proto:]ip[:port] to register from; that of the public network"
    )

    @model_validator(mode="after")
    def _consistent(self) -> OutboundRegistration:
        if self.reg_contact_addr.startswith(("sip:", "sips:")):
            raise ValueError("reg_contact_addr must not begin with sip: or sips:")
        return self
