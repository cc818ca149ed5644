"""A full disk: each command that writes fails in one line, nothing is half-done, and later it works.

Once a file system that is full, where this machine lets us mount one; once a limit to the size of files.
"""

from __future__ import annotations

import resource
import subprocess
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any, Final

import pytest

from crs.cli import main
from crs.client.testing import ACCOUNT, CrsServer, program
from crs.cms.testing import Cms
from crs.signaling.message import ClientInfo
from rtlib.testing.daemon import ROOT
from rtlib.testing.loop import installed_reactor, run
from rtlib.testing.program import Ended, ended

WRITING: Final = (
    "create account other",
    f"rotate secret {ACCOUNT}",
    f"update-notification enable {ACCOUNT}",
    f"stats enable {ACCOUNT}",
    f"blacklist add {ACCOUNT} +4699",
    f"create conference-room 123456 {ACCOUNT} +4601",
    "create admin other",
    f"add admin-account eve {ACCOUNT}",
    "add iw-crs 192.0.2.7 0123456789abcdef",
    f"delete client-info {ACCOUNT} +4601",
    f"purge observed {ACCOUNT}",
    "apply UPDATE",
    "backup",
)
"""Commands that write, each of which works where the ones before it have failed."""
REASON: Final = ("No space left on device", "File too large", "database or disk is full", "disk I/O error")


class Disk(ABC):
    """Where a server's home is, which can be full."""

    @abstractmethod
    @contextmanager
    def full(self, server: CrsServer) -> Iterator[None]:
        """While the context is open nothing more can be written."""

    limit: Any = None
    """What a program calls before it starts, where the limit is its own."""


class Limited(Disk):
    """The processes may not write to files any more (RLIMIT_FSIZE)."""

    @contextmanager
    def full(self, server: CrsServer) -> Iterator[None]:
        size = resource.prlimit(server.daemon.pid, resource.RLIMIT_FSIZE)
        resource.prlimit(server.daemon.pid, resource.RLIMIT_FSIZE, (0, size[1]))
        self.limit = partial(resource.setrlimit, resource.RLIMIT_FSIZE, (0, size[1]))
        try:
            yield
        finally:
            resource.prlimit(server.daemon.pid, resource.RLIMIT_FSIZE, size)
            self.limit = None


class Mounted(Disk):
    """A small file system, filled to the last byte."""

    def __init__(self, place: Path) -> None:
        self._filler = place / "filler"

    @contextmanager
    def full(self, server: CrsServer) -> Iterator[None]:
        with self._filler.open("wb", buffering=0) as file, suppress(OSError):
            while file.write(b"x" * 4096):
                """Until there is no room."""
        try:
            yield
        finally:
            self._filler.unlink()


@pytest.fixture(params=["limited", "mounted"])
def disk(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Disk]:
    if request.param == "limited":
        yield Limited()
        return
    command = ["mount", "-t", "tmpfs", "-o", "size=16m,mode=700", "none", str(tmp_path)]
    if subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("this machine lets us mount nothing")
    try:
        yield Mounted(tmp_path)
    finally:
        subprocess.run(["umount", "--lazy", str(tmp_path)], check=True)


def crs_cli(server: CrsServer, disk: Disk, line: str) -> Ended:
    """The program in this process, but for what it writes itself: a limit is not for us."""
    words = ("--home", str(server.home), *line.split())
    if line != "backup":
        return ended(main, *words)
    done = subprocess.run(
        program("crs.cli", *words),
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        preexec_fn=disk.limit,
    )
    return Ended(done.returncode, done.stdout, done.stderr)


def state(server: CrsServer) -> tuple[object, ...]:
    """What the server knows, and what is on disk."""
    live = {server.home / "log", server.home / "data", server.home / "run"}
    files = {
        path: path.read_bytes()
        for path in server.home.rglob("*")
        if path.is_file() and not live.intersection(path.parents)
    }
    shown = (
        "list account",
        f"show blacklist {ACCOUNT}",
        "list conference-room",
        "show admins",
        "list iw-crs",
        f"list observed {ACCOUNT}",
    )
    return files, *(ended(main, "--home", str(server.home), *line.split()) for line in shown)


async def leave_something(server: CrsServer) -> None:
    """A client that the store knows."""
    reactor: Any = installed_reactor()
    client, _ = await server.attached(reactor, "+4601")
    await client.store(ClientInfo(time=0.0, os="Plan 9", os_version="4", version="1"))
    await client.detach()
    await client.close()


def test_each_command_that_writes(disk: Disk, tmp_path: Path) -> None:
    with CrsServer(tmp_path / "crs") as server:
        run(lambda: leave_something(server), timeout=60)
        cms = Cms(tmp_path / "cms", server)
        cms.list_clients("+4601")
        update = cms.issue("-o", str(tmp_path / "new.upd"))
        assert ended(main, "--home", str(server.home), "create", "admin", "eve").code == 0
        before = state(server)
        lines = [line.replace("UPDATE", update) for line in WRITING]
        with disk.full(server):
            for line in lines:
                done = crs_cli(server, disk, line)
                assert (done.code, done.out, done.err.count("\n")) == (1, "", 1), (line, done)
                assert any(reason in done.err for reason in REASON), (line, done)
                assert state(server) == before, line
        for line in lines:
            done = crs_cli(server, disk, line)
            assert (done.code, done.err) == (0, ""), (line, done)
        assert "Traceback" not in server.daemon.output
