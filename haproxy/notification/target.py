"""A server to notify: its URL, and how to talk to it (guide 10.2)."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Literal
from urllib.parse import urljoin, urlsplit

from rtlib.address import join

PORTS: Final = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True)
class Url:
    """An absolute HTTP URL, taken apart."""

    scheme: Literal["http", "https"]
    host: str
    """In lower case; IPv6 without brackets."""
    port: int
    path: str
    """With the query; never empty."""

    @classmethod
    def of(cls, text: str) -> Url:
        """Take a URL apart; without a scheme it is http. Raises ValueError, whose text is the reason."""
        parts = urlsplit(text if "://" in text else f"http://{text}")
        scheme = parts.scheme.lower()
        if scheme not in ("http", "https"):
            raise ValueError(f"{scheme} is neither http nor https")
        if parts.username is not None or parts.password is not None:
            raise ValueError("user and password do not belong into a URL")
        if not parts.hostname:
            raise ValueError("a URL needs a server")
        host = parts.hostname if ":" in parts.hostname else parts.hostname.encode("idna").decode()
        port = PORTS[scheme] if parts.port is None else parts.port
        if not port:
            raise ValueError("port 0 is no port")
        path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        if not (path.isascii() and path.isprintable()) or " " in path:
            raise ValueError("the path has characters that need %-encoding")
        return cls("https" if scheme == "https" else "http", host.lower(), port, path)

    @property
    def origin(self) -> tuple[str, str, int]:
        """What may see the password: the same server, in the same way (RFC 6454)."""
        return self.scheme, self.host, self.port

    @property
    def authority(self) -> str:
        """For the header Host: without the scheme's own port."""
        text = join(self.host, self.port)
        return text.removesuffix(f":{self.port}") if self.port == PORTS[self.scheme] else text

    def follow(self, location: str) -> Url:
        """Where a redirect leads. Raises ValueError."""
        if not location:
            raise ValueError("there is no Location")
        absolute = urljoin(str(self), location)
        if "://" not in absolute:
            raise ValueError(f"{absolute.partition(':')[0]} is neither http nor https")
        return Url.of(absolute)

    def __str__(self) -> str:
        return f"{self.scheme}://{self.authority}{self.path}"


@dataclass(frozen=True, slots=True)
class Target:
    """One server, and how to talk to it."""

    name: str
    """`notifyURL` as it was written, without a query: that may hold a secret."""
    url: Url
    redirect: bool = True
    user: str = ""
    password: str = field(default="", repr=False)
    user_agent: str = "Genesis Proxy"
    verify_peer: bool = False
    verify_host: bool = False
    """Beside `verify_peer`."""
    authorities: Path | None = None
    """Trusted CA certificates; None for those of the system."""
    key: Path | None = None
    certificate: Path | None = None
    """What proves us to the server; None where it does not ask for it. One file may hold both."""
    ciphers: str = ""
    method: str = "TLSv1.2+"
