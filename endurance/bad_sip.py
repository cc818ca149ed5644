"""Bad SIP messages without end: genproxy answers or drops them, logs no exception, and its memory stays flat.

    python -m endurance.bad_sip [MESSAGES]

Prints the resident memory at each tenth; exit code 1 if it grew by more than a twentieth after the fifth of
these, by which time the bounded tables of recent start lines, URIs, Via and offences are full. They come at a
steady rate: a refused INVITE whose ACK never comes is remembered for 32 s (timer H), so that the memory
depends on how many come in that time, too.
"""

from __future__ import annotations

import random
import socket
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from haproxy.testing.badinput import KINDS, make
from haproxy.testing.genproxy import Genproxy, Settings

MESSAGES: Final = 1_000_000
PARTS: Final = 10
WARM: Final = 5
RATE: Final = 1500
"""Messages a second."""
ROUND: Final = 24
"""Messages between two looks whether the proxy keeps up: a datagram lost before it is no test of it."""
PATIENCE: Final = 30
OPTIONS: Final = (
    "OPTIONS sip:{host} SIP/2.0\r\nVia: SIP/2.0/UDP 127.0.0.1;rport;branch=z9hG4bKask{number}\r\n"
    "From: <sip:a@{host}>;tag=1\r\nTo: <sip:{host}>\r\nCall-ID: ask-{number}\r\nCSeq: 1 OPTIONS\r\n"
    "Max-Forwards: 70\r\nContent-Length: 0\r\n\r\n"
)
ALLOWED: Final = 1.05
OPEN: Final[Settings] = {"proxy": {"enableAntiFlood": False, "allowList": ["127.0.0.1"]}}
"""One sender is all there is: it may ask with OPTIONS, and is not banned."""


def resident(pid: int) -> int:
    """Kilobytes (proc(5))."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS"))


def caught_up(sock: socket.socket, host: str, number: int) -> None:
    """Wait until everything sent so far has been worked on: until an OPTIONS behind it is answered."""
    call = b"ask-%d" % number
    request = OPTIONS.format(host=host, number=number).encode()
    for _ in range(PATIENCE):
        sock.send(request)
        try:
            while call not in sock.recv(65536):
                pass
        except TimeoutError:
            continue
        return
    raise AssertionError("the proxy does not answer any more")


def main(count: int) -> int:
    """Run it; the exit code."""
    dice = random.Random(1)
    with TemporaryDirectory() as folder, Genproxy(Path(folder) / "proxy", settings=OPEN) as proxy:
        sizes = []
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.settimeout(1.0)
            sock.connect((proxy.host, proxy.port))
            due = time.monotonic()
            for part in range(PARTS):
                for number in range(count * part // PARTS, count * (part + 1) // PARTS):
                    sock.send(make(KINDS[number % len(KINDS)], dice))
                    if number % ROUND == 0:
                        caught_up(sock, proxy.host, number)
                        # What was late is not made up for: in a burst more transactions live at a time.
                        due = max(due + ROUND / RATE, time.monotonic())
                        time.sleep(max(0.0, due - time.monotonic()))
                sizes.append(resident(proxy.daemon.pid))
                held = proxy.metric("transactions")
                done = count * (part + 1) // PARTS
                print(f"{done:>9} messages, {sizes[-1] / 1024:6.1f} MiB, {held:.0f} transactions", flush=True)
        received = proxy.metric("udp_received_total")
        flat = max(sizes[WARM:]) <= ALLOWED * sizes[WARM - 1]
        clean = "Traceback" not in proxy.daemon.text
        print(f"{received:.0f} received", "flat" if flat else "memory grows", sep=", ")
        print("no exception" if clean else "an exception is in the log")
        return 0 if flat and clean and received > 0.95 * count else 1


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]) if len(sys.argv) > 1 else MESSAGES))
