"""A certificate authority for tests: keys, certificates of all kinds, revocation lists."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID


class Authority:
    """Signs what it is asked to, into files of one folder; its own certificate is in `ca.pem`."""

    def __init__(self, folder: Path, name: str = "", above: Authority | None = None) -> None:
        """`above` is the authority that signs this one; the chain is in its `.crt` and `.pem` files."""
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = _subject(name or f"CA of {folder.name}")
        self._revoked: list[int] = []
        self._issued: dict[str, int] = {}
        self._above = above
        issuer = above or self
        builder = issuer._builder(self._name, self._key, 90.0)
        authority = x509.BasicConstraints(ca=True, path_length=None)
        certificate = builder.add_extension(authority, critical=True).sign(issuer._key, hashes.SHA256())
        if above is not None:
            above._issued[folder.name] = certificate.serial_number
        self.certificate = folder / "ca.pem"
        self.certificate.write_bytes(certificate.public_bytes(Encoding.PEM))

    def issue(
        self, file: str, names: Sequence[str] = (), *, days: float = 60.0, uris: Sequence[str] = ()
    ) -> tuple[str, str]:
        """Write `FILE.key` and `FILE.crt`, and both into `FILE.pem`; the names of the first two.

        `days` until it ends, negative for one that has ended; `names` are DNS names or addresses.
        """
        key = ec.generate_private_key(ec.SECP256R1())
        builder = self._builder(_subject(file), key, days)
        alternatives = [_general(name) for name in names]
        alternatives += [x509.UniformResourceIdentifier(uri) for uri in uris]
        if alternatives:
            builder = builder.add_extension(x509.SubjectAlternativeName(alternatives), critical=False)
        certificate = builder.sign(self._key, hashes.SHA256())
        self._issued[file] = certificate.serial_number
        secret = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        public = certificate.public_bytes(Encoding.PEM)
        if self._above:
            public += self.certificate.read_bytes()
        (self.folder / f"{file}.crt").write_bytes(public)
        for name, content in ((f"{file}.key", secret), (f"{file}.pem", secret + public)):
            (self.folder / name).touch(0o600)
            (self.folder / name).write_bytes(content)
        return f"{file}.key", f"{file}.crt"

    def revoke(self, *files: str, days: float = 30.0) -> Path:
        """Write `crl.pem`, with these and those revoked before; an authority below by its folder's name."""
        self._revoked += [self._issued[file] for file in files]
        now = datetime.now(UTC)
        builder = (
            x509.CertificateRevocationListBuilder()
            .issuer_name(self._name)
            .last_update(now - timedelta(days=max(1.0, 1.0 - days)))
            .next_update(now + timedelta(days=days))
        )
        for serial in self._revoked:
            entry = x509.RevokedCertificateBuilder().serial_number(serial).revocation_date(now).build()
            builder = builder.add_revoked_certificate(entry)
        path = self.folder / "crl.pem"
        path.write_bytes(builder.sign(self._key, hashes.SHA256()).public_bytes(Encoding.PEM))
        return path

    def _builder(
        self, subject: x509.Name, key: ec.EllipticCurvePrivateKey, days: float
    ) -> x509.CertificateBuilder:
        now = datetime.now(UTC)
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(days=max(1.0, 1.0 - days)))
            .not_valid_after(now + timedelta(days=days))
        )


def _subject(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


def _general(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ip_address(name))
    except ValueError:
        return x509.DNSName(name)
