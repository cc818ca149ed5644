"""Private keys, certificates and revocation lists from files, with a sentence for whatever is wrong."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import NameOID

from haproxy.tls.error import TlsError
from rtlib import secretfile

SELF_SIGNED_YEARS: Final = 10
_PEM_CRL: Final = b"-----BEGIN X509 CRL-----"
_SPKI: Final = (Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


@dataclass(frozen=True, slots=True)
class Credential:
    """A private key and the certificates that go with it, the own one first."""

    key: PrivateKeyTypes
    chain: tuple[x509.Certificate, ...]

    @property
    def certificate(self) -> x509.Certificate:
        """The own certificate."""
        return self.chain[0]


def load(key_file: Path, certificate_file: Path) -> Credential:
    """Read a pair; one file may hold both. Raises TlsError."""
    key = _key(key_file)
    try:
        chain = x509.load_pem_x509_certificates(read(certificate_file))
    except ValueError:
        raise TlsError(f"{certificate_file} holds no readable certificate in PEM form") from None
    if key.public_key().public_bytes(*_SPKI) != chain[0].public_key().public_bytes(*_SPKI):
        raise TlsError(
            f"the certificate in {certificate_file} does not belong to the private key in {key_file}"
        )
    return Credential(key, tuple(chain))


def load_crls(path: Path) -> tuple[x509.CertificateRevocationList, ...]:
    """Read certificate revocation lists in PEM form, or one in DER form. Raises TlsError."""
    data = read(path)
    try:
        if b"-----BEGIN" not in data:
            return (x509.load_der_x509_crl(data),)
        lists = [_PEM_CRL + part for part in data.split(_PEM_CRL)[1:]]
        if not lists:
            raise ValueError("no list")
        return tuple(map(x509.load_pem_x509_crl, lists))
    except ValueError:
        raise TlsError(f"{path} holds no readable certificate revocation list") from None


def read(path: Path) -> bytes:
    """A file's content. Raises TlsError."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise TlsError(f"{path} cannot be read: {(error.strerror or str(error)).lower()}") from None


Signature = tuple[tuple[int, int, int] | None, ...]


def signature_of(files: Iterable[Path]) -> Signature:
    """What tells whether any of these files was changed since: it is another one then. Blocks."""
    return tuple(_state(path) for path in files)


def _state(path: Path) -> tuple[int, int, int] | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_ino, status.st_ctime_ns, status.st_size


def _key(path: Path) -> PrivateKeyTypes:
    try:
        return load_pem_private_key(read(path), None)
    except TypeError:
        raise TlsError(f"the private key in {path} needs a pass phrase, which nobody could type") from None
    except ValueError:
        raise TlsError(f"{path} holds no readable private key in PEM form") from None


def make_self_signed(path: Path, names: list[str], now: float) -> None:
    """Write a new key with a certificate for `names` that signs itself, mode 0600 (guide 9.2.4)."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, names[0][:64])])
    begin = datetime.fromtimestamp(now, UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(begin - timedelta(days=1))
        .not_valid_after(begin + timedelta(days=365 * SELF_SIGNED_YEARS))
        .add_extension(x509.SubjectAlternativeName([_general_name(name) for name in names]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    secret = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    secretfile.write(path, [secret, certificate.public_bytes(Encoding.PEM)])


def _general_name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ip_address(name))
    except ValueError:
        return x509.DNSName(name)
