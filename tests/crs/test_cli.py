"""crs-cli as a program: what it loads, how long that takes, and what each command says of wrong usage."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from base64 import b64decode
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import get_args

import pytest
from msgspec import Struct

from crs.cli import COMMANDS, main
from rtlib.command.registry import Role, Spec, declared
from rtlib.command.render import columns
from rtlib.testing.program import Ended, ended

LIMIT = 0.25
"""Seconds of CPU."""


def test_it_loads_nothing_of_the_server() -> None:
    """Else it would start too slowly."""
    code = (
        "import sys, crs.cli\n"
        "heavy = ('twisted', 'pydantic', 'cryptography', 'crs.settings', 'crs.signaling', 'crs.relay')\n"
        "print(sorted(name for name in sys.modules if name.startswith(heavy)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_it_starts_within_a_quarter_second() -> None:
    """The least of some runs, in CPU time: others use this machine as well."""
    code = "from crs.cli import main; main()"

    def cost() -> float:
        before = os.times()
        done = subprocess.run(
            [sys.executable, "-c", code, "create", "sharedSecret"], capture_output=True, text=True, check=True
        )
        after = os.times()
        assert len(b64decode(done.stdout)) == 16
        return (after.children_user - before.children_user) + (after.children_system - before.children_system)

    assert min(cost() for _ in range(5)) < LIMIT


LOOKING = (
    "show ",
    "list ",
    "lookup ",
    "trace ",
    "check slot",
    "client-info",
    "summarize client-info",
    "create sharedSecret",
    "health-check system",
)


def test_whatever_changes_something_or_prints_a_secret_is_audited() -> None:
    """That is what a viewer may not call."""
    for spec in declared(*COMMANDS):
        if spec.role is Role.viewer:
            assert spec.name.startswith(LOOKING), spec.name
    secret = {
        "list account",
        "list iw-crs",
        "show admin",
        "show push-token",
        "create admin",
        "create account",
    }
    for spec in declared(*COMMANDS):
        kinds = [spec.reply, *get_args(spec.reply)]
        rows = [kind for kind in kinds if isinstance(kind, type) and issubclass(kind, Struct)]
        if any(column.secret for row in rows for column in columns(row).values()):
            assert spec.role is Role.administrator, spec.name
            secret.discard(spec.name)
    assert secret == set()


SPECS = {spec.name: spec for spec in declared(*COMMANDS)}
VALUES = {
    "authorization": "update",
    "ip": "192.0.2.1",
    "shared_secret": "0123456789abcdef",
    "uri": "+4612345",
}
"""Arguments that a command takes; others are any word."""


@pytest.fixture
def crs_cli(tmp_path: Path) -> Callable[..., Ended]:
    """The program in this process, with a home where nothing runs."""
    return partial(ended, main, "--home", str(tmp_path))


def line(spec: Spec, folder: Path) -> list[str]:
    """A command line that is right."""
    file = folder / "file"
    file.write_text("content")
    words = list(spec.words)
    for parameter in spec.parameters:
        if parameter.required and not parameter.flags:
            words.append(
                str(file) if parameter.name == "update_file" else VALUES.get(parameter.name, "example")
            )
    return words


@pytest.mark.parametrize("name", SPECS)
def test_help_says_what_it_is_with_an_example(name: str, crs_cli: Callable[..., Ended]) -> None:
    done = crs_cli(*name.split(), "--help")
    assert (done.code, done.err) == (0, "")
    assert f"Usage: crs-cli {name}" in done.out
    assert f"Example: crs-cli {name}" in done.out


@pytest.mark.parametrize("name", [spec.name for spec in SPECS.values() if not spec.local])
def test_a_stopped_server_is_told_on_one_line(
    name: str, crs_cli: Callable[..., Ended], tmp_path: Path
) -> None:
    done = crs_cli(*line(SPECS[name], tmp_path))
    assert (done.code, done.out) == (1, "")
    assert done.err == f"crs-cli: crs is not running (no answer at {tmp_path}/run/crs.sock)\n"


@pytest.mark.parametrize("name", SPECS)
def test_one_argument_too_many_is_told_on_one_line(
    name: str, crs_cli: Callable[..., Ended], tmp_path: Path
) -> None:
    done = crs_cli(*line(SPECS[name], tmp_path), "superfluous")
    assert (done.code, done.out) == (2, "")
    assert re.fullmatch(rf"crs-cli: .*superfluous.*; see crs-cli {name} --help\n", done.err)


@pytest.mark.parametrize("word", sorted({spec.words[0] for spec in SPECS.values() if len(spec.words) > 1}))
def test_a_missing_element_is_told_on_one_line(word: str, crs_cli: Callable[..., Ended]) -> None:
    if word in SPECS:
        pytest.skip("the word alone is a command as well")
    done = crs_cli(word)
    assert (done.code, done.out) == (2, "")
    elements = sorted({spec.words[1] for spec in SPECS.values() if spec.words[0] == word and spec.words[1:]})
    assert done.err == f"crs-cli: Missing word, one of {', '.join(elements)}; see crs-cli {word} --help\n"


@pytest.mark.parametrize(
    "name", [spec.name for spec in SPECS.values() if any(each.required for each in spec.parameters)]
)
def test_a_missing_argument_is_told_on_one_line(
    name: str, crs_cli: Callable[..., Ended], tmp_path: Path
) -> None:
    done = crs_cli(*line(SPECS[name], tmp_path)[:-1])
    assert (done.code, done.out) == (2, "")
    assert re.fullmatch(rf"crs-cli: Missing argument .*; see crs-cli {name} --help\n", done.err)
