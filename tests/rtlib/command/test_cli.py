"""The command line built from specs: words, options, exit codes, help."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import click
import pytest
from msgspec import Meta, Struct

from rtlib.command.cli import Place, build, main
from rtlib.command.client import Client
from rtlib.command.file import File
from rtlib.command.registry import Argument, NotFound, Option, Registry, Role, Stream, command, declared
from rtlib.command.render import Column
from rtlib.command.report import Report
from rtlib.command.wire import Answer, Call, decode_call, encode
from rtlib.testing.daemon import Daemon


class Kind(StrEnum):
    full = "full"
    short = "short"


class Row(Struct):
    uri: Annotated[str, Column("URI", "the number")]
    port: int


class Commands:
    """What the toy can do."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    @command("create sharedSecret", role=Role.viewer, local=True)
    def secret(self, *, size: Annotated[int, Meta(ge=1, le=64), Option("-B", help="Bytes.")] = 16) -> str:
        """Make a secret.

        Example: toy create sharedSecret -B32
        """
        return "s" * size

    @command("show place", role=Role.viewer, local=True)
    def place(self) -> str:
        """Show where it is.

        Example: toy show place
        """
        if not self.directory.exists():
            raise NotFound(f"{self.directory} does not exist")
        return str(self.directory)

    @command("show attach")
    def attach(
        self,
        account_id: Annotated[str | None, Argument("Only of this account.", completes="account")] = None,
        *,
        kind: Annotated[Kind, Option("-k", "--kind", help="How much.")] = Kind.full,
        verbose: Annotated[bool, Option("-v", help="More.")] = False,
    ) -> list[Row]:
        """Show who is attached.

        Everybody, that is.

        Example: toy show attach
        """
        raise NotImplementedError

    @command("check", local=True)
    def check(self, *, fail: bool = False) -> Report:
        """Check it.

        Example: toy check
        """
        if fail:
            raise NotFound("there is nothing to check")
        return Report("warning\n", 3)

    @command("take")
    def take(self, file: Annotated[File, Argument("What to take.")]) -> str:
        """Take a file.

        Example: toy take /tmp/file
        """
        raise NotImplementedError

    @command("trace attach")
    def trace(self) -> Stream[Row]:
        """Follow who attaches.

        Example: toy trace attach
        """
        raise NotImplementedError


def local(directory: Path, client: Client) -> Registry:
    registry = Registry()
    registry.add(Commands(directory))
    return registry


def accounts(client: Client, before: Mapping[str, Any]) -> list[str]:
    names: list[str] = client.call("accounts", {})
    return names


PLACE = Place(
    "toyd", variable="TOY_HOME", default="/nowhere", socket="toy.sock", audit=lambda home: home / "audit.log"
)


def program() -> click.Group:
    return build(
        "toy",
        declared(Commands),
        PLACE,
        help="Controls the toy.",
        local=local,
        complete={"account": accounts},
    )


class Result(Struct):
    code: object
    out: str
    err: str


Toy = Callable[..., Result]
"""Runs the program with these words."""


@pytest.fixture
def toy(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Toy:
    def call(*words: str | Path) -> Result:
        monkeypatch.setattr(sys, "argv", ["toy", *map(str, words)])
        with pytest.raises(SystemExit) as ended:
            main(program())
        return Result(ended.value.code, *capsys.readouterr())

    return call


class Server:
    """Answers one request on a UNIX socket with these lines."""

    def __init__(self, path: Path, *answers: Answer) -> None:
        self.calls: list[Call] = []
        self.files: list[int] = []
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(str(path))
        listener.listen()

        def serve() -> None:
            with listener, listener.accept()[0] as connection:
                data, self.files, _, _ = socket.recv_fds(connection, 65536, 8)
                self.calls.append(decode_call(data.removesuffix(b"\n")))
                connection.sendall(b"".join(map(encode, answers)))

        self.thread = threading.Thread(target=serve)
        self.thread.start()


def test_local_commands_need_no_daemon(toy: Toy, tmp_path: Path) -> None:
    assert toy("create", "sharedSecret") == Result(0, "s" * 16 + "\n", "")
    assert toy("create", "sharedSecret", "-B4") == Result(0, "ssss\n", "")
    assert toy("--home", tmp_path, "show", "place") == Result(0, f"{tmp_path}\n", "")
    assert toy("--json", "create", "sharedSecret", "-B2") == Result(0, '"ss"\n', "")


def test_a_report_has_its_own_form_and_exit_code(toy: Toy, tmp_path: Path) -> None:
    for options in ((), ("--json",)):
        assert toy("--home", tmp_path, *options, "check") == Result(3, "warning\n", "")


def test_local_acts_are_audited(toy: Toy, tmp_path: Path) -> None:
    assert toy("--home", tmp_path, "check").err == ""
    assert toy("--home", tmp_path, "check", "--fail").code == 1
    assert toy("--home", tmp_path, "show", "place").code == 0
    [act, failure] = (tmp_path / "audit.log").read_text().splitlines()
    assert act.endswith('command="check" result="ok"') and f"uid={os.getuid()} " in act
    assert failure.endswith('command="check" fail=true result="there is nothing to check"')


def test_an_audit_log_that_cannot_be_written_is_told(toy: Toy, tmp_path: Path) -> None:
    (tmp_path / "audit.log").mkdir()
    result = toy("--home", tmp_path, "check")
    assert (result.code, result.out) == (3, "warning\n")
    assert result.err.startswith("not in the audit log: ")


def complete(toy: Toy, monkeypatch: pytest.MonkeyPatch, words: str) -> list[str]:
    """What a bash is offered at the end of these words."""
    monkeypatch.setenv("_TOY_COMPLETE", "bash_complete")
    monkeypatch.setenv("COMP_WORDS", words)
    monkeypatch.setenv("COMP_CWORD", str(len(words.split(" ")) - 1))
    return [line.partition(",")[2] for line in toy().out.split()]


def test_completion(toy: Toy, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert complete(toy, monkeypatch, "toy sh") == ["show"]
    assert complete(toy, monkeypatch, "toy show ") == ["attach", "place"]
    server = Server(tmp_path / "toy.sock", Answer(reply=["acc2", "acc1", "other"]))
    words = f"toy --home {tmp_path} show attach acc"
    assert complete(toy, monkeypatch, words) == ["acc1", "acc2"]
    server.thread.join()
    assert server.calls == [Call("accounts", {})]
    assert complete(toy, monkeypatch, words) == [], "the daemon is gone"


def test_exit_codes_and_messages(toy: Toy, tmp_path: Path) -> None:
    assert toy("--home", tmp_path / "x", "show", "place") == Result(
        1, "", f"toy: {tmp_path}/x does not exist\n"
    )
    assert toy("create", "sharedSecret", "-B65") == Result(2, "", "toy: -B: Expected `int` <= 64\n")
    for words in (["create", "sharedSecret", "-Bx"], ["shew"], ["show", "attach", "a", "b"], ["-x"]):
        result = toy(*words)
        assert (result.code, result.out) == (2, "")
        assert re.fullmatch(r"toy: .+; see toy( [a-zA-Z]+)* --help\n", result.err), "one line"


def test_a_daemon_that_does_not_run_is_said_in_words(toy: Toy, tmp_path: Path) -> None:
    result = toy("--home", tmp_path, "show", "attach")
    assert result == Result(1, "", f"toy: toyd is not running (no answer at {tmp_path}/toy.sock)\n")


def test_the_directory_comes_from_the_environment(
    toy: Toy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TOY_HOME", str(tmp_path))
    assert toy("show", "place").out == f"{tmp_path}\n"


def test_a_table_and_its_json(toy: Toy, tmp_path: Path) -> None:
    rows = [{"uri": "tel:1", "port": 5}]
    server = Server(tmp_path / "a", Answer(reply=rows))
    assert toy("--socket", tmp_path / "a", "show", "attach") == Result(0, "URI    PORT\ntel:1  5\n", "")
    assert server.calls == [Call("show attach", {})]
    server = Server(tmp_path / "b", Answer(reply=rows))
    result = toy("--json", "--socket", tmp_path / "b", "show", "attach", "acme", "-v", "-k", "short")
    assert json.loads(result.out) == rows
    assert server.calls == [Call("show attach", {"account_id": "acme", "verbose": True, "kind": "short"})]


def test_a_file_is_handed_over(toy: Toy, tmp_path: Path) -> None:
    for number, path in enumerate((tmp_path / "file", tmp_path / "pipe")):
        if number:
            os.mkfifo(path)
            writer = threading.Thread(target=lambda: (tmp_path / "pipe").write_text("content"))
            writer.start()
        else:
            path.write_text("content")
        server = Server(tmp_path / f"{number}", Answer(reply="taken"))
        assert toy("--socket", tmp_path / f"{number}", "take", path) == Result(0, "taken\n", "")
        assert server.calls == [Call("take", {"file": str(path)})]
        [descriptor] = server.files
        assert File("", descriptor).read(100) == b"content"
    writer.join()
    result = toy("take", tmp_path / "none")
    assert result == Result(2, "", f"toy: {tmp_path}/none: No such file or directory\n")
    result = toy("take", tmp_path)
    assert result.code == 2 and "is a directory" in result.err


def test_a_trace_is_lines_until_it_ends(toy: Toy, tmp_path: Path) -> None:
    rows = [Answer(row={"uri": "tel:1", "port": n}) for n in range(2)]
    Server(tmp_path / "a", Answer(begun=True), *rows, Answer(end=0))
    result = toy("--socket", tmp_path / "a", "trace", "attach")
    assert result == Result(0, "tel:1, 0\ntel:1, 1\n", "listening; ctrl-c ends it\n")
    Server(tmp_path / "b", *rows, Answer(end=3))
    result = toy("--json", "--socket", tmp_path / "b", "trace", "attach")
    assert (result.code, len(result.out.splitlines())) == (1, 2)
    assert "3 events were left out" in result.err


def test_lost_events_are_told_while_the_trace_goes_on(toy: Toy, tmp_path: Path) -> None:
    row = Answer(row={"uri": "tel:1", "port": 5})
    Server(tmp_path / "a", row, Answer(dropped=7), row, Answer(end=0))
    result = toy("--socket", tmp_path / "a", "trace", "attach")
    assert result == Result(0, "tel:1, 5\n" * 2, "7 events were left out: they came too fast\n")


def test_help_says_what_there_is(toy: Toy) -> None:
    result = toy("show", "attach", "--help")
    assert result.code == 0
    for text in ("toy show attach [OPTIONS] [ACCOUNT-ID]", "Show who is attached.", "Everybody, that is."):
        assert text in result.out
    assert re.search(r"ACCOUNT-ID +Only of this account\.", result.out)
    assert re.search(r"-k, --kind \[full\|short\] +How much\.  \[default: full\]", result.out)
    assert "Example: toy show attach" in result.out
    assert re.search(r"attach +Show who is attached\.", toy("show", "--help").out)
    assert re.search(r"^  show +\w+, \w+", toy("--help").out, re.MULTILINE), "the words that may follow"


MUCH = (
    "from rtlib.command.cli import *; from rtlib.command.registry import *\n"
    "class C:\n"
    "    @command('show much', local=True)\n"
    "    def much(self) -> str:\n"
    "        'Show much.\\n\\nExample: x'\n"
    "        return 'x\\n' * 1_000_000\n"
    "def local(directory, client):\n"
    "    registry = Registry(); registry.add(C()); return registry\n"
    "main(build('toy', declared(C), Place('toyd'), help='', local=local))\n"
)
"""A program that prints much."""


def test_output_that_nobody_reads_is_no_traceback() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", MUCH, "show", "much"], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline() == b"x\n"
        process.stdout.close()
        assert process.stderr.read() == b""


def test_output_to_a_full_disk_fails_in_one_line() -> None:
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(
            [sys.executable, "-c", MUCH, "show", "much"], stdout=full, stderr=subprocess.PIPE, check=False
        )
    assert (done.returncode, done.stderr) == (1, b"toy: standard output: No space left on device\n")


def test_an_option_without_its_value_is_wrong_usage(toy: Toy) -> None:
    for words in (("-B",), ("-B", "--")):
        result = toy("create", "sharedSecret", *words)
        assert (result.code, result.out) == (2, ""), "not a secret of another length than was meant"


def test_ctrl_c_ends_a_trace_cleanly(tmp_path: Path) -> None:
    path = tmp_path / "socket"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        words = [sys.executable, __file__, "--socket", str(path), "trace", "attach"]
        with Daemon(words, lambda: True) as running:
            with listener.accept()[0] as connection:
                connection.sendall(encode(Answer(row={"uri": "tel:1", "port": 5})))
                running.wait_for_text("tel:1, 5")
                running.process.send_signal(signal.SIGINT)
                assert running.process.wait(10) == 0
            assert running.output == "tel:1, 5\n"


if __name__ == "__main__":
    main(program())
