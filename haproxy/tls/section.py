"""One TLS section: for whom it is, and what it says (guide 9.2)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from OpenSSL import SSL

Role = Literal["client", "server"]
Verify = Literal["default", "off", "on", "optional", "optional_no_ca"]

DEFAULT: Final = "default"
"""The domain of the two sections that are always there."""

VERSIONS: Final[dict[str, tuple[int, int]]] = {
    "TLSv1": (SSL.TLS1_VERSION, SSL.TLS1_VERSION),
    "TLSv1+": (SSL.TLS1_VERSION, 0),
    "TLSv1.1+": (SSL.TLS1_1_VERSION, 0),
    "TLSv1.2": (SSL.TLS1_2_VERSION, SSL.TLS1_2_VERSION),
    "TLSv1.2+": (SSL.TLS1_2_VERSION, 0),
    "TLSv1.3": (SSL.TLS1_3_VERSION, SSL.TLS1_3_VERSION),
    "TLSv1.3+": (SSL.TLS1_3_VERSION, 0),
}
"""Lowest and highest version of each `method`; 0 is the highest that OpenSSL has."""


@dataclass(frozen=True, slots=True)
class TlsSection:
    """Values of one section; paths are complete."""

    domain: str
    """`default`, or a host, or host:port; numeric, or a name (beyond the guide)."""
    role: Role
    key: Path
    """File of the private key."""
    certificate: Path
    """File of the certificate and those between it and its CA; may be the same as `key`."""
    method: str = "TLSv1.2+"
    verify: Verify = "off"
    depth: int = 9
    ca_path: Path | None = Path("/etc/ssl/certs/")
    ca_list: Path | None = None
    """Where it is given `ca_path` is not looked at (guide 9.2.8)."""
    crl: Path | None = None
    ciphers: str = ""

    @property
    def name(self) -> str:
        """How log and commands call it."""
        return f"{self.domain} {self.role}"

    @property
    def verifies(self) -> bool:
        """Whether the peer's certificate has to be a good one, if it has one.

        For clients `optional` and `optional_no_ca` are like `on` (guide 9.2.6).
        """
        if self.role == "client":
            return self.verify not in {"default", "off"}
        return self.verify in {"on", "optional"}

    @property
    def files(self) -> tuple[Path, ...]:
        """Everything on the disk that it depends on."""
        trusted = (self.ca_list or self.ca_path) if self.verifies else None
        found = (self.key, self.certificate, trusted, self.crl)
        return tuple(dict.fromkeys(path for path in found if path is not None))
