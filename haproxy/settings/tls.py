"""`[[tls]]`: one TLS section for each domain and role (guide 9)."""

from __future__ import annotations

from typing import Literal

from pydantic import field_validator

from rtlib.settings import Section, setting
from rtlib.settings.types import parse_host_port

Method = Literal["TLSv1", "TLSv1+", "TLSv1.1+", "TLSv1.2", "TLSv1.2+", "TLSv1.3", "TLSv1.3+"]

Verify = Literal["default", "off", "on", "optional", "optional_no_ca"]
COMPLETE = r"^(/.*)?$"


class Tls(Section):
    """One TLS section."""

    tlsDomain: str = setting(
        ...,
        "default, or address:port that the section is for, without a port for any port; beyond the guide: "
        "a host name, asked for by a client (SNI) or called by us",
    )
    tlsRole: Literal["client", "server"] = setting(..., "side of the connection that the section is for")
    method: Method = setting("TLSv1.2+", "TLS versions")
    tlsPrivateKey: str = setting(
        "", "file name of the private key in tlsKeyPath; absent for a self-signed default", pattern=r"^[^/]*$"
    )
    tlsCertificate: str = setting(
        "",
        "file name of the certificate in tlsKeyPath; absent where it is in the private key's file",
        pattern=r"^[^/]*$",
    )
    tlsVerify: Verify = setting("default", "whether certificates are verified; default is like off")
    tlsVerifyDepth: int = setting(9, "how deep to search the certificate chain", ge=0, le=100)
    tlsCaPath: str = setting(
        "/etc/ssl/certs/", "directory of trusted CA files with hash links, complete", pattern=COMPLETE
    )
    tlsCaList: str = setting(
        "", "file of trusted CA certificates, complete; if given, tlsCaPath is ignored", pattern=COMPLETE
    )
    tlsCrl: str = setting("", "file of revoked certificates, complete", pattern=COMPLETE)
    tlsCipherList: str = setting("", "accepted ciphers as OpenSSL's colon-separated list")

    @field_validator("tlsDomain")
    @classmethod
    def _domain(cls, value: str) -> str:
        if value == "default":
            return value
        return str(parse_host_port(value if ":" in value else f"{value}:0"))
