"""OpenSSL's own client gets in with the right key, by TLS 1.3 and 1.2, and with nothing else."""

import re
import subprocess
from collections.abc import Iterator

import pytest

from crs.client.testing import ACCOUNT, CrsServer

pytestmark = pytest.mark.peer("openssl")

TLS13 = ("-tls1_3",)
TLS12 = ("-tls1_2", "-cipher", "ECDHE-PSK-CHACHA20-POLY1305")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CrsServer]:
    with CrsServer(tmp_path_factory.mktemp("crs")) as running:
        yield running


def s_client(server: CrsServer, *options: str, sends: bytes = b"") -> str:
    """What `openssl s_client` prints about its handshake."""
    command = ["openssl", "s_client", "-connect", str(server.address), *options]
    done = subprocess.run(command, input=sends, capture_output=True, timeout=10)
    return (done.stdout + done.stderr).decode(errors="replace")


def psk(server: CrsServer, identity: str = "", key: bytes = b"") -> tuple[str, ...]:
    credentials = server.credentials("+4470")
    return (
        "-psk_identity",
        identity or f"+4470@{ACCOUNT}",
        "-psk",
        (key or credentials.key).hex(),
    )


def alert(output: str) -> str:
    found = re.search(r"SSL alert number (\d+)", output)
    return found.group(1) if found else "none"


@pytest.mark.parametrize(
    ("version", "protocol", "cipher"),
    [
        (TLS13, "TLSv1.3", "TLS_AES_128_GCM_SHA256"),
        (TLS12, "TLSv1.2", "ECDHE-PSK-CHACHA20-POLY1305"),
        (("-tls1_2", "-cipher", "ECDHE-PSK-AES128-CBC-SHA256"), "TLSv1.2", "ECDHE-PSK-AES128-CBC-SHA256"),
    ],
    ids=["1.3", "1.2", "1.2-cbc"],
)
def test_the_right_key_opens(server: CrsServer, version: tuple[str, ...], protocol: str, cipher: str) -> None:
    suites = ("-ciphersuites", cipher) if protocol == "TLSv1.3" else ()
    output = s_client(server, *version, *suites, *psk(server))
    assert alert(output) == "none", output
    # OpenSSL calls TLS 1.3 with an external PSK reused, and names the version that a suite is from.
    assert re.search(rf"^(New|Reused), TLSv1\.\d, Cipher is {re.escape(cipher)}$", output, re.M), output
    assert protocol in output
    assert "no peer certificate available" in output
    assert "Server Temp Key: X25519" in output or "Peer Temp Key: X25519" in output, "forward secrecy"


@pytest.mark.parametrize("version", [TLS13, TLS12], ids=["1.3", "1.2"])
def test_strangers_are_refused_alike(server: CrsServer, version: tuple[str, ...]) -> None:
    """A wrong key, an unknown account, an unknown client and an odd identity get the same alert."""
    key = server.credentials("+4470").key
    strangers = {
        "wrong key": psk(server, key=bytes(31) + b"\1"),
        "unknown account": psk(server, "+4470@nobody", key),
        "another client's key": psk(server, f"+4471@{ACCOUNT}", key),
        "a key cut short": psk(server, key=key[:16]),
    }
    alerts = {name: alert(s_client(server, *version, *options)) for name, options in strangers.items()}
    assert "none" not in alerts.values(), alerts
    assert len(set(alerts.values())) == 1, alerts


@pytest.mark.parametrize(
    "options",
    [
        ("-tls1_3",),
        ("-tls1_2",),
        ("-tls1_2", "-cipher", "PSK-AES128-GCM-SHA256", "PSK"),
        ("-tls1_2", "-cipher", "DHE-PSK-AES128-GCM-SHA256", "PSK"),
        ("-tls1_2", "-cipher", "RSA-PSK-AES128-GCM-SHA256", "PSK"),
        ("-tls1_1", "-cipher", "ALL:@SECLEVEL=0"),
        ("-tls1_3", "-allow_no_dhe_kex", "-groups", "X448", "PSK"),
    ],
    ids=["certificate-1.3", "certificate-1.2", "plain", "dhe", "rsa", "tls-1.1", "no-common-group"],
)
def test_everything_else_is_refused(server: CrsServer, options: tuple[str, ...]) -> None:
    """Clients that want a certificate, no Diffie-Hellman, an old version or an odd group get no session."""
    words = tuple(word for word in options if word != "PSK")
    output = s_client(server, *words, *(psk(server) if "PSK" in options else ()))
    assert "Cipher is (NONE)" in output, output


@pytest.mark.parametrize("version", [TLS13, TLS12], ids=["1.3", "1.2"])
def test_no_session_ticket_is_sent(server: CrsServer, version: tuple[str, ...]) -> None:
    """Nor is there a session to resume. `openssl s_client -msg` names each handshake message that comes."""
    output = s_client(server, "-msg", "-ign_eof", *version, *psk(server), sends=b"GET / HTTP/1.1\r\n\r\n")
    # The server answers behind the handshake, and closes: what it had to say has come by then.
    assert "HTTP/1.1 400" in output, output
    received = re.findall(r"^<<< .+ Handshake .+, (\w+)$", output, re.M)
    assert "Finished" in received
    assert "NewSessionTicket" not in received


def test_the_server_is_well_afterwards(server: CrsServer) -> None:
    assert "Traceback" not in server.daemon.output
    output = s_client(server, *TLS13, *psk(server))
    assert alert(output) == "none"
