"""The program genproxy-cli."""

import subprocess
import sys

from haproxy.cli import COMMANDS
from haproxy.version import VERSION, detailed, identification
from rtlib.command.registry import declared

HEAVY = ("twisted", "pydantic", "sqlalchemy")


def test_its_commands() -> None:
    names = {spec.name for spec in declared(*COMMANDS)}
    assert names == {
        "check address",
        "dispatcher explain",
        "dispatcher set",
        "dispatcher show",
        "drain",
        "flush bindings",
        "flush dns",
        "flush transactions",
        "notify test",
        "refresh registration",
        "reload",
        "show bindings",
        "show blocked",
        "show calls",
        "show dispatcher",
        "show dns",
        "show lists",
        "show notifications",
        "show registrations",
        "show tls",
        "show transactions",
        "show version",
        "trace",
        "unblock",
    }


def test_it_starts_light() -> None:
    code = f"import sys, haproxy.cli; print([m for m in {HEAVY!r} if m in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=20
    )
    assert done.stdout.strip() == "[]"


def test_version_needs_no_daemon() -> None:
    command = [sys.executable, "-m", "haproxy.cli", "--state-dir", "/nonexistent", "show", "version"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=20)
    assert done.stdout.strip() == VERSION


def test_without_a_daemon() -> None:
    command = [sys.executable, "-m", "haproxy.cli", "--state-dir", "/nonexistent", "show", "bindings"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=20)
    assert done.returncode == 1
    assert "genproxy is not running" in done.stderr


def test_how_it_names_itself() -> None:
    assert identification("") == b"Genesis Proxy"
    assert identification("None") is None
    assert identification("kamDefault") == detailed().encode()
    assert identification("Other") == b"Other"
    assert VERSION in detailed()
