"""Bad SIP messages without end: genproxy answers or drops them, logs no exception, and its memory stays flat.

    python -m endurance.bad_sip [MESSAGES]

First all caches of parsed headers are filled to their bounds, with the longest values that they take. Then
bad messages come as fast as they are taken: a refused INVITE whose ACK never comes is remembered for 32 s
(timer H), so that memory depends on how many come in that time, too. After that they come at a steady, lower
rate, and the resident memory is looked at all the time. Exit code 1 if the line through all looks of the
second half rises by more than a hundredth.
"""

from __future__ import annotations

import random
import socket
import sys
import time
from pathlib import Path
from statistics import linear_regression, mean
from tempfile import TemporaryDirectory
from typing import Final

from haproxy.testing.badinput import KINDS, make
from haproxy.testing.genproxy import Genproxy, Settings

MESSAGES: Final = 1_000_000
PARTS: Final = 10
RATE: Final = 1000
"""Messages a second."""
SETTLED: Final = 100_000
"""Bad messages before the first look."""
ROUND: Final = 24
"""Messages between two looks whether the proxy keeps up: a datagram lost before it is no test of it."""
LOOK: Final = 40 * ROUND
"""Messages between two looks at the memory."""
PATIENCE: Final = 30
OPTIONS: Final = (
    "OPTIONS sip:{host} SIP/2.0\r\nVia: SIP/2.0/UDP 127.0.0.1;rport;branch=z9hG4bKask{number}\r\n"
    "From: <sip:a@{host}>;tag=1\r\nTo: <sip:{host}>\r\nCall-ID: ask-{number}\r\nCSeq: 1 OPTIONS\r\n"
    "Max-Forwards: 70\r\nContent-Length: 0\r\n\r\n"
)
LONG: Final = (
    "REGISTER sip:{host};x={long}{number} SIP/2.0\r\n"
    "Via: SIP/2.0/UDP {short}{number}.example;rport;branch=z9hG4bK{number}\r\n"
    "From: <sip:{long}f{number}@{host}>;tag=1\r\nTo: <sip:{long}t{number}@{host}>\r\n"
    "Contact: <sip:{long}c{number}@192.0.2.1>\r\nCall-ID: fill-{number}\r\nCSeq: {number} REGISTER\r\n"
    "Max-Forwards: 70\r\nContent-Length: 0\r\n\r\n"
)
"""A registration whose lines, for the caches, are all new; of nobody that the proxy knows."""
MOST_GROWTH: Final = 0.01
OPEN: Final[Settings] = {"proxy": {"enableAntiFlood": False, "allowList": ["127.0.0.1"]}}
"""One sender is all there is: it may ask with OPTIONS, and is not banned."""


class Run:
    """One sender of bad messages, and how large the proxy was at each look."""

    def __init__(self, proxy: Genproxy, sock: socket.socket) -> None:
        self._proxy = proxy
        self._socket = sock
        self._dice = random.Random(1)
        self._due = time.monotonic()
        self._asked = 0
        self.sizes: list[float] = []
        """Resident MiB."""

    def fill(self) -> None:
        """Fill the caches with the largest that they take."""
        held, number = -1.0, 0
        while held < (held := self.held()):
            for _ in range(LOOK):
                number += 1
                text = LONG.format(host=self._proxy.host, number=number, long="x" * 180, short="x" * 60)
                self._socket.send(text.encode())
                if number % ROUND == 0:
                    self._catch_up()

    def held(self) -> float:
        """Values in all caches."""
        return self._proxy.metric("remembered")

    def send(self, count: int, *, steadily: bool) -> None:
        """Send bad messages, of all kinds in turn: steadily and looking, or as fast as they are taken."""
        for number in range(count):
            self._socket.send(make(KINDS[number % len(KINDS)], self._dice))
            if number % ROUND == 0:
                self._catch_up()
            if steadily and number % ROUND == 0:
                # What was late is not made up for: in a burst more transactions live at a time.
                self._due = max(self._due + ROUND / RATE, time.monotonic())
                time.sleep(max(0.0, self._due - time.monotonic()))
            if steadily and number % LOOK == 0:
                self.sizes.append(resident(self._proxy.daemon.pid))

    def growth(self) -> float:
        """By which share the memory has grown over the second half of all looks."""
        half = self.sizes[len(self.sizes) // 2 :]
        return linear_regression(range(len(half)), half).slope * len(half) / mean(half)

    def _catch_up(self) -> None:
        """Wait until everything sent so far has been worked on: until an OPTIONS behind it is answered."""
        self._asked += 1
        call = b"ask-%d\r" % self._asked
        request = OPTIONS.format(host=self._proxy.host, number=self._asked).encode()
        for _ in range(PATIENCE):
            self._socket.send(request)
            try:
                while call not in self._socket.recv(65536):
                    pass
            except TimeoutError:
                continue
            return
        raise AssertionError("the proxy does not answer any more")


def resident(pid: int) -> float:
    """MiB (proc(5))."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS")) / 1024


def main(count: int) -> int:
    """Run it; the exit code."""
    with (
        TemporaryDirectory() as folder,
        Genproxy(Path(folder) / "proxy", settings=OPEN) as proxy,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock,
    ):
        sock.settimeout(1.0)
        sock.connect((proxy.host, proxy.port))
        run = Run(proxy, sock)
        print(f"{resident(proxy.daemon.pid):.1f} MiB at the start", flush=True)
        run.fill()
        full = run.held()
        print(f"{resident(proxy.daemon.pid):.1f} MiB with full caches of {full:.0f} values", flush=True)
        run.send(SETTLED, steadily=False)
        for part in range(1, PARTS + 1):
            looks = len(run.sizes)
            run.send(count // PARTS, steadily=True)
            held = proxy.metric("transactions")
            size = mean(run.sizes[looks:])
            print(f"{count // PARTS * part:>9} messages, {size:.1f} MiB, {held:.0f} transactions", flush=True)
        received = proxy.metric("udp_received_total")
        assert run.held() < 1.01 * full, "the caches were not full"
        growth, clean = run.growth(), "Traceback" not in proxy.daemon.text
        flat = growth <= MOST_GROWTH
        print(f"{received:.0f} received; {growth:+.2%} in the second half:", "flat" if flat else "it grows")
        print("no exception" if clean else "an exception is in the log")
        return 0 if flat and clean and received > 0.95 * (count + SETTLED) else 1


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]) if len(sys.argv) > 1 else MESSAGES))
