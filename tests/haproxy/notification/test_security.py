"""Whom a certificate is for, by the rules of HTTPS (RFC 9525)."""

from __future__ import annotations

from pathlib import Path

import pytest
from cryptography import x509

from haproxy.notification.security import proves
from haproxy.testing.authority import Authority


@pytest.mark.parametrize(
    ("names", "name", "good"),
    [
        (["server.example"], "server.example", True),
        (["server.example"], "other.example", False),
        (["*.example.com"], "server.example.com", True),
        (["*.example.com"], "a.server.example.com", False),
        (["192.0.2.1"], "192.0.2.1", True),
        (["192.0.2.1"], "192.0.2.2", False),
        (["server.example"], "192.0.2.1", False),
        (["2001:db8::1"], "2001:db8:0::1", True),
        ([], "c", False),  # its common name
    ],
)
def test_names(tmp_path: Path, names: list[str], name: str, good: bool) -> None:
    authority = Authority(tmp_path)
    authority.issue("c", names)
    certificate = x509.load_pem_x509_certificate((tmp_path / "c.crt").read_bytes())
    assert proves(certificate, name) is good
