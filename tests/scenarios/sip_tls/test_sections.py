"""Every key of a TLS section shows its effect to openssl s_client and to servers of ours (guide 9.2)."""

from __future__ import annotations

import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from haproxy.testing.authority import Authority
from haproxy.testing.call import Refused
from haproxy.testing.genproxy import TLS_PORT, Genproxy, own_host
from haproxy.testing.openssl import s_client
from haproxy.testing.phone import Phone
from haproxy.testing.stage import SUBSCRIBERS, Stage, play
from haproxy.tls.section import TlsSection
from haproxy.tls.store import TlsStore
from rtlib.address import join
from rtlib.testing.daemon import wait_until

CIPHER = "ECDHE-ECDSA-AES256-GCM-SHA384"
OTHER_CIPHER = "ECDHE-ECDSA-AES128-GCM-SHA256"
NONE, GOOD, REVOKED, BELOW, STRANGER = "", "good", "revoked", "below", "stranger"

LET_IN = {
    # SNI: which clients are let in, by their certificate (guide 9.2.6-9.2.10)
    "default.example": {NONE: True, STRANGER: True},
    "off.example": {NONE: True, STRANGER: True},
    "on.example": {NONE: False, GOOD: True, REVOKED: True, BELOW: True, STRANGER: False},
    "optional.example": {NONE: True, GOOD: True, STRANGER: False},
    "no-ca.example": {NONE: True, STRANGER: True},
    "depth.example": {GOOD: True, BELOW: False},
    "path.example": {GOOD: False, STRANGER: True},
    "list.example": {GOOD: True, STRANGER: False},
    "crl.example": {GOOD: True, REVOKED: False},
}


class Pki:
    """Two authorities, one below the first, a hashed directory of the second, and a revocation list."""

    def __init__(self, folder: Path, host: str) -> None:
        self.good, self.stranger = Authority(folder / "pki"), Authority(folder / "stranger")
        self.folder = self.good.folder
        below = Authority(folder / "below", above=self.good)
        for authority, name in (
            (self.good, GOOD),
            (self.good, REVOKED),
            (below, BELOW),
            (self.stranger, STRANGER),
        ):
            authority.issue(name)
        self.certificates = {
            NONE: None,
            GOOD: self.folder / f"{GOOD}.pem",
            REVOKED: self.folder / f"{REVOKED}.pem",
            BELOW: below.folder / f"{BELOW}.pem",
            STRANGER: self.stranger.folder / f"{STRANGER}.pem",
        }
        self.good.issue("proxy", ["proxy.example", host])
        self.good.issue("place", [host])
        self.crl = self.good.revoke(REVOKED)
        self.hashed = folder / "hashed"
        self.hashed.mkdir()
        (self.hashed / "ca.pem").write_bytes(self.stranger.certificate.read_bytes())
        subprocess.run(["openssl", "rehash", self.hashed], check=True, timeout=20)

    def section(self, domain: str, role: str = "server", **more: Any) -> dict[str, Any]:
        """A section of genproxy.toml."""
        trusted = {} if "tlsCaPath" in more else {"tlsCaList": str(self.good.certificate)}
        return {"tlsDomain": domain, "tlsRole": role, "tlsPrivateKey": "proxy.pem", **trusted, **more}

    def sections(self, host: str) -> list[dict[str, Any]]:
        """All those that the tests below ask for by name."""
        hashed = {"tlsCaPath": str(self.hashed)}
        return [
            self.section("default", tlsPrivateKey="proxy.key", tlsCertificate="proxy.crt"),
            self.section(join(host, TLS_PORT), tlsPrivateKey="place.pem"),
            self.section("default.example", tlsVerify="default"),
            self.section("off.example", tlsVerify="off"),
            self.section("on.example", tlsVerify="on"),
            self.section("optional.example", tlsVerify="optional"),
            self.section("no-ca.example", tlsVerify="optional_no_ca"),
            self.section("depth.example", tlsVerify="on", tlsVerifyDepth=0),
            self.section("path.example", tlsVerify="on", **hashed),
            self.section("list.example", tlsVerify="on", tlsCaList=str(self.good.certificate), **hashed),
            self.section("crl.example", tlsVerify="on", tlsCrl=str(self.crl)),
            self.section("old.example", method="TLSv1.2"),
            self.section("new.example", method="TLSv1.3"),
            self.section("cipher.example", tlsCipherList=CIPHER),
        ]

    def proxy(self, folder: Path, host: str, *sections: dict[str, Any]) -> Genproxy:
        """A proxy with these sections."""
        return Genproxy(
            folder / "proxy",
            host=host,
            settings={
                "system": {"tlsKeyPath": str(self.folder)},
                "proxy": {"enableTLS": True, "allowList": ["127.0.0.0/8"]},
            },
            subscribers=SUBSCRIBERS,
            tables={"tls": sections},
        )


def options_of(host: str) -> str:
    """An OPTIONS that is answered."""
    return (
        f"OPTIONS sip:{host}:5061;transport=tls SIP/2.0\r\n"
        f"Via: SIP/2.0/TLS x.invalid;branch=z9hG4bK{time.monotonic_ns()}\r\n"
        f"From: <sip:a@x.invalid>;tag=1\r\nTo: <sip:{host}>\r\nCall-ID: {time.monotonic_ns()}\r\n"
        "CSeq: 1 OPTIONS\r\nMax-Forwards: 9\r\nContent-Length: 0\r\n\r\n"
    )


def seen(host: str, *options: str | Path) -> str:
    """What s_client prints until there is an answer, or the connection has ended."""
    with s_client(host, TLS_PORT, *options) as client:
        return client.ask(options_of(host), "SIP/2.0 200")


def let_in(text: str) -> bool:
    return "SIP/2.0 200" in text


@pytest.mark.peer("openssl")
def test_server_sections(tmp_path: Path) -> None:
    host = own_host()
    pki = Pki(tmp_path, host)

    def ask(name: str, certificate: str = NONE, *more: str) -> str:
        path = pki.certificates[certificate]
        shown = () if path is None else ("-cert", path, "-cert_chain", path)
        return seen(host, "-servername", name, *shown, *more)

    with pki.proxy(tmp_path, host, *pki.sections(host)) as proxy:
        found = {name: {each: let_in(ask(name, each)) for each in row} for name, row in LET_IN.items()}
        assert found == LET_IN
        refused = sum(not good for row in LET_IN.values() for good in row.values())
        wait_until(lambda: proxy.metric("offences_total", 'kind="tls"') == refused, 10)

        # tlsDomain, tlsCertificate: the section of the address, unless a name is asked for.
        assert "CN = place" in seen(host, "-noservername")
        assert "CN = proxy" in ask("off.example")
        # method
        for name, version, good in (
            ("old.example", "-tls1_2", True),
            ("old.example", "-tls1_3", False),
            ("new.example", "-tls1_2", False),
            ("new.example", "-tls1_3", True),
        ):
            assert let_in(ask(name, NONE, version)) is good, (name, version)
        # tlsCipherList
        assert CIPHER in ask("cipher.example", NONE, "-tls1_2")
        assert not let_in(ask("cipher.example", NONE, "-tls1_2", "-cipher", OTHER_CIPHER))
        assert OTHER_CIPHER in ask("off.example", NONE, "-tls1_2", "-cipher", OTHER_CIPHER)

        # tlsCrl, read again: whoever is connected stays, and is not let in again.
        path = pki.certificates[GOOD]
        assert path is not None
        with s_client(host, TLS_PORT, "-servername", "crl.example", "-cert", path) as client:
            assert let_in(client.ask(options_of(host), "SIP/2.0 200"))
            pki.good.revoke(GOOD)
            wait_until(lambda: not let_in(ask("crl.example", GOOD)), 30)
            before = client.text.count("SIP/2.0 200")
            assert client.ask(options_of(host), "SIP/2.0 200").count("SIP/2.0 200") == before + 1
        assert "Traceback" not in proxy.daemon.text


def test_client_sections(tmp_path: Path) -> None:
    host = own_host()
    pki = Pki(tmp_path, host)
    sections = [pki.section("default"), pki.section("default", "client")]
    far: dict[str, tuple[str, str, str]] = {}
    """Address of a server: its certificate, what it is asked to prove, what the log says of it."""

    def add(pair: str, verify: str, words: str = "", names: str = "", **more: Any) -> None:
        address = own_host()
        authority = pki.stranger if pair == STRANGER else pki.good
        authority.issue(f"far{len(far)}", [names or address], days=-2 if pair == "expired" else 60)
        if pair == REVOKED:
            pki.good.revoke(f"far{len(far)}")
        far[address] = str(authority.folder / f"far{len(far)}.pem"), verify, words
        crl = {"tlsCrl": str(pki.crl)} if verify != "off" else {}
        sections.append(pki.section(address, "client", tlsVerify=verify, **(crl | more)))

    for verify in ("on", "optional", "optional_no_ca"):
        add(GOOD, verify)
        add(GOOD, verify, "the certificate is for far.example", "far.example")
    add(STRANGER, "on", "unable to get local issuer certificate")
    add(STRANGER, "on", tlsCaPath=str(pki.hashed), tlsCrl=str(pki.stranger.revoke()))
    add(REVOKED, "on", "certificate revoked")
    add("expired", "on", "certificate has expired")
    for verify in ("default", "off"):
        add(STRANGER, verify, names="far.example")

    async def story(stage: Stage) -> None:
        (genesis,) = await stage.registered("genesis_a")
        for address, (pair, _, words) in far.items():
            end = server(stage, address, Path(pair))
            uri = f"sips:far@{join(*end.address)}"
            if words:
                with pytest.raises(Refused, match="500"):
                    await stage.within(genesis.call(uri))
            else:
                call, answered = await stage.connect(genesis, uri, end)
                await stage.hang_up(answered, call)

    def server(stage: Stage, address: str, pair: Path) -> Phone:
        """A server that wants a certificate, which has to be of the first authority."""
        verifying = TlsSection(
            "default", "server", pair, pair, verify="on", ca_list=pki.good.certificate, crl=None
        )
        tls = TlsStore([TlsSection("default", "client", pair, pair), verifying])
        phone = Phone(
            stage.reactor, "far", (host, TLS_PORT), host=address, transport="tls", answering=True, tls=tls
        )
        stage.keep(phone)
        return phone

    with pki.proxy(tmp_path, host, *sections) as proxy:
        play(proxy, story, 90)
        for address, (_, _, words) in far.items():
            assert (f"tls from {address}" in proxy.daemon.text) is bool(words)
            if words:
                line = next(each for each in proxy.daemon.text.splitlines() if f"tls from {address}" in each)
                assert words in line
        assert "Traceback" not in proxy.daemon.text
