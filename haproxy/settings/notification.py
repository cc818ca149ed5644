"""`[[notifications]]`: HTTP servers that are told of changes (guide 10)."""

from __future__ import annotations

from pydantic import model_validator

from haproxy.settings.tls import Method
from rtlib.settings import Section, setting


class Notification(Section):
    """One server to notify."""

    notifyURL: str = setting(..., "[http[s]://]server[:port]", pattern=r"^(https?://)?[^\s/]+(/\S*)?$")
    notifyRedirect: bool = setting(True, "follow redirects")
    notifyUser: str = setting("", "user name, if the server authenticates")
    notifyPassword: str = setting("", "password, if the server authenticates", secret=True)
    notifyUserAgent: str = setting("Genesis Proxy", "User-Agent header")
    notifyVerifyPeer: bool = setting(False, "verify the server's certificate")
    notifyVerifyHost: bool = setting(False, "verify the server's name; needs notifyVerifyPeer")
    notifyClientKey: str = setting(
        "", "file name of the client key in /etc/ssl/genproxy_pvt", pattern=r"^[^/]*$"
    )
    notifyClientCert: str = setting("", "file name of the client certificate there", pattern=r"^[^/]*$")
    notifyCipherList: str = setting("", "accepted ciphers as OpenSSL's colon-separated list")
    notifyTlsVersion: Method = setting("TLSv1.2+", "TLS versions")

    @model_validator(mode="after")
    def _consistent(self) -> Notification:
        if self.notifyVerifyHost and not self.notifyVerifyPeer:
            raise ValueError("notifyVerifyHost needs notifyVerifyPeer")
        return self
