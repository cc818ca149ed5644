"""The version of genproxy, and the name it gives itself on the wire (guide 7.1.1, 7.1.2: `kamDefault`)."""

from __future__ import annotations

import platform

VERSION = "0.1.0"

PRODUCT = "Genesis Proxy"
"""The guide's default for `serverHeader` and `userAgent`."""


def detailed() -> str:
    """Our own form of Kamailio's default header: `genproxy (0.1.0 (x86_64/linux))`."""
    return f"genproxy ({VERSION} ({platform.machine()}/{platform.system().lower()}))"


def identification(setting: str | None) -> bytes | None:
    """The value that `serverHeader` or `userAgent` asks for; None for no header at all."""
    named = {"": PRODUCT, "kamDefault": detailed()}
    if setting == "None":
        return None
    return named.get(setting or "", setting or PRODUCT).encode()
