"""Sections: found by place and name, verified as they say, read again when their files change."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from OpenSSL import SSL

from haproxy.testing.authority import Authority
from haproxy.tls.context import Accepting, Connecting, reason_of
from haproxy.tls.credential import load, make_self_signed
from haproxy.tls.error import TlsError
from haproxy.tls.identity import names_of
from haproxy.tls.section import Role, TlsSection
from haproxy.tls.store import TlsStore

DAY = 86400.0


class Hall:
    """An authority, and sections that use what it signed."""

    def __init__(self, folder: Path) -> None:
        self.authority = Authority(folder)
        self.folder = folder
        for name in ("server", "client", "other"):
            self.authority.issue(name, [f"{name}.example", "192.0.2.1"])

    def section(self, role: Role, domain: str = "default", pair: str = "", **more: Any) -> TlsSection:
        path = self.folder / f"{pair or role}.pem"
        more.setdefault("ca_list", self.authority.certificate)
        return TlsSection(domain, role, path, path, **more)

    def store(self, *sections: TlsSection) -> TlsStore:
        roles: tuple[Role, ...] = ("client", "server")
        given = {(each.domain, each.role) for each in sections}
        defaults = [self.section(role) for role in roles if ("default", role) not in given]
        return TlsStore([*defaults, *sections])


@pytest.fixture
def hall(tmp_path: Path) -> Hall:
    return Hall(tmp_path / "pki")


def shake(accepting: Accepting, connecting: Connecting) -> tuple[str, str, list[str]]:
    """What server and client say of a handshake (empty where it succeeded), and whom the client saw."""
    server, client = accepting.serverConnectionForTLS(None), connecting.clientConnectionForTLS(None)
    server.set_accept_state()
    client.set_connect_state()
    ends = {"server": server, "client": client}
    said = dict.fromkeys(ends, "")
    done: set[str] = set()
    for _ in range(10):
        for name, end in ends.items():
            if name not in done:
                try:
                    end.do_handshake()
                    done.add(name)
                except SSL.WantReadError:
                    pass
                except SSL.Error as error:
                    said[name] = reason_of(error, end)
                    done.add(name)
            other = client if end is server else server
            try:
                other.bio_write(end.bio_read(65536))
            except SSL.WantReadError:
                continue
    if not any(said.values()):  # the alert of a server that refuses a client's certificate comes late
        try:
            client.recv(1)
        except SSL.WantReadError:
            pass
        except SSL.Error as error:
            said["client"] = reason_of(error, client)
    seen = client.get_peer_certificate(as_cryptography=True)
    return said["server"], said["client"], names_of(seen) if seen is not None else []


def meet(store: TlsStore, name: str = "server.example") -> tuple[str, str, list[str]]:
    return shake(store.server("192.0.2.1", 5061), store.client("192.0.2.1", 5061, name))


def test_by_default_nobody_is_verified(hall: Hall, tmp_path: Path) -> None:
    make_self_signed(tmp_path / "own.pem", ["proxy.example", "192.0.2.9"], time.time())
    assert (tmp_path / "own.pem").stat().st_mode & 0o777 == 0o600
    own = replace(hall.section("server"), key=tmp_path / "own.pem", certificate=tmp_path / "own.pem")
    assert meet(hall.store(own), "anybody.example") == ("", "", ["proxy.example", "192.0.2.9"])


@pytest.mark.parametrize("verify", ["on", "optional", "optional_no_ca"])
def test_a_client_that_verifies(hall: Hall, verify: Any) -> None:
    store = hall.store(hall.section("client", verify=verify))
    assert meet(store)[:2] == ("", "")
    assert meet(store, "wrong.example")[1] == (
        "the certificate is for server.example, 192.0.2.1, not for wrong.example"
    )
    assert meet(store, "")[:2] == ("", "")  # the certificate names the address


def test_a_client_that_does_not_trust_the_authority(hall: Hall, tmp_path: Path) -> None:
    stranger = Authority(tmp_path / "stranger")
    store = hall.store(hall.section("client", verify="on", ca_list=stranger.certificate))
    assert "unable to get local issuer certificate" in meet(store)[1]


def test_a_hashed_directory_of_authorities(hall: Hall, tmp_path: Path) -> None:
    folder = tmp_path / "hashed"
    folder.mkdir()
    (folder / "ca.pem").write_bytes(hall.authority.certificate.read_bytes())
    store = hall.store(hall.section("client", verify="on", ca_list=None, ca_path=folder))
    assert "local issuer" in meet(store)[1]  # there are no hash links yet
    assert os.system(f"openssl rehash {folder}") == 0
    store.replace([each.section for each in store])
    assert meet(store)[:2] == ("", "")


@pytest.mark.parametrize(
    ("verify", "without", "stranger"),
    [
        ("default", "", ""),
        ("off", "", ""),
        ("on", "peer did not return a certificate", "unable to get local issuer certificate"),
        ("optional", "", "unable to get local issuer certificate"),
        ("optional_no_ca", "", ""),
    ],
)
def test_a_server_that_verifies(hall: Hall, tmp_path: Path, verify: Any, without: str, stranger: str) -> None:
    store = hall.store(hall.section("server", verify=verify))
    assert meet(store)[:2] == ("", "")
    foreign = Authority(tmp_path / "foreign")
    foreign.issue("client")
    other = hall.store(replace(hall.section("client"), key=foreign.folder / "client.key",
                               certificate=foreign.folder / "client.crt"))  # fmt: skip
    said = shake(store.server("192.0.2.1", 5061), other.client("192.0.2.1", 5061))
    assert stranger in said[0]
    assert bool(said[0]) == bool(stranger)
    bare = SSL.Context(SSL.TLS_METHOD)

    class Bare(Connecting):
        def clientConnectionForTLS(self, tlsProtocol: object) -> SSL.Connection:
            return SSL.Connection(bare, None)

    said = shake(store.server("192.0.2.1", 5061), Bare(next(iter(other)), ()))
    assert without in said[0]
    assert bool(said[0]) == bool(without)


def test_sections_by_place_and_name(hall: Hall) -> None:
    store = hall.store(
        hall.section("server", "192.0.2.1:5061", "client"),
        hall.section("server", "192.0.2.2", "other"),
        hall.section("server", "named.example", "other"),
    )
    seen = {
        place: shake(store.server(*place), store.client("192.0.2.1", 5061, "x.example"))[2][0]
        for place in (("192.0.2.1", 5061), ("192.0.2.1", 5062), ("192.0.2.2", 7))
    }
    assert seen == {
        ("192.0.2.1", 5061): "client.example",
        ("192.0.2.1", 5062): "server.example",
        ("192.0.2.2", 7): "other.example",
    }
    asked = shake(store.server("192.0.2.1", 5061), store.client("192.0.2.1", 5061, "named.example"))
    assert asked[2][0] == "other.example"


def test_the_section_of_a_server_name_verifies_as_it_says(hall: Hall, tmp_path: Path) -> None:
    foreign = Authority(tmp_path / "foreign")
    store = hall.store(hall.section("server", "strict.example", verify="on", ca_list=foreign.certificate))
    assert meet(store)[:2] == ("", "")
    assert "unable to get local issuer" in meet(store, "strict.example")[0]


def test_a_client_section_for_one_destination(hall: Hall) -> None:
    store = hall.store(
        hall.section("client", "192.0.2.1:5061", verify="on"),
        hall.section("client", "b.example", verify="on"),
    )
    server = store.server("192.0.2.7", 5061)
    assert "not for x.example" in shake(server, store.client("192.0.2.1", 5061, "x.example"))[1]
    assert "not for b.example" in shake(server, store.client("192.0.2.9", 5061, "b.example"))[1]
    assert shake(server, store.client("192.0.2.9", 5061, "x.example"))[1] == ""


def test_revoked(hall: Hall) -> None:
    crl = hall.authority.revoke("other")
    store = hall.store(hall.section("server", verify="on", crl=crl))
    assert meet(store)[:2] == ("", "")
    hall.authority.revoke("client")
    store.apply(store.changed())
    assert "certificate revoked" in meet(store)[0]


def test_expired(hall: Hall) -> None:
    hall.authority.issue("server", ["server.example"], days=-1)
    store = hall.store(hall.section("client", verify="on"))
    assert "certificate has expired" in meet(store)[1]


class Branch:
    """A server whose certificate is from an authority below an authority."""

    def __init__(self, hall: Hall) -> None:
        self.hall = hall
        self.middle = Authority(hall.folder / "middle", above=hall.authority)
        self.middle.issue("branch", ["server.example"])
        pair = self.middle.folder / "branch.pem"
        self.server = replace(hall.section("server"), key=pair, certificate=pair)

    def seen(self, **more: Any) -> str:
        """What a client that verifies says."""
        return meet(self.hall.store(self.server, self.hall.section("client", verify="on", **more)))[1]


@pytest.fixture
def branch(hall: Hall) -> Branch:
    return Branch(hall)


def test_chains_may_not_be_too_long(hall: Hall, branch: Branch) -> None:
    assert meet(hall.store(hall.section("client", verify="on", depth=0)))[:2] == ("", "")
    assert branch.seen(depth=1) == ""
    assert branch.seen(depth=0) == "the chain of certificates is longer than 0"


def test_revoked_anywhere_in_the_chain(hall: Hall, branch: Branch) -> None:
    def lists(*texts: bytes) -> Path:
        path = hall.folder / "all.crl"
        path.write_bytes(b"".join(texts))
        return path

    below, above = branch.middle.revoke().read_bytes(), hall.authority.revoke().read_bytes()
    assert branch.seen(crl=lists(below)) == ""  # who has no list of those above does without
    assert branch.seen(crl=lists(below, above)) == ""
    assert "unable to get certificate CRL" in branch.seen(crl=lists(above))
    revoked = hall.authority.revoke("middle").read_bytes()
    assert branch.seen(crl=lists(below, revoked)) == "certificate revoked (CN=CA of middle)"
    assert branch.seen(crl=lists(branch.middle.revoke("branch").read_bytes())).startswith(
        "certificate revoked"
    )
    with pytest.raises(TlsError, match="holds no readable certificate revocation list"):
        branch.seen(crl=lists(b"-----BEGIN CERTIFICATE-----"))


def test_a_section_by_name_has_its_own_method_depth_and_ciphers(hall: Hall, branch: Branch) -> None:
    def said(client: TlsSection, **more: Any) -> str:
        named = hall.section("server", "named.example", **more)
        return meet(hall.store(named, client), "named.example")[0]

    old = hall.section("client", method="TLSv1.2")
    assert said(old) == ""
    assert said(old, method="TLSv1.3") == (
        "TLSv1.2 is not of the method TLSv1.3 of TLS section named.example server"
    )
    assert said(hall.section("client"), method="TLSv1.2").startswith("TLSv1.3 is not of the method TLSv1.2")
    assert said(old, ciphers="ECDHE-ECDSA-AES256-GCM-SHA384") == ""
    narrow = replace(old, ciphers="ECDHE-ECDSA-AES128-GCM-SHA256")
    assert said(narrow, ciphers="ECDHE-ECDSA-AES256-GCM-SHA384") == "no shared cipher"
    pair = branch.middle.folder / "branch.pem"
    deep = replace(hall.section("client"), key=pair, certificate=pair)
    assert said(deep, verify="on") == ""
    assert said(deep, verify="on", depth=0) == "the chain of certificates is longer than 0"


def test_suites_of_both_versions_in_one_list(hall: Hall) -> None:
    both = "TLS_AES_128_GCM_SHA256:ECDHE-ECDSA-AES128-GCM-SHA256"
    for mine, others, method in (
        (both, "TLS_AES_256_GCM_SHA384", "TLSv1.3"),
        (both, "ECDHE-ECDSA-AES256-GCM-SHA384", "TLSv1.2"),
    ):
        store = hall.store(
            hall.section("server", ciphers=mine), hall.section("client", method=method, ciphers=others)
        )
        assert meet(store)[0] == "no shared cipher"
        store = hall.store(hall.section("server", ciphers=mine), hall.section("client", method=method))
        assert meet(store)[0] == ""


def test_what_works_but_should_be_known(hall: Hall, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (hall.folder / "server.pem").chmod(0o644)
    server = hall.section("server", verify="on", ca_list=None, ca_path=tmp_path / "empty")
    store = hall.store(server, hall.section("client", crl=hall.authority.revoke()))
    found = {(each.section.role, each.text) for each in store.reminders(time.time())}
    assert found == {
        ("server", f"everybody on this machine may use the private key in {hall.folder}/server.pem"),
        ("server", f"{tmp_path}/empty has no hash links (c_rehash): every certificate is refused"),
        ("client", "tlsCrl has no effect without tlsVerify"),
    }
    (hall.folder / "server.pem").chmod(0o640)
    store.apply(store.changed())
    assert not any("everybody" in each.text for each in store.reminders(time.time()))


@pytest.mark.parametrize(
    ("method", "spoken"),
    [("TLSv1.2", "TLSv1.2"), ("TLSv1.2+", "TLSv1.3"), ("TLSv1.3", "TLSv1.3"), ("TLSv1.1+", "TLSv1.3")],
)
def test_versions(hall: Hall, method: str, spoken: str) -> None:
    store = hall.store(hall.section("server", method=method))
    server = store.server("192.0.2.1", 5061).serverConnectionForTLS(None)
    client = store.client("192.0.2.1", 5061).clientConnectionForTLS(None)
    server.set_accept_state()
    client.set_connect_state()
    for one, other in ((client, server), (server, client)) * 4:
        with suppress(SSL.WantReadError):
            one.do_handshake()
        with suppress(SSL.WantReadError):
            other.bio_write(one.bio_read(65536))
    assert client.get_protocol_version_name() == spoken


def test_versions_that_do_not_meet(hall: Hall) -> None:
    store = hall.store(hall.section("server", method="TLSv1.3"), hall.section("client", method="TLSv1.2"))
    assert meet(store)[0]


def spoil_key(hall: Hall) -> TlsSection:
    return replace(hall.section("server"), key=hall.folder / "other.key")


def spoil_missing(hall: Hall) -> TlsSection:
    return replace(hall.section("server"), key=hall.folder / "none.key")


def spoil_content(hall: Hall) -> TlsSection:
    (hall.folder / "server.pem").write_text("nothing")
    return hall.section("server")


def spoil_ciphers(hall: Hall) -> TlsSection:
    return hall.section("server", ciphers="NO-SUCH-CIPHER")


def spoil_crl(hall: Hall) -> TlsSection:
    return hall.section("server", verify="on", crl=hall.folder / "none.crl")


def spoil_ca_list(hall: Hall) -> TlsSection:
    return hall.section("server", verify="on", ca_list=hall.folder / "server.key")


def spoil_ca_path(hall: Hall) -> TlsSection:
    return hall.section("server", verify="on", ca_list=None, ca_path=hall.folder / "none")


@pytest.mark.parametrize(
    ("spoil", "text"),
    [
        (spoil_key, r"certificate in .*server.pem does not belong to the private key in .*other.key"),
        (spoil_missing, r"none.key cannot be read: no such file or directory"),
        (spoil_content, r"server.pem holds no readable private key in PEM form"),
        (spoil_ciphers, r"refuses the ciphers 'NO-SUCH-CIPHER'"),
        (spoil_crl, r"none.crl cannot be read: no such file"),
        (spoil_ca_list, r"server.key holds no readable certificate"),
        (spoil_ca_path, r"tlsCaPath .*none is not a directory"),
    ],
)
def test_what_is_wrong_is_named(hall: Hall, spoil: Callable[[Hall], TlsSection], text: str) -> None:
    with pytest.raises(TlsError, match=f"TLS section default server: .*{text}"):
        hall.store(spoil(hall))


def test_changed_files_are_used_for_new_connections(hall: Hall) -> None:
    store = hall.store()
    server = store.server("192.0.2.1", 5061)
    assert store.changed() == []
    hall.authority.issue("server", ["new.example"])
    updates = store.changed()
    assert shake(server, store.client("192.0.2.1", 5061))[2][0] == "server.example"
    store.apply(updates)
    assert shake(server, store.client("192.0.2.1", 5061))[2] == ["new.example"]
    assert store.changed() == []


def test_bad_new_files_leave_the_old_ones_in_use(hall: Hall) -> None:
    store = hall.store()
    section = hall.section("server")
    (hall.folder / "server.pem").write_text("half a fi")
    store.apply(store.changed())
    assert meet(store)[2][0] == "server.example"
    assert "no readable private key" in store.problem(section)
    assert store.changed() == []  # said once
    hall.authority.issue("server", ["new.example"])
    store.apply(store.changed())
    assert meet(store)[2] == ["new.example"]
    assert store.problem(section) == ""


def test_a_reload_is_whole_or_nothing(hall: Hall) -> None:
    store = hall.store()
    with pytest.raises(TlsError):
        store.replace([hall.section("client"), spoil_key(hall)])
    assert meet(store)[2][0] == "server.example"


@pytest.mark.parametrize(
    ("days", "text"),
    [(60.0, ""), (10.0, "expires in 9 days"), (-2.0, "has expired on")],
)
def test_reminders(hall: Hall, days: float, text: str) -> None:
    hall.authority.issue("server", ["server.example"], days=days)
    store = hall.store()
    found = [each.text for each in store.reminders(time.time()) if each.section.role == "server"]
    assert len(found) == (1 if text else 0)
    assert all(text in each for each in found)
    assert any("not valid before" in each.text for each in store.reminders(time.time() - 40 * DAY))


def test_an_old_revocation_list_is_named(hall: Hall) -> None:
    crl = hall.authority.revoke(days=-1)
    store = hall.store(hall.section("server", verify="on", crl=crl))
    assert "the revocation list of CN=CA of pki is out of date" in store.reminders(time.time())[0].text
    assert "CRL has expired" in meet(store)[0]


def test_intermediates_are_sent_along(hall: Hall) -> None:
    both = hall.folder / "both.crt"
    both.write_bytes((hall.folder / "server.crt").read_bytes() + hall.authority.certificate.read_bytes())
    assert len(load(hall.folder / "server.key", both).chain) == 2


def test_the_end_of_a_chain_is_that_of_its_first_to_end(hall: Hall, branch: Branch) -> None:
    loaded = next(each for each in hall.store(branch.server) if each.section.role == "server")
    leaf, middle = loaded.credential.chain
    assert loaded.end == leaf.not_valid_after_utc < middle.not_valid_after_utc
    later = leaf.not_valid_after_utc.timestamp() + 10 * DAY
    texts = [
        each.text for each in hall.store(branch.server).reminders(later) if each.section.role == "server"
    ]
    assert texts[0].startswith("the certificate CN=branch has expired on")
    assert texts[1].startswith("the certificate CN=CA of middle expires in ")
