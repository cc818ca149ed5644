"""`[[notifications]]`: HTTP servers that are told of changes (guide 10)."""

from __future__ import annotations

from pydantic import field_validator, model_validator

from haproxy.notification.target import Url
from haproxy.settings.tls import Method
from rtlib.settings import Section, setting


class Notification(Section):
    """One server to notify."""

    notifyURL: str = setting(
        ..., "[http[s]://]server[:port]; beyond the guide: and a path", pattern=r"^[^\s#]+$"
    )
    notifyRedirect: bool = setting(True, "follow redirects")
    notifyUser: str = setting("", "user name, if the server authenticates", pattern=r"^[^\x00-\x1f:]*$")
    notifyPassword: str = setting("", "password, if the server authenticates", secret=True)
    notifyUserAgent: str = setting("Genesis Proxy", "User-Agent header", pattern=r"^[ -~]*$")
    notifyVerifyPeer: bool = setting(False, "verify the server's certificate")
    notifyVerifyHost: bool = setting(False, "verify the server's name; needs notifyVerifyPeer")
    notifyClientKey: str = setting("", "file name of the client key in tlsKeyPath", pattern=r"^[^/]*$")
    notifyClientCert: str = setting(
        "",
        "file name of the client certificate in tlsKeyPath; absent where it is in the key's file",
        pattern=r"^[^/]*$",
    )
    notifyCipherList: str = setting("", "accepted ciphers as OpenSSL's colon-separated list")
    notifyTlsVersion: Method = setting("TLSv1.2+", "TLS versions")

    @field_validator("notifyURL")
    @classmethod
    def _url(cls, value: str) -> str:
        Url.of(value)
        return value

    @model_validator(mode="after")
    def _consistent(self) -> Notification:
        if self.notifyVerifyHost and not self.notifyVerifyPeer:
            raise ValueError("notifyVerifyHost needs notifyVerifyPeer")
        return self
