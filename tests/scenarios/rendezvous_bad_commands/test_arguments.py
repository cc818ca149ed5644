"""Every argument of every command, wrong in every way: one line that says why, and nothing has changed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, Final

import pytest

from crs.cli import COMMANDS, main
from crs.client.testing import ACCOUNT, CrsServer
from rtlib.command.client import Client
from rtlib.command.error import CommandError
from rtlib.command.registry import Parameter, Spec, declared
from rtlib.command.signature import plain
from rtlib.testing.program import Ended, ended

SPECS: Final = {spec.name: spec for spec in declared(*COMMANDS)}
RIGHT: Final = {
    "account_id": ACCOUNT,
    "authorization": "update",
    "ip": "192.0.2.1",
    "number": "123456",
    "shared_secret": "0123456789abcdef",
    "uri": "+4612345",
}
"""Arguments that are taken; others are any word."""

BAD: Final = {
    "over-long": "x" * 100_000,
    "of several lines, with controls": "a\x1b[2J\nb\rc",
    "that turns the writing around": "a\u202eb",
    "that is no UTF-8": "\udcff",
    "empty": "",
    "with a space": "a b",
}
LITERAL: Final = {"empty", "with a space"}
"""What a comment may be."""

MAX_LINE: Final = 1100


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CrsServer]:
    with CrsServer(tmp_path_factory.mktemp("crs")) as running:
        yield running


@pytest.fixture
def unchanged(server: CrsServer) -> Iterator[None]:
    """Whatever the test tries, no file of the server changes, and the server goes on."""
    before = files(server.home)
    yield
    assert files(server.home) == before
    assert ended(main, "--home", str(server.home), "show", "account").code == 0
    assert "Traceback" not in server.daemon.output


def files(home: Path) -> dict[Path, bytes]:
    """All that commands could have changed."""
    paths = [path for path in home.rglob("*") if path.is_file()]
    live = {home / "log", home / "data", home / "run"}
    return {path: path.read_bytes() for path in paths if not live.intersection(path.parents)}


def good(spec: Spec, parameter: Parameter) -> str:
    """A value that is taken."""
    return "example" if spec.name == "create account" else RIGHT.get(parameter.name, "example")


def line(spec: Spec, wrong: Parameter, value: str, file: Path) -> list[str]:
    """A command line with one wrong argument, all others right."""
    words = list(spec.words)
    for parameter in spec.parameters:
        right = str(file) if parameter.is_file else good(spec, parameter)
        if parameter is wrong:
            words += [*parameter.flags[:1], value]
        elif parameter.required:
            words += [right]
    return words


def taking_values() -> list[tuple[str, str]]:
    """All arguments, and the options that have a value, by command."""
    return [
        (spec.name, parameter.name)
        for spec in SPECS.values()
        for parameter in spec.parameters
        if plain(parameter.annotation) is not bool
    ]


def is_a_sentence(text: str) -> bool:
    """One line that a terminal shows as it is."""
    return text.endswith("\n") and text[:-1].isprintable() and text.isascii() and len(text) < MAX_LINE


@pytest.mark.usefixtures("unchanged")
def test_wrong_values_on_the_command_line(server: CrsServer, tmp_path: Path) -> None:
    crs_cli: Callable[..., Ended] = partial(ended, main, "--home", str(server.home))
    file = tmp_path / "file"
    file.write_text("no update")
    wrong = []
    for name, argument in taking_values():
        spec = SPECS[name]
        [parameter] = [each for each in spec.parameters if each.name == argument]
        for what, value in BAD.items():
            if argument == "comment" and what in LITERAL:
                continue
            done = crs_cli(*line(spec, parameter, value, file))
            if done.code not in {1, 2} or done.out or not is_a_sentence(done.err):
                wrong.append((name, argument, what, done.code, done.out[:200], done.err[:200]))
    assert wrong == []


@pytest.mark.usefixtures("unchanged")
def test_wrong_values_on_the_socket(server: CrsServer) -> None:
    """What a shell cannot pass: NUL, other types, values that are longer still."""
    client = Client("crs", server.home / "run" / "crs.sock")
    values: tuple[Any, ...] = ("a\0b", -3.5, ["x"], {"a": 1}, "x" * 900_000)
    taken = []
    for name, argument in taking_values():
        spec = SPECS[name]
        if spec.local or spec.stream:
            continue
        right = {
            each.name: good(spec, each) for each in spec.parameters if each.required and not each.is_file
        }
        for value in values:
            try:
                reply = client.call(name, {**right, argument: value})
            except CommandError as error:
                assert error.kind in {"bad-argument", "not-found"}, (name, argument, error)
            else:
                taken.append((name, argument, repr(value)[:20], reply))
    assert taken == []


@pytest.mark.usefixtures("unchanged")
@pytest.mark.parametrize(
    "name",
    sorted({name for name, argument in taking_values() if argument == "account_id"} - {"create account"}),
)
def test_an_unknown_account(name: str, server: CrsServer, tmp_path: Path) -> None:
    spec = SPECS[name]
    if "admin-account" in name:
        words = [*spec.words, "nobody", "nowhere", *("update",) * name.endswith("authorization")]
        reason = "there is no administrator nobody"
    else:
        [parameter] = [each for each in spec.parameters if each.name == "account_id"]
        words = line(spec, parameter, "nowhere", tmp_path)
        reason = "there is no account nowhere"
    assert ended(main, "--home", str(server.home), *words) == Ended(1, "", f"crs-cli: {reason}\n")


@pytest.mark.usefixtures("unchanged")
@pytest.mark.parametrize("name", [name for name, spec in SPECS.items() if spec.parameters])
def test_an_option_without_its_value_or_that_does_not_exist(name: str, server: CrsServer) -> None:
    spec = SPECS[name]
    right = [good(spec, each) for each in spec.parameters if each.required and not each.flags]
    home = ("--home", str(server.home))
    for parameter in spec.parameters:
        for flag in parameter.flags if plain(parameter.annotation) is not bool else ():
            done = ended(main, *home, *spec.words, *right, flag)
            assert (done.code, done.out) == (2, "")
            assert done.err.startswith(f"crs-cli: Option '{flag}' requires an argument; see crs-cli")
    done = ended(main, *home, *spec.words, *right, "--colour")
    assert (done.code, done.out) == (2, "")
    assert done.err.startswith("crs-cli: No such option") and is_a_sentence(done.err)
