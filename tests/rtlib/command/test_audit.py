"""The audit log's lines and its file."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from rtlib.command.audit import MAX_VALUE, AuditLog, Caller
from rtlib.command.registry import Role, command, declared


class Commands:
    @command("set secret", role=Role.operator)
    def set(self, name: str, *, secret: str = "") -> None:
        """Set it.

        Example: toy set secret
        """

    @command("show secret", role=Role.viewer)
    def show(self) -> None:
        """Show nothing.

        Example: toy show secret
        """


SPECS = {spec.name: spec for spec in declared(Commands)}


@pytest.fixture
def log(tmp_path: Path) -> AuditLog:
    return AuditLog(tmp_path / "audit.log", lambda: 1_700_000_000.5)


def test_an_act_is_one_line_without_secrets(log: AuditLog) -> None:
    arguments = {"name": 'a"\n', "secret": "hidden"}
    log.record(Caller(0, 7), SPECS["set secret"], arguments, "ok")
    log.record(Caller(4294967000, 7), SPECS["set secret"], {}, "there is no such thing")
    assert log.path.read_text().splitlines() == [
        '2023-11-14T22:13:20.500Z uid=0 user="root" pid=7 command="set secret"'
        ' name="a\\"\\n" secret="***" result="ok"',
        '2023-11-14T22:13:20.500Z uid=4294967000 user="" pid=7 command="set secret"'
        ' result="there is no such thing"',
    ]
    assert log.path.stat().st_mode & 0o777 == 0o640 & ~_umask()


def test_looking_is_no_act(log: AuditLog) -> None:
    log.record(Caller(0, 7), SPECS["show secret"], {}, "ok")
    assert not log.path.exists()


def test_long_arguments_are_cut(log: AuditLog) -> None:
    log.record(Caller(0, 7), SPECS["set secret"], {"name": "x" * 10_000, "list": ["y"] * 10_000}, "ok")
    line = log.path.read_text()
    assert len(line) < 4 * MAX_VALUE
    assert re.search(r'name="x{200}\.\.\."', line)


def test_a_file_that_logrotate_has_moved_away_is_made_again(log: AuditLog) -> None:
    log.record(Caller(0, 1), SPECS["set secret"], {}, "ok")
    log.path.rename(log.path.with_suffix(".1"))
    log.record(Caller(0, 2), SPECS["set secret"], {}, "ok")
    assert "pid=2" in log.path.read_text()


def test_without_its_folder_it_says_so(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        AuditLog(tmp_path / "none" / "audit.log").record(Caller(0, 1), SPECS["set secret"], {}, "ok")


def _umask() -> int:
    value = os.umask(0)
    os.umask(value)
    return value
