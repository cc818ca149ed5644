"""Whom a certificate is for: SIP domain certificates, RFC 5922 section 7."""

from __future__ import annotations

from ipaddress import ip_address

from cryptography import x509
from cryptography.x509.oid import NameOID


def names_of(certificate: x509.Certificate) -> list[str]:
    """The SIP domains and addresses that a certificate proves, in lower case (section 7.1).

    `sip:` URIs without user come first; where there are none DNS names count; the common name only
    counts in a certificate without any alternative name.
    """
    try:
        alternative = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (x509.ExtensionNotFound, ValueError):
        return _common_names(certificate)
    uris = alternative.get_values_for_type(x509.UniformResourceIdentifier)
    addresses = [str(address) for address in alternative.get_values_for_type(x509.IPAddress)]
    domains = [uri[4:].lower() for uri in uris if uri[:4].lower() == "sip:" and "@" not in uri]
    return (domains or [name.lower() for name in alternative.get_values_for_type(x509.DNSName)]) + addresses


def proves(certificate: x509.Certificate, name: str) -> bool:
    """Whether a certificate is for a host name, or for a numeric address.

    There are no wildcards in SIP (section 7.2, guide 9.0).
    """
    wanted = _canonical(name)
    return any(_canonical(each) == wanted for each in names_of(certificate))


def _canonical(name: str) -> str:
    try:
        return str(ip_address(name.strip("[]")))
    except ValueError:
        return name.lower().rstrip(".")


def _common_names(certificate: x509.Certificate) -> list[str]:
    try:
        return [
            str(each.value).lower()
            for each in certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
        ]
    except ValueError:
        return []
