"""What a new client is told, as text for a file or a QR code (docs/update-files.md section 6).

    crs://192.0.2.1:5223/demo/%2B46701234567#v=1&key=...&e2e=...

The secrets stand in the fragment, the part of a URI that no program sends anywhere.
"""

from __future__ import annotations

import binascii
import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from dataclasses import dataclass, field
from ipaddress import IPv6Address
from typing import Final
from urllib.parse import parse_qsl, quote, unquote

from crs import identity

SCHEME: Final = "crs"
VERSION: Final = 1
DEFAULT_PORT: Final = 5223
MAX_TEXT: Final = 8192
MAX_END_TO_END_SECRET: Final = 256
"""Bytes."""

_LABEL: Final = r"[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
_NAME: Final = re.compile(rf"{_LABEL}(\.{_LABEL})*\.?", re.ASCII)
_BASE64: Final = re.compile(r"[A-Za-z0-9_-]*", re.ASCII)


class ProvisioningError(ValueError):
    """The text or the values are no provisioning; says why, without the secrets."""


@dataclass(frozen=True)
class Provisioning:
    """Where the server is, who the client is, and its secrets. Raises ProvisioningError if one cannot be."""

    host: str
    """A name, or a numeric address; IPv6 without brackets."""
    port: int
    uri: str
    account: str
    key: bytes = field(repr=False)
    """The client's TLS key of 32 bytes (`crs.identity.client_key`)."""
    end_to_end_secret: bytes | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        for wrong, problem in (
            (not _is_host(self.host), f"{self.host!r} is neither a host name nor an address"),
            (not 0 < self.port < 65536, f"{self.port} is no port"),
            (not identity.is_account(self.account), f"{self.account!r} is no valid account ID"),
            (not identity.is_uri(self.uri), f"{self.uri!r} is no valid URI"),
            (len(self.key) != identity.KEY_SIZE, f"a client's key has {identity.KEY_SIZE} bytes"),
            (
                self.end_to_end_secret is not None
                and not 0 < len(self.end_to_end_secret) <= MAX_END_TO_END_SECRET,
                f"an end-to-end secret has 1 to {MAX_END_TO_END_SECRET} bytes",
            ),
        ):
            if wrong:
                raise ProvisioningError(problem)


def encode(provisioning: Provisioning) -> str:
    """The text, in ASCII on one line."""
    secrets = {"key": provisioning.key}
    if provisioning.end_to_end_secret is not None:
        secrets["e2e"] = provisioning.end_to_end_secret
    server = join(provisioning.host, provisioning.port)
    fragment = "".join(f"&{name}={_to_base64(value)}" for name, value in secrets.items())
    return (
        f"{SCHEME}://{server}/{provisioning.account}/{quote(provisioning.uri, safe='')}#v={VERSION}{fragment}"
    )


def decode(text: str) -> Provisioning:
    """What `encode` wrote, with white space around it or not. Raises ProvisioningError."""
    if len(text) > MAX_TEXT:
        raise ProvisioningError(f"a provisioning has at most {MAX_TEXT} characters")
    location, _, fragment = text.strip().partition("#")
    scheme, separator, rest = location.partition("://")
    server, _, path = rest.partition("/")
    account, slash, uri = path.partition("/")
    if scheme.lower() != SCHEME or not separator or not slash:
        raise ProvisioningError("this is no provisioning of a crs client")
    values = _values(fragment)
    host, port = split(server)
    return Provisioning(
        host,
        port,
        _unquote(uri),
        account,
        _bytes(values, "key"),
        _bytes(values, "e2e") if "e2e" in values else None,
    )


def join(host: str, port: int) -> str:
    """HOST:PORT, with an IPv6 address in brackets."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def split(text: str) -> tuple[str, int]:
    """Host and port of HOST[:PORT]. Raises ProvisioningError."""
    host, separator, port = text.rpartition(":")
    if not separator or text.endswith("]"):
        host, port = text, str(DEFAULT_PORT)
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    elif ":" in host:
        raise ProvisioningError(f"{text!r} is not HOST:PORT (an IPv6 address needs brackets)")
    if not re.fullmatch(r"[0-9]{1,5}", port, re.ASCII) or not 0 < int(port) < 65536 or not _is_host(host):
        raise ProvisioningError(f"{text!r} is not HOST:PORT")
    return host, int(port)


def _values(fragment: str) -> dict[str, str]:
    try:
        pairs = parse_qsl(fragment, keep_blank_values=True, strict_parsing=True, max_num_fields=16)
    except ValueError:
        raise ProvisioningError("what stands behind the provisioning's # is malformed") from None
    values = dict(pairs)
    if len(values) != len(pairs):
        raise ProvisioningError("the provisioning has an entry twice")
    if "v" not in values:
        raise ProvisioningError("the provisioning is incomplete: it has no version")
    if values["v"] != str(VERSION):
        raise ProvisioningError(f"the provisioning has another version; this program knows {VERSION}")
    return values


def _bytes(values: dict[str, str], name: str) -> bytes:
    text = values.get(name)
    if text is None:
        raise ProvisioningError(f"the provisioning has no {name}")
    try:
        if not _BASE64.fullmatch(text):
            raise ValueError
        return urlsafe_b64decode(text + "=" * (-len(text) % 4))
    except (ValueError, binascii.Error):
        raise ProvisioningError(f"the provisioning's {name} is not base64") from None


def _to_base64(value: bytes) -> str:
    return urlsafe_b64encode(value).decode().rstrip("=")


def _unquote(text: str) -> str:
    try:
        return unquote(text, errors="strict")
    except UnicodeDecodeError:
        raise ProvisioningError("the provisioning's URI is not UTF-8") from None


def _is_host(text: str) -> bool:
    if ":" in text:
        try:
            return IPv6Address(text).scope_id is None
        except ValueError:
            return False
    return len(text) <= 253 and _NAME.fullmatch(text) is not None
