"""TLS-PSK in memory, against pyOpenSSL clients that do what ours would not."""

from __future__ import annotations

import gc
import weakref
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from OpenSSL import SSL
from twisted.logger import ILogObserver, LogEvent, globalLogPublisher
from zope.interface import provider

from rtlib import psk

KEY = bytes(range(32))
ALICE = b"sip:alice@example.org@acct"
VERSIONS = [SSL.TLS1_2_VERSION, SSL.TLS1_3_VERSION]


def client_of(identity: bytes, key: bytes, version: int | None = None) -> SSL.Connection:
    context = psk.client_context(identity, key)
    if version is not None:
        context.set_max_proto_version(version)
    return client_side(context)


def client_side(context: SSL.Context) -> SSL.Connection:
    connection = SSL.Connection(context, None)
    connection.set_connect_state()
    return connection


def server_of(keys: Any) -> SSL.Connection:
    connection = SSL.Connection(psk.server_context(keys), None)
    connection.set_accept_state()
    return connection


def shake(client: SSL.Connection, server: SSL.Connection) -> list[BaseException]:
    """Exchange handshake messages until both are done or have failed; give the errors, the first one
    first.
    """
    errors: list[BaseException] = []
    for _ in range(4):
        for side, other in ((client, server), (server, client)):
            try:
                side.do_handshake()
            except SSL.WantReadError:
                pass
            except SSL.Error as error:
                errors.append(error)
            with suppress(SSL.WantReadError):
                other.bio_write(side.bio_read(65536))
    return errors


def alert(client: SSL.Connection, server: SSL.Connection) -> str:
    """Shake hands in vain; give what the server tells the client."""
    errors = shake(client, server)
    texts: list[str] = [reason for error in errors for *_, reason in (error.args[0] or [["", "", ""]])]
    assert (errors and server.get_peer_finished() is None) or "bad record mac" in str(texts), texts
    return next(reason for reason in texts if "alert" in reason)


@pytest.mark.parametrize("version", VERSIONS)
def test_the_right_key_and_who_it_is(version: int) -> None:
    client, server = client_of(ALICE, KEY, version), server_of({ALICE: KEY}.get)
    assert shake(client, server) == []
    assert psk.identity(server) == ALICE
    assert server.get_protocol_version() == version
    server.send(b"hello")
    client.bio_write(server.bio_read(65536))
    assert client.recv(10) == b"hello"


@pytest.mark.parametrize("version", VERSIONS)
def test_forward_secrecy_in_both_versions(version: int) -> None:
    client, server = client_of(ALICE, KEY, version), server_of({ALICE: KEY}.get)
    assert shake(client, server) == []
    # TLS 1.2 names the exchange in its suite; TLS 1.3 with the key alone would have no group.
    suite, group = server.get_cipher_name(), server.get_group_name()
    assert (suite or "").startswith("ECDHE-PSK-") if version == SSL.TLS1_2_VERSION else group == "x25519"


@pytest.mark.parametrize("version", VERSIONS)
def test_unknown_identity_and_wrong_key_look_alike(version: int) -> None:
    keys = {ALICE: KEY}.get
    wrong = alert(client_of(ALICE, b"x" * 32, version), server_of(keys))
    unknown = alert(client_of(b"bob@acct", b"x" * 32, version), server_of(keys))
    assert wrong == unknown


@pytest.mark.parametrize("version", VERSIONS)
def test_the_identity_is_known_only_after_the_proof(version: int) -> None:
    client, server = client_of(ALICE, b"x" * 32, version), server_of({ALICE: KEY}.get)
    with pytest.raises(ValueError):
        psk.identity(server)
    assert shake(client, server) != []
    with pytest.raises(ValueError):
        psk.identity(server)
    with pytest.raises(ValueError):
        psk.identity(client)


@pytest.mark.parametrize("version", VERSIONS)
def test_a_client_without_any_key_is_refused(version: int) -> None:
    context = SSL.Context(SSL.TLS_CLIENT_METHOD)
    context.set_max_proto_version(version)
    assert "handshake failure" in alert(client_side(context), server_of({ALICE: KEY}.get))


def test_a_server_with_a_certificate_in_place_of_the_key_is_refused() -> None:
    server = SSL.Connection(certificate_context(), None)
    server.set_accept_state()
    errors = shake(client_of(ALICE, KEY), server)
    assert any("certificate verify failed" in str(error) for error in errors)


def certificate_context() -> Any:
    import datetime

    from cryptography import x509
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "impostor")])
    start = datetime.datetime.now(datetime.UTC) - datetime.timedelta(hours=1)
    end = start + datetime.timedelta(days=1)
    builder = x509.CertificateBuilder(name, name, key.public_key(), 1, start, end)
    context: Any = SSL.Context(SSL.TLS_SERVER_METHOD)
    context.use_certificate(builder.sign(key, hashes.SHA256()))
    context.use_privatekey(key)
    return context


@pytest.mark.parametrize("suite", [b"PSK-AES128-GCM-SHA256", b"DHE-PSK-CHACHA20-POLY1305", b"ALL"])
def test_other_key_exchanges_are_refused(suite: bytes) -> None:
    context = psk.client_context(ALICE, KEY)
    context.set_max_proto_version(SSL.TLS1_2_VERSION)
    context.set_cipher_list(suite)
    server = server_of({ALICE: KEY}.get)
    errors = shake(client_side(context), server)
    if suite == b"ALL":
        assert errors == [] and (server.get_cipher_name() or "").startswith("ECDHE-PSK-")
    else:
        assert "no shared cipher" in str(errors[0])


def test_a_session_ticket_opens_nothing() -> None:
    """OpenSSL sends one that cannot be switched off; offering it back without the key must not resume."""
    keys = {ALICE: KEY}.get
    context = psk.server_context(keys)
    client_context = psk.client_context(ALICE, KEY)
    client, server = client_side(client_context), SSL.Connection(context, None)
    server.set_accept_state()
    assert shake(client, server) == []
    server.send(b"x")
    client.bio_write(server.bio_read(65536))
    assert client.recv(1) == b"x"
    session = client.get_session()
    assert session is not None
    psk._lib.SSL_CTX_set_psk_client_callback(client_context._context, psk._ffi.NULL)
    again = client_side(client_context)
    again.set_session(session)
    server = SSL.Connection(context, None)
    server.set_accept_state()
    assert shake(again, server) != []


def malformed() -> st.SearchStrategy[bytes]:
    return st.one_of(
        st.binary(min_size=1, max_size=300).filter(lambda data: b"\0" not in data and not readable(data)),
        st.just(b"b" * 256),
        st.just(b"line\nfeed"),
    )


def readable(data: bytes) -> bool:
    try:
        return data.decode().isprintable() and len(data) <= 255
    except UnicodeDecodeError:
        return False


@given(identity=malformed(), version=st.sampled_from(VERSIONS))
def test_malformed_identities_are_never_looked_up(identity: bytes, version: int) -> None:
    asked: list[bytes] = []

    def keys(name: bytes) -> bytes | None:
        asked.append(name)
        return KEY

    context = psk._ClientContext(identity, KEY)  # client_context() would refuse such an identity
    context.set_max_proto_version(version)
    server = server_of(keys)
    assert shake(client_side(context), server) != []
    assert asked == [] and server.get_peer_finished() is None


@pytest.mark.parametrize("version", VERSIONS)
def test_a_failing_lookup_is_logged_and_refused_like_an_unknown_identity(version: int) -> None:
    logged: list[LogEvent] = []

    @provider(ILogObserver)
    def observe(event: LogEvent) -> None:
        logged.append(event)

    def keys(name: bytes) -> bytes | None:
        raise OSError("disk on fire")

    globalLogPublisher.addObserver(observe)
    try:
        failed = alert(client_of(ALICE, KEY, version), server_of(keys))
    finally:
        globalLogPublisher.removeObserver(observe)
    assert failed == alert(client_of(ALICE, KEY, version), server_of({}.get))
    assert [str(event["log_failure"].value) for event in logged if "log_failure" in event] == ["disk on fire"]
    assert KEY.hex() not in repr(logged)


def test_the_cheapest_key_cannot_be_guessed_for_an_unknown_identity() -> None:
    """An empty or zero key must not open an identity that does not exist."""
    for key in (b"\0", bytes(32), b"\xff" * 32):
        assert shake(client_of(b"nobody", key), server_of({}.get)) != []


def test_clients_are_told_what_they_cannot_use() -> None:
    for identity, key in ((b"", KEY), (b"x" * 256, KEY), (b"\xff", KEY), (ALICE, b""), (ALICE, b"x" * 257)):
        with pytest.raises(ValueError, match="TLS-PSK"):
            psk.client_context(identity, key)
    client, server = client_of(b"x" * 255, b"k" * 256), server_of({b"x" * 255: b"k" * 256}.get)
    assert shake(client, server) == [] and psk.identity(server) == b"x" * 255


def test_one_context_serves_many_connections_and_lets_them_go() -> None:
    context = psk.server_context({b"%d" % number: KEY for number in range(20)}.get)
    pairs = []
    for number in range(20):
        server = SSL.Connection(context, None)
        server.set_accept_state()
        pairs.append((client_of(b"%d" % number, KEY), server))
    gc.collect()  # the callbacks must survive with nothing but the contexts holding them
    for client, server in pairs:
        assert shake(client, server) == []
    assert [psk.identity(server) for _, server in pairs] == [b"%d" % number for number in range(20)]
    gone = weakref.ref(server)
    del pairs, client, server
    gc.collect()
    assert gone() is None and isinstance(context, psk.ServerContext) and len(context.identities) == 0


def test_self_test_passes_here_and_names_versions_where_it_cannot(monkeypatch: pytest.MonkeyPatch) -> None:
    psk.self_test()
    monkeypatch.setattr(psk, "_handshake", lambda *_: True)
    with pytest.raises(psk.PskUnavailable, match=r"wrong key succeeded \(pyOpenSSL .*, cryptography"):
        psk.self_test()
    monkeypatch.undo()
    monkeypatch.setattr(psk, "_lib", object())
    with pytest.raises(psk.PskUnavailable, match="SSL_CTX_set1_curves_list"):
        psk.self_test()
