"""From the settings to TLS sections; the two default ones are always there (guide 9.1)."""

from __future__ import annotations

from pathlib import Path

from haproxy.settings import Settings
from haproxy.settings.tls import Tls
from haproxy.tls.credential import make_self_signed
from haproxy.tls.section import DEFAULT, TlsSection

DEFAULT_PAIR = "default.pem"
"""In the state directory: the key and self-signed certificate where none is named (guide 9.2.4)."""


def uses_tls(settings: Settings) -> bool:
    """Whether anything needs the sections (guide 9.1)."""
    return settings.proxy.enableTLS or any(
        sock.startswith("tls:") for sock in settings.proxy.dispatchListenSock
    )


def sections_of(settings: Settings, pair: Path) -> list[TlsSection]:
    """Every section with complete paths; `pair` is for those that name no key."""
    given = {(each.tlsDomain, each.tlsRole): each for each in settings.tls}
    for role in ("client", "server"):
        given.setdefault((DEFAULT, role), Tls.model_validate({"tlsDomain": DEFAULT, "tlsRole": role}))
    folder = Path(settings.system.tlsKeyPath)
    return [_section(each, folder, pair) for each in given.values()]


def default_pair(settings: Settings, path: Path, now: float) -> Path:
    """The default pair; made for all names of the system where there is none yet. Raises OSError. Blocks."""
    if not path.exists():
        system = settings.system
        hosts = [system.publicIP, system.privateIP, system.mappedIP]
        names = [str(host) for host in hosts if host is not None]
        names += [alias.rpartition(":")[0] or alias for alias in system.alias if alias.count(":") < 2]
        make_self_signed(path, list(dict.fromkeys(names)), now)
    return path


def _section(tls: Tls, folder: Path, pair: Path) -> TlsSection:
    key, certificate = tls.tlsPrivateKey, tls.tlsCertificate
    return TlsSection(
        # Port 0 stands for any port.
        domain=tls.tlsDomain.removesuffix(":0"),
        role=tls.tlsRole,
        key=folder / (key or certificate) if key or certificate else pair,
        certificate=folder / (certificate or key) if key or certificate else pair,
        method=tls.method,
        verify=tls.tlsVerify,
        depth=tls.tlsVerifyDepth,
        ca_path=_path(tls.tlsCaPath),
        ca_list=_path(tls.tlsCaList),
        crl=_path(tls.tlsCrl),
        ciphers=tls.tlsCipherList,
    )


def _path(text: str) -> Path | None:
    return Path(text) if text else None
