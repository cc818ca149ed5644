"""Relays to be measured beside ours: Debian's rtpengine (NG protocol) and coturn (RFC 8656), plain RTP."""

from __future__ import annotations

import shutil
import socket
import struct
import subprocess
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Any

from bench.forwarder.load import FIRST_SSRC, Load, Running, Stream, bound, build, favoured

PACKET = 172
TURN_COOKIE = 0x2112A442
CHANNEL = 0x4000
ATTEMPTS = 50


@contextmanager
def started(
    core: int, folder: Path, command: list[str], descriptors: Sequence[int] = ()
) -> Iterator[subprocess.Popen[bytes]]:
    """A program on a core, with its output in a file that is read when something goes wrong."""
    with (folder / f"{Path(command[0]).name}.log").open("wb") as log:
        process = subprocess.Popen(
            favoured(core, *command),
            stdout=log,
            stderr=log,
            cwd=folder,
            start_new_session=True,
            pass_fds=descriptors,
        )
        try:
            yield process
        finally:
            process.terminate()
            process.wait()


def ask(port: int, request: bytes, sock: socket.socket, answers: Callable[[bytes], bool]) -> bytes:
    """Send a request to 127.0.0.1 until an answer comes. TimeoutError if none does in 5 s."""
    sock.settimeout(0.1)
    for _ in range(ATTEMPTS):
        try:
            sock.sendto(request, ("127.0.0.1", port))
            reply = sock.recv(65536)
            if answers(reply):
                return reply
        except (TimeoutError, ConnectionRefusedError):
            continue
    raise TimeoutError(f"nothing answers at 127.0.0.1:{port}")


def free_port() -> int:
    """A UDP port that was free a moment ago."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port


def bencode(value: Any) -> bytes:
    """Write what the NG protocol carries."""
    if isinstance(value, dict):
        return b"d" + b"".join(bencode(key) + bencode(value[key]) for key in sorted(value)) + b"e"
    if isinstance(value, list):
        return b"l" + b"".join(map(bencode, value)) + b"e"
    data = value.encode()
    return b"%d:%s" % (len(data), data)


def sdp(port: int) -> str:
    """An offer or answer of one G.711 stream."""
    lines = (
        "v=0",
        "o=- 1 1 IN IP4 127.0.0.1",
        "s=-",
        "c=IN IP4 127.0.0.1",
        "t=0 0",
        f"m=audio {port} RTP/AVP 0",
    )
    return "".join(line + "\r\n" for line in lines)


class NG:
    """Requests to rtpengine's control port."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._numbers = count()

    def request(self, **words: Any) -> bytes:
        """Give the answer. RuntimeError if it is not ok."""
        cookie = b"bench_%d " % next(self._numbers)
        reply = ask(self._port, cookie + bencode(words), self._socket, lambda data: data.startswith(cookie))
        if b"6:result2:ok" not in reply and b"6:result4:pong" not in reply:
            raise RuntimeError(f"rtpengine answers {reply!r}")
        return reply

    def call(self, number: int, caller: int, callee: int) -> int:
        """Set up a call between two ports; give the port that the caller sends to."""
        words = {"call-id": f"bench{number}", "from-tag": "a", "ICE": "remove"}
        flags = ["asymmetric", "trust-address"]
        self.request(command="offer", sdp=sdp(caller), flags=flags, **words)
        reply = self.request(command="answer", sdp=sdp(callee), flags=flags, **words, **{"to-tag": "b"})
        return int(reply.split(b"m=audio ")[1].split()[0])


@contextmanager
def rtpengine(core: int, folder: Path, load: Load, sessions: int) -> Iterator[Running]:
    """Run rtpengine in user space with one thread, and `sessions` calls from the first sender to the sink."""
    control = free_port()
    command = [
        *(
            "rtpengine",
            "--table=-1",
            "--interface=127.0.0.1",
            f"--listen-ng=127.0.0.1:{control}",
            "--foreground",
        ),
        *("--port-min=20000", "--port-max=31999", "--log-stderr", "--log-level=3", "--num-threads=1"),
        *("--timeout=600", "--silent-timeout=3600", f"--pidfile={folder / 'rtpengine.pid'}"),
    ]
    sender = load.senders[0]
    caller, callee = sender.getsockname()[1], load.sink.getsockname()[1]
    with started(core, folder, command) as process:
        control_port = NG(control)
        control_port.request(command="ping")
        ports = [control_port.call(number, caller, callee) for number in range(sessions)]
        streams = [Stream(sender, port, FIRST_SSRC + number) for number, port in enumerate(ports)]
        yield Running(process.pid, streams)


def turn(kind: int, number: int, *attributes: tuple[int, bytes]) -> bytes:
    """Write a STUN message (RFC 8489 section 5)."""
    body = b"".join(
        struct.pack("!HH", name, len(value)) + value + bytes(-len(value) % 4) for name, value in attributes
    )
    return struct.pack("!HHI", kind, len(body), TURN_COOKIE) + number.to_bytes(12, "big") + body


def allocate(server: int, sender: socket.socket, sink: int) -> None:
    """Allocate a relay address and bind a channel to the sink (RFC 8656 sections 7 and 12)."""
    peer = struct.pack("!BBHI", 0, 1, sink ^ TURN_COOKIE >> 16, 0x7F000001 ^ TURN_COOKIE)
    udp, lifetime = (0x19, b"\x11\0\0\0"), (0x0D, struct.pack("!I", 600))
    for request, success in (
        (turn(0x003, 1, udp, lifetime), b"\x01\x03"),
        (turn(0x009, 2, (0x0C, struct.pack("!HH", CHANNEL, 0)), (0x12, peer)), b"\x01\x09"),
    ):
        ask(server, request, sender, lambda data, success=success: data.startswith(success))  # type: ignore[misc]


@contextmanager
def coturn(core: int, folder: Path, load: Load, sessions: int) -> Iterator[Running]:
    """Run coturn with one relay thread, and `sessions` allocations whose channel leads to the sink."""
    server = free_port()
    command = [
        *(
            "turnserver",
            "-n",
            "-z",
            "-L",
            "127.0.0.1",
            "-E",
            "127.0.0.1",
            "-p",
            str(server),
            "--no-tls",
            "--no-dtls",
        ),
        *(
            "--no-tcp",
            "--no-cli",
            "--allow-loopback-peers",
            "-m",
            "1",
            "--min-port=32000",
            "--max-port=39999",
        ),
        *("-r", "bench", "--simple-log", "--log-file=stdout", f"--pidfile={folder / 'turnserver.pid'}"),
        f"--userdb={folder / 'turnserver.db'}",
    ]
    senders = load.more_senders(sessions)
    with started(core, folder, command) as process:
        for sender in senders:
            allocate(server, sender, load.sink.getsockname()[1])
        header = struct.pack("!HH", CHANNEL, PACKET)
        streams = [Stream(sender, server, FIRST_SSRC + i, header) for i, sender in enumerate(senders)]
        yield Running(process.pid, streams)


@contextmanager
def floor(core: int, folder: Path, load: Load, sessions: int) -> Iterator[Running]:
    """Run the least that a relay can do."""
    build(Path(__file__).with_name("floor.c"), folder / "floor")
    sender = load.senders[0]
    with bound() as sock:
        port, descriptor = sock.getsockname()[1], sock.fileno()
        command = [str(folder / "floor"), str(descriptor), str(load.sink.getsockname()[1])]
        with started(core, folder, command, [descriptor]) as process:
            yield Running(process.pid, [Stream(sender, port, FIRST_SSRC + i) for i in range(sessions)])


PEERS = {"rtpengine": ("rtpengine", rtpengine), "coturn": ("turnserver", coturn)}


def installed() -> dict[str, Callable[..., Any]]:
    """The floor, and the peers whose program is on this machine."""
    found = {name: start for name, (program, start) in PEERS.items() if shutil.which(program)}
    return {"floor": floor} | found
