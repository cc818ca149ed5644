"""`health-check system`: do the services run, can clients connect, is there room for what they send."""

from __future__ import annotations

import os
import shutil
import socket
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Final

from crs.health.report import Test, Verdict
from crs.home import notify_script
from rtlib.command.client import Client
from rtlib.command.error import CommandError

TIMEOUT: Final = 5.0
"""Seconds that a service or a port may take to answer."""
LITTLE_SPACE: Final = 0.10
NO_SPACE: Final = 0.02
"""Shares of a disk that are free."""

_QUESTIONS: Final = {"crs": "show system", "crs_relay": "show relay"}
"""What shows that a service runs: that it answers this."""


def check(home: Path, client: Client, address: tuple[str, int], redis: Mapping[str, str]) -> Iterator[Test]:
    """Make all tests; `address` is that of the port for clients, `redis` says what is wrong with each."""
    for service, question in _QUESTIONS.items():
        yield _tested(f"service {service}", partial(_answers, client, question))
    for service, problem in redis.items():
        # What redis_low keeps is expendable.
        verdict = Verdict.ok if not problem else Verdict.error if service == "redis_high" else Verdict.warning
        yield Test(f"service {service}", verdict, problem or "active")
    yield _tested("client port", partial(_accepts, address))
    yield _space(home / "data")
    yield _script(notify_script(home))


def _tested(name: str, test: Callable[[], str]) -> Test:
    try:
        return Test(name, Verdict.ok, test())
    except (OSError, CommandError) as error:
        return Test(name, Verdict.error, str(error))


def _answers(client: Client, question: str) -> str:
    client.call(question, {}, TIMEOUT)
    return "active"


def _accepts(address: tuple[str, int]) -> str:
    host, port = address
    with socket.create_connection(address, TIMEOUT):
        return f"{host} port {port} accepts connections"


def _space(folder: Path) -> Test:
    name = "disk space"
    try:
        usage = shutil.disk_usage(folder)
    except OSError as error:
        return Test(name, Verdict.error, f"{folder}: {error.strerror or error}")
    share = usage.free / usage.total
    verdict = Verdict.error if share < NO_SPACE else Verdict.warning if share < LITTLE_SPACE else Verdict.ok
    return Test(name, verdict, f"{usage.free // 2**20} MiB ({share:.0%}) are free in {folder}")


def _script(path: Path) -> Test:
    if os.access(path, os.X_OK):
        return Test("notification script", Verdict.ok, f"{path} is executable")
    return Test("notification script", Verdict.warning, f"{path} cannot be run: nobody is told of events")
