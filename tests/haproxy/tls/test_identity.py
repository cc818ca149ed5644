"""Whom a certificate is for (RFC 5922 section 7)."""

from pathlib import Path

import pytest
from cryptography import x509

from haproxy.testing.authority import Authority
from haproxy.tls.identity import names_of, proves


def issued(tmp_path: Path, names: list[str], uris: list[str]) -> x509.Certificate:
    authority = Authority(tmp_path)
    authority.issue("peer", names, uris=uris)
    return x509.load_pem_x509_certificate((tmp_path / "peer.crt").read_bytes())


@pytest.mark.parametrize(
    ("names", "uris", "good", "bad"),
    [
        (["SIP.example.com"], [], ["sip.example.com", "Sip.Example.com."], ["example.com", "peer"]),
        (["*.example.com"], [], [], ["sip.example.com"]),
        (["dns.example"], ["sip:uri.example"], ["uri.example"], ["dns.example"]),
        (["dns.example"], ["sip:user@uri.example", "https://x"], ["dns.example"], ["uri.example"]),
        (["192.0.2.1", "2001:db8::1"], [], ["192.0.2.1", "[2001:db8:0::1]"], ["192.0.2.2", "peer"]),
        ([], [], ["peer"], ["other"]),
    ],
)
def test_names(tmp_path: Path, names: list[str], uris: list[str], good: list[str], bad: list[str]) -> None:
    certificate = issued(tmp_path, names, uris)
    assert [name for name in good + bad if proves(certificate, name)] == good
    assert names_of(certificate)
