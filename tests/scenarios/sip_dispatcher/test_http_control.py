"""curl reads and sets the primary dispatch set over HTTP (guide 7.1.24 to 7.1.29)."""

from __future__ import annotations

import json
import re
import socket
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from hashlib import md5
from pathlib import Path

import pytest

from haproxy.testing.authority import Authority
from haproxy.testing.genproxy import Genproxy, Settings, own_host
from haproxy.testing.stage import SUBSCRIBERS, Stage, play
from rtlib.testing.daemon import DaemonError, wait_until

pytestmark = pytest.mark.peer("curl")

USER, REALM, PASSWORD = "operator", "sip.example.com", "control secret"
TCP, TLS = 8080, 8443


class Curl:
    """What curl gets."""

    def __init__(self, *arguments: str) -> None:
        done = subprocess.run(
            ["curl", "-sS", "--max-time", "20", "--dump-header", "-", "--verbose", *arguments],
            capture_output=True, text=True, check=False, timeout=30,
        )  # fmt: skip
        head, _, self.body = done.stdout.replace("\r", "").rpartition("\n\n")
        self.error = done.stderr
        self.statuses = [int(status) for status in re.findall(r"^HTTP/1\.1 (\d+)", head, re.MULTILINE)]
        self.authorization = re.findall(r"^> (Authorization: [^\r\n]*)", done.stderr, re.MULTILINE)
        self.code = done.returncode

    @property
    def primary(self) -> int:
        """The primary set that a JSON reply tells."""
        return int(json.loads(self.body)["primary"])


def proxy(folder: Path, **keys: str) -> Genproxy:
    """A proxy with both kinds of sockets; the TLS one has a certificate for its address."""
    host = own_host()
    authority = Authority(folder / "ca")
    key, certificate = authority.issue("server", [host])
    settings: Settings = {
        "system": {"tlsKeyPath": str(authority.folder)},
        "proxy": {"dispatchListenSock": [f"{host}:{TCP}", f"tls:{host}:{TLS}"], **keys},
    }
    section = {
        "tlsDomain": "default",
        "tlsRole": "server",
        "tlsPrivateKey": key,
        "tlsCertificate": certificate,
    }
    return Genproxy(
        folder / "proxy", host=host, settings=settings, subscribers=SUBSCRIBERS, tables={"tls": [section]}
    )


@pytest.fixture
def guarded(tmp_path: Path) -> Iterator[Genproxy]:
    with proxy(
        tmp_path, dispatchAuthUser=USER, dispatchAuthRealm=REALM, dispatchAuthPassword=PASSWORD
    ) as running:
        yield running


def digest(url: str, *arguments: str, user: str = USER, word: str = PASSWORD) -> Curl:
    return Curl("--digest", "--user", f"{user}:{word}", *arguments, url)


def test_get_and_post_over_tcp_and_tls_and_what_it_does_to_calls(tmp_path: Path, guarded: Genproxy) -> None:
    plain, secure = f"http://{guarded.host}:{TCP}/", f"https://{guarded.host}:{TLS}/"
    trust = ("--cacert", str(tmp_path / "ca" / "ca.pem"))

    async def story(stage: Stage) -> None:
        first, second, phone = await stage.registered("genesis_a", "genesis_b", "5000")
        for url, number, system in ((plain, 0, second), (secure, 1, first)):
            assert digest(url, *trust).primary == 1 - number
            reply = digest(url, *trust, "--json", json.dumps({"primary": number}))
            assert (reply.statuses, reply.primary) == ([401, 200], number)
            call, answered = await stage.connect(phone, stage.uri("100"), system)
            await stage.hang_up(call, answered)
        assert digest(plain, "--data", "0").body == "0\n"

    play(guarded, story)
    log = guarded.log.read_text()
    assert f"set 0 is primary instead of set 1: set over HTTP by {USER} at " in log
    assert f"{USER} at {guarded.host.split('.')[0]}" in log
    assert guarded.metric("control_requests_total", 'outcome="set"') == 3
    assert PASSWORD not in log
    assert "Traceback" not in guarded.daemon.text


def test_a_captured_authorization_is_refused(guarded: Genproxy) -> None:
    url = f"http://{guarded.host}:{TCP}/"
    (captured,) = digest(url).authorization[-1:]
    replayed = Curl("--header", captured, url)
    assert replayed.statuses == [401]
    assert "stale=true" in replayed.error
    assert Curl("--header", captured, "--data", "0", url).statuses == [401]
    assert digest(url).primary == 1
    assert digest(url, word="guess").statuses[-1] == 401
    assert Curl("--user", f"{USER}:{PASSWORD}", url).statuses == [401]  # Basic
    assert guarded.metric("control_requests_total", 'outcome="denied"') >= 2
    assert "used a nonce again" in guarded.log.read_text()


@pytest.mark.parametrize("kind", ["dispatchAuthHa1", "dispatchAuthHa1b"])
def test_the_guides_hashes_instead_of_a_password(tmp_path: Path, kind: str) -> None:
    user = USER if kind == "dispatchAuthHa1" else f"{USER}@{REALM}"
    value = md5(f"{user}:{REALM}:{PASSWORD}".encode(), usedforsecurity=False).hexdigest()
    keys = {"dispatchAuthUser": USER, "dispatchAuthRealm": REALM, kind: value}
    with proxy(tmp_path, **keys) as running:
        url = f"http://{running.host}:{TCP}/"
        assert digest(url, user=user).statuses == [401, 200]
        assert digest(url, user=user, word="guess").statuses[-1] == 401
        # Other credentials hold from the next request on.
        assert running.change(value, "0" * 32) == {f"proxy.{kind}": "applied"}
        assert digest(url, user=user).statuses[-1] == 401


def test_two_posts_at_once(tmp_path: Path) -> None:
    with proxy(tmp_path) as running:
        url = f"http://{running.host}:{TCP}/"

        def post(number: int) -> Curl:
            return Curl("--data", str(number % 2), url)

        with ThreadPoolExecutor(8) as pool:
            replies = list(pool.map(post, range(16)))
        assert {reply.statuses[0] for reply in replies} <= {200, 202}
        wanted = json.loads(Curl(url).body)["preferred"]
        assert wanted in {0, 1}
        assert running.metric("control_requests_total", 'outcome="set"') == 16
        # What was set last is there after a restart.
        running.daemon.stop()
        running.daemon.start()
        assert json.loads(Curl(url).body)["preferred"] == wanted


def test_what_is_too_large_too_many_or_nonsense_harms_nobody(tmp_path: Path) -> None:
    with proxy(tmp_path) as running:
        url = f"http://{running.host}:{TCP}/"
        large = Curl("--data", "x" * 100_000, url)
        assert large.statuses == [413] or large.code != 0  # cut off while it was sending
        assert Curl("--data", "two", url).statuses == [400]
        assert Curl("--request", "DELETE", url).statuses == [405]
        held = []
        for _ in range(40):
            # One too many may learn it from any of these calls.
            with suppress(ConnectionError):
                connection = socket.create_connection((running.host, TCP), timeout=10)
                held.append(connection)
                connection.sendall(b"POST / HTTP/1.1\r\n")
        wait_until(lambda: running.metric("offences_total", "dispatcher control") >= 10, 10, "the refusal")
        wait_until(lambda: running.metric("control_connections") <= 16, 10, "their end")
        for connection in held:
            connection.close()
        wait_until(lambda: running.metric("control_connections") == 0, 10, "the end of the connections")
        for port in (TCP, TLS):
            place = running.host, port
            with suppress(ConnectionError), socket.create_connection(place, timeout=30) as connection:
                connection.sendall(b"neither TLS nor HTTP\r\n\r\n")
                while connection.recv(4096):
                    pass
        assert Curl(url).primary == 1
        assert "Traceback" not in running.daemon.text


def test_a_socket_that_cannot_be_had_is_named_in_one_sentence(tmp_path: Path) -> None:
    with socket.create_server((own_host(), 0)) as taken:
        host, port = taken.getsockname()
        settings = {"proxy": {"dispatchListenSock": [f"tcp:{host}:{port}"]}}
        refused = Genproxy(tmp_path / "proxy", settings=settings)
        with (
            pytest.raises(DaemonError, match=f"dispatchListenSock {host}:{port}: address already in use"),
            refused,
        ):
            pass
