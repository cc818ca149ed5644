"""Servers are notified over TLS: proofs, versions and ciphers (guide 7.1.10, 10.2.6-10.2.11)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from haproxy.testing.authority import Authority
from haproxy.testing.genproxy import Genproxy, own_host
from haproxy.testing.webserver import Nginx
from rtlib.testing.daemon import wait_until

TLS, CLIENT, NEW, OLD, OTHER, STRANGER, HTTP = range(8441, 8448)
PEER = {"notifyVerifyPeer": True}
HOST = {**PEER, "notifyVerifyHost": True}
CIPHER = "ECDHE-ECDSA-AES256-GCM-SHA384"


class Pki:
    """Two authorities, and what they signed."""

    def __init__(self, folder: Path, host: str) -> None:
        self.good, self.stranger = Authority(folder / "pki"), Authority(folder / "stranger")
        self.good.issue("server", ["server.example", host])
        self.good.issue("other", ["other.example"])
        self.good.issue("client")
        self.good.issue("spare")
        for name in ("server", "client"):
            self.stranger.issue(name, [host])
        foreign = self.stranger.folder / "client.pem"
        (self.good.folder / "foreign.pem").write_bytes(foreign.read_bytes())

    def servers(self, host: str) -> list[str]:
        """Blocks of nginx, for the ports above."""

        def block(port: int, name: str = "server", folder: Path = self.good.folder, more: str = "") -> str:
            pair = f"ssl_certificate {folder}/{name}.crt; ssl_certificate_key {folder}/{name}.key;"
            return f"listen {host}:{port} ssl; {pair} {more} location / {{ $take }} "

        client = f"ssl_verify_client on; ssl_client_certificate {self.good.certificate};"
        return [
            block(TLS) + f"location /down {{ return 307 http://{host}:{HTTP}/; }}",
            block(CLIENT, more=client),
            block(NEW, more="ssl_protocols TLSv1.3;"),
            block(OLD, more="ssl_protocols TLSv1.2;"),
            block(OTHER, "other"),
            block(STRANGER, folder=self.stranger.folder),
            f"listen {host}:{HTTP}; location / {{ return 307 https://{host}:{TLS}/up; }}",
        ]


def results(proxy: Genproxy) -> dict[str, str]:
    """What `notify test` says, by target."""
    return {row["target"]: row["result"] for row in proxy.reply("notify test")}


@pytest.mark.peer("nginx")
def test_tls(tmp_path: Path) -> None:
    host = own_host()
    pki = Pki(tmp_path, host)

    def url(port: int, path: str = "/") -> str:
        return f"https://{host}:{port}{path}"

    targets: dict[str, dict[str, Any]] = {
        url(TLS): {},
        url(TLS, "/peer"): PEER,
        url(TLS, "/host"): HOST,
        url(OTHER, "/peer"): PEER,
        url(OTHER, "/host"): HOST,
        url(STRANGER): {},
        url(STRANGER, "/peer"): PEER,
        url(CLIENT): {},
        url(CLIENT, "/pair"): {"notifyClientKey": "client.key", "notifyClientCert": "client.crt"},
        url(CLIENT, "/key"): {"notifyClientKey": "client.pem"},
        url(CLIENT, "/certificate"): {"notifyClientCert": "client.pem"},
        url(CLIENT, "/foreign"): {"notifyClientKey": "foreign.pem"},
        url(CLIENT, "/absent"): {"notifyClientKey": "absent.pem"},
        url(CLIENT, "/mixed"): {"notifyClientKey": "client.key", "notifyClientCert": "spare.crt"},
        url(TLS, "/1.2"): {"notifyTlsVersion": "TLSv1.2", "notifyCipherList": CIPHER},
        url(NEW): {},
        url(NEW, "/1.2"): {"notifyTlsVersion": "TLSv1.2"},
        url(OLD): {},
        url(OLD, "/1.3"): {"notifyTlsVersion": "TLSv1.3"},
        url(OLD, "/cipher"): {"notifyCipherList": "NO-SUCH-CIPHER"},
        url(TLS, "/down"): {},
        f"http://{host}:{HTTP}": PEER,
    }
    tables = {"notifications": [{"notifyURL": name, **more} for name, more in targets.items()]}
    settings = {
        "system": {"tlsKeyPath": str(pki.good.folder)},
        "proxy": {"notifyCaCert": str(pki.good.certificate)},
    }
    with (
        Nginx(tmp_path / "nginx", host, pki.servers(host), range(TLS, HTTP + 1)) as nginx,
        Genproxy(tmp_path / "proxy", host=host, tables=tables, settings=settings) as proxy,
    ):
        found = results(proxy)
        failed = {name: found.pop(name) for name, result in list(found.items()) if result != "ok"}
        refused = "400 Bad Request"
        assert failed == {
            url(
                OTHER, "/host"
            ): f"TLS handshake failed: the certificate is for other.example, not for {host}",
            url(
                STRANGER, "/peer"
            ): "TLS handshake failed: unable to get local issuer certificate (CN=server)",
            url(CLIENT): refused,
            url(CLIENT, "/foreign"): refused,
            url(CLIENT, "/absent"): f"{pki.good.folder}/absent.pem cannot be read: no such file or directory",
            url(CLIENT, "/mixed"): f"the certificate in {pki.good.folder}/spare.crt does not belong to the "
            f"private key in {pki.good.folder}/client.key",
            url(NEW, "/1.2"): "TLS handshake failed: tlsv1 alert protocol version",
            url(OLD, "/1.3"): "TLS handshake failed: tlsv1 alert protocol version",
            url(OLD, "/cipher"): "OpenSSL refuses the ciphers 'NO-SUCH-CIPHER'",
            url(TLS, "/down"): f"307 redirects to http://{host}:{HTTP}, without TLS",
        }
        assert set(found) == set(targets) - set(failed)
        assert not proxy.reply("show tls")  # it needs no enableTLS

        wait_until(
            lambda: any(each["path"] == "/up" and each["status"] == 204 for each in nginx.requests), 20
        )
        seen = {(int(each["port"]), each["path"]): each for each in nginx.requests if each["status"] == 204}
        assert {seen[CLIENT, path]["client"] for path in ("/pair", "/key", "/certificate")} == {"CN=client"}
        assert (seen[TLS, "/1.2"]["protocol"], seen[TLS, "/1.2"]["cipher"]) == ("TLSv1.2", CIPHER)
        assert seen[NEW, "/"]["protocol"] == "TLSv1.3"
        assert seen[OLD, "/"]["protocol"] == "TLSv1.2"

        # Files are read again as they change; whom to trust is changed by a reload.
        absent = pki.good.folder / "absent.pem"
        absent.write_bytes((pki.good.folder / "client.pem").read_bytes())
        assert results(proxy)[url(CLIENT, "/absent")] == "ok"
        proxy.change(str(pki.good.certificate), str(pki.stranger.certificate))
        found = results(proxy)
        assert found[url(STRANGER, "/peer")] == "ok"
        assert "unable to get local issuer" in found[url(TLS, "/peer")]
        proxy.change(str(pki.stranger.certificate), "")  # those of the system, which know neither
        found = results(proxy)
        assert all("unable to get local issuer" in found[url(port, "/peer")] for port in (STRANGER, TLS))
        assert found[url(TLS)] == "ok"

        text = proxy.daemon.text
        assert f"{url(OTHER, '/host')} was not notified: TLS handshake failed: the certificate is for" in text
        assert "Traceback" not in text
