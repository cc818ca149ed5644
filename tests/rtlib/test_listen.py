from __future__ import annotations

import os
import socket
import stat
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.protocol import Factory, Protocol

from rtlib.listen import ListenError, StreamPort, bind_datagram, bind_stream, bind_unix, listening
from rtlib.testing.loop import installed_reactor, run


@pytest.mark.parametrize("bind", [bind_datagram, bind_stream])
@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_a_bound_socket_is_ready_for_the_reactor(bind: Any, host: str) -> None:
    with bind(host, 0) as sock:
        assert sock.getsockname()[0] == host and sock.getsockname()[1] > 0
        assert not sock.getblocking() and not os.get_inheritable(sock.fileno())


@pytest.mark.parametrize("bind", [bind_datagram, bind_stream])
def test_ipv6_any_leaves_ipv4_alone(bind: Any) -> None:
    with bind("::", 0) as six, bind("0.0.0.0", six.getsockname()[1]) as four:
        assert four.getsockname()[1] == six.getsockname()[1]


@pytest.mark.parametrize("bind", [bind_datagram, bind_stream])
def test_a_port_in_use_is_said_with_its_setting(bind: Any) -> None:
    with bind("127.0.0.1", 0) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ListenError) as caught:
            listening("client-listen-port", bind, "127.0.0.1", port)
        assert str(caught.value) == f"client-listen-port 127.0.0.1:{port}: address already in use"


@pytest.mark.parametrize(
    "host, port, text",
    [
        ("192.0.2.1", 0, "relay-listen-port 192.0.2.1:0: this host does not have that address"),
        ("localhost", 1, "relay-listen-port localhost:1: 'localhost' does not appear to be an IPv4 or"),
        ("::1", 70000, "relay-listen-port [::1]:70000: port 70000 is not between 0 and 65535"),
    ],
)
def test_reasons(host: str, port: int, text: str) -> None:
    with pytest.raises(ListenError) as caught:
        listening("relay-listen-port", bind_datagram, host, port)
    assert str(caught.value).startswith(text)


def test_a_stream_port_is_free_again_at_once_after_connections() -> None:
    with bind_stream("127.0.0.1", 0) as sock:
        address = sock.getsockname()
        client = socket.create_connection(address)
        server, _ = sock.accept()
    server.close()  # the server closes first: its side is in TIME-WAIT
    client.close()
    with bind_stream(*address):
        pass


def test_unix_mode_and_replacement_of_a_stale_file(tmp_path: Path) -> None:
    path = tmp_path / "s"
    before = os.umask(0o022)
    os.umask(before)
    bind_unix(path).close()  # leaves its file behind, as a killed process does
    with bind_unix(path, 0o660):
        assert stat.S_IMODE(path.stat().st_mode) == 0o660
        with pytest.raises(ListenError, match="another process is listening there"):
            bind_unix(path)
    assert os.umask(before) == before


def test_unix_never_removes_what_is_no_socket(tmp_path: Path) -> None:
    path = tmp_path / "s"
    path.write_text("precious")
    with pytest.raises(ListenError, match="a file that is not a socket is in the way"):
        bind_unix(path)
    assert path.read_text() == "precious"


def test_unix_reasons(tmp_path: Path) -> None:
    with pytest.raises(ListenError, match="the directory does not exist"):
        bind_unix(tmp_path / "no" / "s")
    with pytest.raises(ListenError, match="longer than 107 bytes"):
        bind_unix(tmp_path / ("x" * 108))


class Greeter(Protocol):
    def connectionMade(self) -> None:
        assert self.transport is not None
        self.transport.write(b"hello")
        self.transport.loseConnection()


def greeting(port: StreamPort) -> bytes:
    """Connect in blocking fashion, from a thread, and read what comes."""
    address = port.address
    with socket.socket(socket.AF_UNIX if isinstance(address, str) else socket.AF_INET) as sock:
        sock.settimeout(5)
        sock.connect(address)
        return sock.recv(100)


@pytest.mark.parametrize("kind", ["tcp", "unix"])
def test_a_stream_port_accepts_while_it_runs(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "s"

    async def main() -> bytes:
        from twisted.internet.threads import deferToThread

        reactor = installed_reactor()
        sock = bind_unix(path) if kind == "unix" else bind_stream("127.0.0.1", 0)
        port = StreamPort(sock, Factory.forProtocol(Greeter), reactor)
        port.startService()
        if kind == "unix":
            assert stat.S_IMODE(path.stat().st_mode) == 0o600
        try:
            waiting: Deferred[bytes] = deferToThread(greeting, port)
            data = await waiting
        finally:
            await port.stopService()
        assert not path.exists()
        with pytest.raises(OSError):
            greeting(port)
        return data

    assert run(main) == b"hello"


def test_a_stream_port_that_never_ran_closes_its_socket(tmp_path: Path) -> None:
    sock = bind_unix(tmp_path / "s")
    port = StreamPort(sock, Factory.forProtocol(Greeter), installed_reactor())
    port.stopService()
    assert sock.fileno() == -1 and not (tmp_path / "s").exists()


def test_a_socket_file_that_is_gone_does_not_stop_the_stop(tmp_path: Path) -> None:
    async def main() -> None:
        port = StreamPort(bind_unix(tmp_path / "s"), Factory.forProtocol(Greeter), installed_reactor())
        port.startService()
        (tmp_path / "s").unlink()
        await port.stopService()

    run(main)
