"""An end of a certificate, and a TLS file that is no good, reach the operator in every way (guide 9, 10)."""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema
import pytest

from haproxy.testing.authority import Authority
from haproxy.testing.genproxy import Genproxy, own_host
from haproxy.testing.webserver import Nginx
from rtlib.testing.daemon import ROOT, wait_until

SCHEMA = json.loads((ROOT / "docs" / "notification.schema.json").read_text())
PORT = 8001


@pytest.mark.peer("nginx")
def test_a_certificate_that_ends(tmp_path: Path) -> None:
    host = own_host()
    authority = Authority(tmp_path / "pki")
    authority.issue("proxy", [host], days=5.5)
    authority.issue("other")
    pair = authority.folder / "proxy.pem"
    noted = tmp_path / "noted"
    proxy = Genproxy(
        tmp_path / "proxy",
        host=host,
        settings={"system": {"tlsKeyPath": str(authority.folder)}, "proxy": {"enableTLS": True}},
        tables={
            "tls": [{"tlsDomain": "default", "tlsRole": "server", "tlsPrivateKey": "proxy.pem"}],
            "notifications": [{"notifyURL": f"{host}:{PORT}"}],
        },
    )
    (proxy.state / "scripts").mkdir()
    script = proxy.state / "scripts" / "notify.sh"
    script.write_text(f'#!/bin/sh\necho "$1: $2" >> {noted}\n')
    script.chmod(0o755)
    servers = [f"listen {host}:{PORT}; location / {{ $take }}"]
    with Nginx(tmp_path / "nginx", host, servers, (PORT,)) as nginx, proxy:

        def told(words: str) -> bool:
            """Whether log, script and server have all been told."""
            notifications = [each for each in nginx.told(PORT) if each["event"] == "certificate"]
            for each in notifications:
                jsonschema.validate(each, SCHEMA)
                assert (each["type"], each["subject"]) == ("node", "default server")
            by_script = noted.read_text() if noted.exists() else ""
            return (
                any(words in each["reason"] for each in notifications)
                and any(words in line for line in by_script.splitlines() if line.startswith("genproxy/tls: "))
                and words in proxy.daemon.text
                and words in str(proxy.reply("show tls"))
            )

        wait_until(lambda: told("the certificate CN=proxy expires in 5 days"), 20)
        assert 5 * 86400 < proxy.metric("tls_expiry_seconds", "default server") < 6 * 86400
        assert proxy.metric("tls_problems") == 0
        pair.write_bytes(
            (authority.folder / "other.key").read_bytes() + (authority.folder / "proxy.crt").read_bytes()
        )
        wait_until(lambda: told("does not belong to the private key"), 30)
        assert proxy.metric("tls_problems") == 1
        assert "Traceback" not in proxy.daemon.text
