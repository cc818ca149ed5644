"""TLS towards servers to notify: their certificates, and ours (guide 7.1.10, 10.2.6-10.2.11, RFC 9525)."""

from __future__ import annotations

from typing import Any

from cryptography import x509
from OpenSSL import SSL
from service_identity import VerificationError
from service_identity.cryptography import verify_certificate_hostname, verify_certificate_ip_address
from service_identity.exceptions import CertificateError
from twisted.internet.interfaces import IOpenSSLClientConnectionCreator
from zope.interface import implementer

from haproxy.notification.target import Target
from haproxy.tls.context import Connection, Handshake, is_address, new_context, present, trust_list, watch
from haproxy.tls.credential import Signature, load, signature_of


class Security:
    """The files of one target, read again when they have changed."""

    def __init__(self, target: Target) -> None:
        self._target = target
        files = (target.authorities if target.verify_peer else None, target.key, target.certificate)
        self._files = [file for file in files if file is not None]
        self._read: tuple[Signature, SSL.Context] | None = None

    def context(self) -> SSL.Context:
        """The context as the files are now. Raises TlsError. Blocks."""
        signature = signature_of(self._files)
        if self._read is None or self._read[0] != signature:
            self._read = signature, self._make()
        return self._read[1]

    def _make(self) -> SSL.Context:
        target = self._target
        context = new_context(target.method, target.ciphers)
        if target.key is not None and target.certificate is not None:
            present(context, load(target.key, target.certificate), target.certificate)
        if target.verify_peer and target.authorities is not None:
            trust_list(context, target.authorities)
        elif target.verify_peer:
            context.set_default_verify_paths()
        return context


@implementer(IOpenSSLClientConnectionCreator)
class HttpsClient:
    """Makes the TLS side of one connection, and keeps it: only it knows why a handshake failed."""

    def __init__(self, context: SSL.Context, host: str, target: Target) -> None:
        self._context = context
        self._host = host
        self._target = target
        self.connection: Connection | None = None

    def clientConnectionForTLS(self, tlsProtocol: Any) -> SSL.Connection:
        """Make it."""
        connection = self.connection = Connection(self._context, None)
        names = (self._host,) if self._target.verify_host else ()
        mode = SSL.VERIFY_PEER if self._target.verify_peer else SSL.VERIFY_NONE
        watch(connection, mode, Handshake(self._target.verify_peer, names, proves=proves))
        if not is_address(self._host):
            connection.set_tlsext_host_name(self._host.encode())
        return connection


def proves(certificate: x509.Certificate, name: str) -> bool:
    """Whether a certificate is for a host, by the rules of HTTPS: wildcards count, common names do not."""
    verify = verify_certificate_ip_address if is_address(name) else verify_certificate_hostname
    try:
        verify(certificate, name)
    except (VerificationError, CertificateError):
        return False
    return True
