"""`python -m demo`, which `make demo` calls: the main job of both servers on this machine, nothing faked.

Exits 0 only if every step held.
"""

from __future__ import annotations

import shutil
import signal
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

if "twisted.internet.reactor" not in sys.modules:
    from twisted.internet import asyncioreactor

    asyncioreactor.install()

from twisted.internet import reactor as installed_reactor
from twisted.internet.defer import CancelledError, Deferred
from twisted.logger import globalLogBeginner, textFileLogObserver
from twisted.python.failure import Failure

from demo.proxy import Proxy
from demo.rendezvous import Rendezvous
from demo.report import Report

reactor: Any = installed_reactor

_TITLE = "crs and genproxy at work"
_TEXT = (
    "Everything below really happens on this machine: the servers are twistd processes, the phones speak "
    "TLS, SIP, RTP and SRTP to them over the loopback network (127.0.0.0/8), and everything is gone "
    "afterwards. It takes about 15 seconds."
)


async def tell(folder: Path) -> bool:
    """Both chapters, then the summary; True when everything held."""
    report = Report(sys.stdout, time.monotonic)
    report.title(_TITLE, _TEXT)
    for chapter in (Rendezvous(reactor, report, folder), Proxy(reactor, report, folder)):
        try:
            await chapter.tell()
        finally:
            await chapter.close()
    return report.finish()


def play(folder: Path) -> bool:
    """Run `tell` on the reactor; ctrl-c ends it where it is, and its `finally` clauses stop the servers."""
    outcome: list[bool | Failure] = []

    def start() -> None:
        story = Deferred.fromCoroutine(tell(folder))
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: reactor.callFromThread(story.cancel))
        story.addBoth(outcome.append)
        story.addBoth(lambda _: reactor.stop())

    reactor.callWhenRunning(start)
    reactor.run()
    for result in outcome:
        if isinstance(result, bool):
            return result
        if not result.check(CancelledError):
            result.printTraceback(sys.stderr)
    return False


def main() -> int:
    """Run it in a temporary folder, which is kept if something failed; the exit code."""
    folder = Path(tempfile.mkdtemp(prefix="demo-"))
    with (folder / "demo.log").open("w") as log:
        # What the phones' libraries log; the servers have logs of their own.
        globalLogBeginner.beginLoggingTo([textFileLogObserver(log)], redirectStandardIO=False)
        held = play(folder)
    if held:
        shutil.rmtree(folder, ignore_errors=True)
        return 0
    print(f"\nNot everything held, or it was interrupted. All logs are kept in {folder}")
    return 1


if __name__ == "__main__":
    sys.exit(main())
