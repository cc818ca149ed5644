"""The notification script: run, bounded, killed when it hangs."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from twisted.internet.error import ProcessDone, ProcessTerminated
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from rtlib.notify import DEFAULT_SCRIPT, STOP_GRACE, ScriptNotifier
from rtlib.testing.loop import installed_reactor, run


def script(path: Path, text: str) -> Path:
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return path


def test_the_script_gets_unit_and_event(tmp_path: Path) -> None:
    file = script(tmp_path / "notify.sh", f'echo "$#:$1:$2" >> {tmp_path}/out')

    async def main() -> int:
        notifier = ScriptNotifier(installed_reactor(), file)
        notifier.startService()
        notifier.notify("crs", "started; $(reboot)")
        await notifier.drained()
        await notifier.stopService()
        return notifier.failed

    assert run(main) == 0
    assert (tmp_path / "out").read_text() == "2:crs:started; $(reboot)\n"


def test_what_a_script_leaves_running_does_not_count(tmp_path: Path) -> None:
    left = tmp_path / "left"
    file = script(tmp_path / "notify.sh", f"tail -f /dev/null & echo $! > {left}")

    async def main() -> int:
        notifier = ScriptNotifier(installed_reactor(), file)
        notifier.notify("crs", "event")
        await notifier.drained()
        return notifier.failed

    try:
        assert run(main, timeout=5) == 0
    finally:
        os.kill(int(left.read_text()), signal.SIGKILL)


def test_a_script_that_hangs_is_killed_and_one_that_fails_is_counted(tmp_path: Path) -> None:
    hanging = script(tmp_path / "hang.sh", "exec tail -f /dev/null")
    failing = script(tmp_path / "fail.sh", "exit 3")

    async def main() -> list[int]:
        failed = []
        for file in (hanging, failing):
            notifier = ScriptNotifier(installed_reactor(), file, timeout=0.1)
            notifier.notify("crs", "event")
            await notifier.drained()
            failed.append(notifier.failed)
        return failed

    assert run(main) == [1, 1]


class Processes(Clock):
    """IReactorTime and IReactorProcess; processes end when the test says so."""

    def __init__(self) -> None:
        super().__init__()
        self.running: list[Process] = []

    def spawnProcess(self, protocol: Any, executable: str, arguments: list[str], **files: object) -> None:
        process = Process(protocol, arguments)
        self.running.append(process)
        protocol.makeConnection(process)

    def end(self, failure: Exception | None = None) -> None:
        self.running.pop(0).protocol.processEnded(Failure(failure or ProcessDone(0)))


class Process:
    def __init__(self, protocol: Any, arguments: list[str]) -> None:
        self.protocol = protocol
        self.arguments = arguments
        self.signals: list[str] = []

    def signalProcess(self, name: str) -> None:
        self.signals.append(name)


class ScriptNotifierTests(SynchronousTestCase):
    """How many run, wait, and are dropped."""

    def setUp(self) -> None:
        self.reactor = Processes()
        folder = TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        file = script(Path(folder.name) / "notify.sh", "exit 0")
        self.notifier = ScriptNotifier(self.reactor, file, timeout=10, queue=2, parallel=2)

    def test_few_run_some_wait_the_rest_is_dropped(self) -> None:
        for number in range(6):
            self.notifier.notify("crs", str(number))
        self.assertEqual([process.arguments[2] for process in self.reactor.running], ["0", "1"])
        self.assertEqual(self.notifier.dropped, 2)
        for _ in range(4):
            self.reactor.end()
        self.assertEqual(self.reactor.running, [])
        self.assertEqual(self.reactor.getDelayedCalls(), [])

    def test_time_is_up(self) -> None:
        self.notifier.notify("crs", "slow")
        self.reactor.advance(10)
        self.assertEqual(self.reactor.running[0].signals, ["KILL"])
        self.reactor.end(ProcessTerminated(None, 9))
        self.assertEqual(self.notifier.failed, 1)

    def test_stopping_lets_scripts_end_and_takes_no_more(self) -> None:
        for number in range(3):
            self.notifier.notify("crs", str(number))
        stopped = self.notifier.stopService()
        self.notifier.notify("crs", "too late")
        for _ in range(3):
            self.assertNoResult(stopped)
            self.reactor.end()
        self.successResultOf(stopped)
        self.assertEqual((self.notifier.dropped, self.reactor.running), (1, []))
        self.assertEqual(self.reactor.getDelayedCalls(), [])

    def test_stopping_does_not_wait_for_long(self) -> None:
        for number in range(3):
            self.notifier.notify("crs", str(number))
        stopped = self.notifier.stopService()
        self.reactor.advance(STOP_GRACE)
        self.assertEqual([process.signals for process in self.reactor.running], [["KILL"], ["KILL"]])
        self.reactor.end(ProcessTerminated(None, 9))
        self.reactor.end(ProcessTerminated(None, 9))
        self.successResultOf(stopped)
        self.assertEqual((self.notifier.dropped, self.notifier.failed), (1, 2))

    def test_no_script_is_no_problem(self) -> None:
        self.notifier.script.unlink()
        self.notifier.notify("crs", "event")
        self.assertEqual((self.reactor.running, self.notifier.failed, self.notifier.dropped), ([], 0, 0))


def test_the_default_script_is_a_shell_script_for_syslog() -> None:
    assert DEFAULT_SCRIPT.startswith("#!/bin/sh\n")
    assert 'logger -t "$1" -- "$2"' in DEFAULT_SCRIPT
