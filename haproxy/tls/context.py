"""OpenSSL contexts of sections, and the verification of peers (guide 9.2.3-9.2.11, RFC 5922)."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from ipaddress import ip_address
from pathlib import Path
from typing import Any, Final

from cryptography import x509
from cryptography.hazmat.bindings.openssl.binding import Binding
from OpenSSL import SSL, crypto
from twisted.internet.interfaces import IOpenSSLClientConnectionCreator, IOpenSSLServerConnectionCreator
from zope.interface import implementer

from haproxy.tls.credential import Credential, load, load_crls, read
from haproxy.tls.error import TlsError
from haproxy.tls.identity import names_of, proves
from haproxy.tls.section import VERSIONS, TlsSection

CIPHERS: Final = b"ECDHE+AESGCM:ECDHE+CHACHA20:DHE+AESGCM:DHE+CHACHA20:ECDHE+AES:!aNULL:!PSK:!SRP"
"""Where a section names none: forward secrecy for everybody who speaks TLS 1.2."""

OLD_CIPHERS: Final = b"DEFAULT:@SECLEVEL=0"
"""What TLS 1.0 and 1.1 need of OpenSSL 3, for an operator who asks for them."""

_lib: Any = Binding().lib
_ffi: Any = Binding().ffi
_NO_CRL: Final = 3
"""X509_V_ERR_UNABLE_TO_GET_CRL."""
_DEEPEST: Final = 100
_NO_CERTIFICATE: Final = SSL.Context(SSL.TLS_METHOD)
_HASH_LINK: Final = re.compile(r"[0-9a-f]{8}\.\d+")
_OPTIONS: Final = _lib.SSL_OP_NO_COMPRESSION | _lib.SSL_OP_NO_RENEGOTIATION | _lib.SSL_OP_SINGLE_DH_USE


@dataclass(frozen=True, slots=True)
class Loaded:
    """A section whose files were read and found good."""

    section: TlsSection
    credential: Credential
    crls: tuple[x509.CertificateRevocationList, ...]
    context: SSL.Context
    warnings: tuple[str, ...] = ()
    """What works, but an operator would want to know."""

    @property
    def end(self) -> datetime:
        """When the first of its certificates ends, those between it and its authority included."""
        return min(certificate.not_valid_after_utc for certificate in self.credential.chain)


ByName = Callable[[str], Loaded | None]
Names = tuple[str, ...]


def build(section: TlsSection) -> Loaded:
    """Read a section's files and make its context. Raises TlsError. Blocks."""
    try:
        return _build(section)
    except TlsError as error:
        raise TlsError(f"TLS section {section.name}: {error}") from None


def _build(section: TlsSection) -> Loaded:
    credential = load(section.key, section.certificate)
    crls = () if section.crl is None else load_crls(section.crl)
    context = new_context(section.method, section.ciphers)
    present(context, credential, section.certificate)
    if section.verifies:
        _trust(context, section, crls)
    # What a connection inherits of this is not that of the section that it ends up with: `Handshake` counts.
    context.set_verify_depth(_DEEPEST)
    context.set_tlsext_servername_callback(_named)
    # A resumed session is not verified again; one whose client has to prove itself must be.
    context.set_session_id(b"genproxy")
    context.set_session_cache_mode(SSL.SESS_CACHE_OFF)
    if section.verifies:
        context.set_options(SSL.OP_NO_TICKET)
    return Loaded(section, credential, crls, context, tuple(_warnings(section)))


def new_context(method: str, ciphers: str) -> SSL.Context:
    """A context for these TLS versions and ciphers, both as in the settings. Raises TlsError."""
    context = SSL.Context(SSL.TLS_METHOD)
    lowest, highest = VERSIONS[method]
    context.set_min_proto_version(lowest)
    context.set_max_proto_version(highest)
    context.set_options(_OPTIONS)
    _set_ciphers(context, ciphers, old=lowest < SSL.TLS1_2_VERSION)
    return context


def present(context: SSL.Context, credential: Credential, file: Path) -> None:
    """Show peers a certificate, which was read from `file`. Raises TlsError."""
    try:
        context.use_certificate(credential.certificate)
        for intermediate in credential.chain[1:]:
            context.add_extra_chain_cert(intermediate)
        context.use_privatekey(credential.key)  # type: ignore[arg-type]  # kinds OpenSSL lacks raise here
    except (SSL.Error, TypeError) as error:
        raise TlsError(f"OpenSSL refuses the pair in {file}: {reason_of(error)}") from None


def trust_list(context: SSL.Context, file: Path) -> None:
    """Trust the authorities whose certificates are in a file. Raises TlsError. Blocks."""
    read(file)
    try:
        context.load_verify_locations(str(file))
    except SSL.Error:
        raise TlsError(f"{file} holds no readable certificate in PEM form") from None


def _set_ciphers(context: SSL.Context, ciphers: str, *, old: bool) -> None:
    words = ciphers.encode("ascii", "replace").replace(b",", b":").replace(b" ", b":").split(b":")
    # TLS 1.3 suites have a list of their own, in which other names are an error.
    suites = [word for word in words if word.startswith(b"TLS_")]
    others = [word for word in words if word and word not in suites]
    try:
        context.set_cipher_list(b":".join(others) or (OLD_CIPHERS if old else CIPHERS))
        if suites:
            context.set_tls13_ciphersuites(b":".join(suites))
    except SSL.Error:
        raise TlsError(f"OpenSSL refuses the ciphers {ciphers!r}") from None


def _trust(context: SSL.Context, section: TlsSection, crls: Sequence[x509.CertificateRevocationList]) -> None:
    if section.ca_list is not None:
        trust_list(context, section.ca_list)
        if section.role == "server":
            context.load_client_ca(str(section.ca_list).encode())
    elif section.ca_path is not None:
        if not section.ca_path.is_dir():
            raise TlsError(f"tlsCaPath {section.ca_path} is not a directory")
        context.load_verify_locations(None, str(section.ca_path))
    if crls:
        store = context.get_cert_store()
        assert store is not None
        for crl in crls:
            store.add_crl(crl)
        store.set_flags(crypto.X509StoreFlags.CRL_CHECK | crypto.X509StoreFlags.CRL_CHECK_ALL)


def _warnings(section: TlsSection) -> Iterator[str]:
    if section.key.stat().st_mode & 0o007:
        yield f"everybody on this machine may use the private key in {section.key}"
    if section.verifies and section.ca_list is None and section.ca_path is not None:
        linked = any(_HASH_LINK.fullmatch(entry.name) for entry in section.ca_path.iterdir())
        if not linked:
            yield f"{section.ca_path} has no hash links (c_rehash): every certificate is refused"
    if section.crl is not None and not section.verifies:
        yield "tlsCrl has no effect without tlsVerify"


class Handshake:
    """One handshake: judges the peer's certificates, which OpenSSL shows one by one, and keeps why one was
    refused.
    """

    def __init__(
        self,
        verifies: bool,
        names: Names = (),
        by_name: ByName | None = None,
        *,
        depth: int = 9,
        proves: Callable[[x509.Certificate, str], bool] = proves,
    ) -> None:
        """`names` are the hosts or addresses, one of which the certificate has to be for; empty for any.

        `depth` is the number of certificates allowed between the peer's own and its authority's;
        `proves` says whether a certificate is for a name: by default by the rules of SIP.
        """
        self._all = not verifies
        self._names = names
        self._depth = depth
        self._proves = proves
        self.by_name = by_name
        self.reason: str | None = None

    def judge(self, connection: object, certificate: crypto.X509, error: int, depth: int, good: int) -> bool:
        """Whether to go on (SSL_set_verify(3))."""
        if self._all:
            return True
        if error == _NO_CRL and depth:
            # Nobody need have the lists that those above the peer's own authority are on; who has, uses them.
            return True
        subject = certificate.to_cryptography()
        if depth > self._depth + 1:
            self.reason = f"the chain of certificates is longer than {self._depth}"
            return False
        if not good:
            self.reason = self.reason or f"{_text(error)} ({_subject(subject)})"
            return False
        if depth == 0 and self._names and not any(self._proves(subject, name) for name in self._names):
            named = ", ".join(names_of(subject)) or "nobody"
            self.reason = f"the certificate is for {named}, not for {' or '.join(self._names)}"
            return False
        return True


class Connection(SSL.Connection):
    """A connection with its handshake; Twisted has another use for its `app_data`."""

    handshake: Handshake


def mode_of(section: TlsSection) -> int:
    """What OpenSSL is to ask of the peer."""
    if section.role == "client":
        return SSL.VERIFY_PEER if section.verifies else SSL.VERIFY_NONE
    if section.verify in {"default", "off"}:
        return SSL.VERIFY_NONE
    return SSL.VERIFY_PEER | (SSL.VERIFY_FAIL_IF_NO_PEER_CERT if section.verify == "on" else 0)


def _connection(loaded: Loaded, names: Names = (), by_name: ByName | None = None) -> Connection:
    connection = Connection(loaded.context, None)
    section = loaded.section
    watch(connection, mode_of(section), Handshake(section.verifies, names, by_name, depth=section.depth))
    return connection


def watch(connection: Connection, mode: int, handshake: Handshake) -> None:
    """Have a handshake judged; `mode` is what OpenSSL is to ask of the peer."""
    connection.set_verify(mode, handshake.judge)
    connection.handshake = handshake


def _named(connection: SSL.Connection) -> None:
    """The client asks for a server by name: let the section of that name take over, if there is one."""
    name = (connection.get_servername() or b"").decode("ascii", "replace").lower()
    if not isinstance(connection, Connection):
        return
    handshake = connection.handshake
    loaded = handshake.by_name(name) if name and handshake.by_name is not None else None
    if loaded is None:
        return
    section = loaded.section
    lowest, highest = VERSIONS[section.method]
    version = connection.get_protocol_version()
    if version < lowest or (highest and version > highest):
        # The version is chosen before the name is known; without a certificate the handshake ends here.
        spoken = connection.get_protocol_version_name()
        handshake.reason = f"{spoken} is not of the method {section.method} of TLS section {section.name}"
        connection.set_context(_NO_CERTIFICATE)
        return
    connection.set_context(loaded.context)
    if section.verifies:
        connection.set_options(SSL.OP_NO_TICKET)
    watch(connection, mode_of(section), Handshake(section.verifies, depth=section.depth))


@implementer(IOpenSSLServerConnectionCreator)
class Accepting:
    """Makes the TLS side of accepted connections, with whatever the section is at that moment."""

    def __init__(self, current: Callable[[], Loaded], by_name: ByName) -> None:
        """`by_name` gives the section for a server name that a client asks for (SNI, RFC 6066 section 3)."""
        self._current = current
        self._by_name = by_name

    def serverConnectionForTLS(self, tlsProtocol: object) -> SSL.Connection:
        """Make one."""
        return _connection(self._current(), (), self._by_name)


@implementer(IOpenSSLClientConnectionCreator)
class Connecting:
    """Makes the TLS side of one connection to a host, which has to prove its name."""

    def __init__(self, loaded: Loaded, names: Names) -> None:
        """`names`: the host name that led there; or the numeric address, after a name known there."""
        self._loaded = loaded
        self._names = names

    def clientConnectionForTLS(self, tlsProtocol: object) -> SSL.Connection:
        """Make it."""
        connection = _connection(self._loaded, self._names)
        if self._names and not is_address(self._names[0]):
            connection.set_tlsext_host_name(self._names[0].encode("ascii", "replace"))
        return connection


def reason_of(error: object, connection: SSL.Connection | None = None) -> str:
    """Why a handshake or a connection failed, in words."""
    if isinstance(connection, Connection) and connection.handshake.reason is not None:
        return connection.handshake.reason
    if isinstance(error, SSL.Error) and error.args and isinstance(error.args[0], list) and error.args[0]:
        return str(error.args[0][-1][-1])
    return str(error) or "the connection was closed"


def _text(error: int) -> str:
    return str(_ffi.string(_lib.X509_verify_cert_error_string(error)).decode("ascii", "replace"))


def _subject(certificate: x509.Certificate) -> str:
    return certificate.subject.rfc4514_string() or "without a name"


def is_address(host: str) -> bool:
    """Whether a host is numeric, which is never asked for by name (RFC 6066 section 3)."""
    try:
        ip_address(host)
    except ValueError:
        return False
    return True
