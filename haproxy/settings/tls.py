"""`[[tls]]`: one TLS section for each domain and role (guide 9)."""

from __future__ import annotations

from typing import Literal

from pydantic import field_validator

from rtlib.settings import Section, setting
from rtlib.settings.types import parse_host_port

Method = Literal["TLSv1", "TLSv1+", "TLSv1.1+", "TLSv1.2", "TLSv1.2+", "TLSv1.3", "TLSv1.3+"]


class Tls(Section):
    """One TLS section."""

    tlsDomain: str = setting(
        ..., "default, or address:port that the section is for; without a port for any port"
    )
    tlsRole: Literal["client", "server"] = setting(..., "side of the connection that the section is for")
    method: Method = setting("TLSv1.2+", "TLS versions")
    tlsPrivateKey: str = setting(
        "", "file name of the private key in /etc/ssl/genproxy_pvt", pattern=r"^[^/]*$"
    )
    tlsCertificate: str = setting(
        "", "file name of the certificate in /etc/ssl/genproxy_pvt", pattern=r"^[^/]*$"
    )
    tlsVerify: Literal["off", "on", "optional", "optional_no_ca"] = setting(
        "off", "whether certificates are verified"
    )
    tlsVerifyDepth: int = setting(9, "how deep to search the certificate chain", ge=0, le=100)
    tlsCaPath: str = setting("/etc/ssl/certs/", "directory of trusted CA files with hash links")
    tlsCaList: str = setting("", "file of trusted CA certificates; if given, tlsCaPath is ignored")
    tlsCrl: str = setting("", "file of revoked certificates")
    tlsCipherList: str = setting("", "accepted ciphers as OpenSSL's colon-separated list")

    @field_validator("tlsDomain")
    @classmethod
    def _domain(cls, value: str) -> str:
        if value == "default":
            return value
        return str(parse_host_port(value if ":" in value else f"{value}:0"))
