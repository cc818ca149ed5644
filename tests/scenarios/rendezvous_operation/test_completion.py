"""A bash completes crs-cli's commands, options, and the running server's accounts and clients."""

import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.threads import deferToThread

from crs.client.testing import ACCOUNT, CrsServer
from rtlib.testing.daemon import ROOT
from rtlib.testing.loop import installed_reactor, run

LOADER = Path("/usr/share/bash-completion/bash_completion")
SCRIPT = ROOT / "etc" / "bash-completion" / "crs-cli"

pytestmark = pytest.mark.peer("bash")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CrsServer]:
    with CrsServer(tmp_path_factory.mktemp("crs")) as running:
        yield running


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """crs-cli as a program in a folder of the path."""
    path = tmp_path_factory.mktemp("bin") / "crs-cli"
    path.write_text(
        f"#!{sys.executable}\nimport sys\nsys.path.insert(0, {str(ROOT)!r})\n"
        "from crs.cli import main\nmain()\n"
    )
    path.chmod(0o755)
    return path


class Shell:
    """A bash that has loaded the completion."""

    def __init__(self, program: Path, home: Path) -> None:
        self._environment = {"PATH": f"{program.parent}:/usr/bin:/bin", "CRS_HOME": str(home)}

    def __call__(self, line: str, behind: str = "") -> list[str]:
        """What the tab key offers at the end of `line`, with `behind` after the cursor."""
        words = line.split(" ")
        script = f"""
            source {shlex.quote(str(SCRIPT))}
            COMP_WORDS=({" ".join(map(shlex.quote, words))})
            COMP_CWORD={len(words) - 1}
            COMP_LINE={shlex.quote(line + behind)}
            COMP_POINT={len(line)}
            complete -p crs-cli >/dev/null || exit 9
            _crs_cli
            printf '%s\\n' "${{COMPREPLY[@]}}"
        """
        done = subprocess.run(
            ["bash", "--norc", "-c", script],
            env=self._environment,
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        )
        assert done.stderr == ""
        return done.stdout.split()


@pytest.fixture
def shell(program: Path, server: CrsServer) -> Shell:
    return Shell(program, server.home)


def test_commands_and_options(shell: Shell) -> None:
    assert shell("crs-cli bl") == ["blacklist"]
    assert shell("crs-cli blacklist ") == ["add", "remove"]
    assert {"attach", "blacklist", "session", "services", "version"} <= set(shell("crs-cli show "))
    elements = {"attach", "session", "message", "object", "event", "connection", "statistics"}
    assert set(shell("crs-cli trace ")) == elements
    assert set(shell("crs-cli create ")) == {"account", "sharedSecret", "admin", "conference-room"}
    assert shell("crs-cli add admin-account-authorization eve x s") == ["statistics"]
    assert shell("crs-cli show se", " --json") == ["services", "session"]
    assert set(shell("crs-cli create account --b")) == {"--bits", "--bytes"}


def test_accounts_and_clients_of_the_server(shell: Shell, server: CrsServer) -> None:
    reactor: Any = installed_reactor()

    async def story() -> None:
        one, _ = await server.attached(reactor, "+4711")
        two, _ = await server.attached(reactor, "urn:x:two")

        async def offered(line: str) -> list[str]:
            words: list[str] = await deferToThread(shell, line)
            return words

        assert await offered("crs-cli delete account ") == [ACCOUNT]
        assert await offered("crs-cli purge client d") == [ACCOUNT]
        assert await offered(f"crs-cli purge client {ACCOUNT} ") == ["+4711", "urn:x:two"]
        assert await offered(f"crs-cli purge client {ACCOUNT} +") == ["+4711"]
        assert await offered(f"crs-cli purge client {ACCOUNT} urn:x:") == ["two"], "bash splits at colons"
        assert await offered("crs-cli purge client other ") == []
        await one.close()
        await two.close()

    run(story, timeout=60)
    server.cli("blacklist", "add", ACCOUNT, "+4799")
    assert shell(f"crs-cli blacklist remove {ACCOUNT} ") == ["+4799"]
    server.cli("create", "admin", "eve")
    assert shell("crs-cli show admin ") == ["eve"]
    server.cli("add", "iw-crs", "192.0.2.7", "0123456789abcdef")
    assert shell("crs-cli delete iw-crs ") == ["192.0.2.7"]
    server.cli("create", "conference-room", "123456", ACCOUNT, "+1")
    assert shell("crs-cli delete conference-room 1") == ["123456"]
    assert shell(f"crs-cli delete conference-room 123456 {ACCOUNT[0]}") == [ACCOUNT]


@pytest.mark.skipif(
    not LOADER.exists() and "REQUIRE_PEERS" not in os.environ, reason="bash-completion is not installed"
)
def test_bash_completion_loads_it_when_it_is_needed(program: Path, server: CrsServer, tmp_path: Path) -> None:
    """As installed: in its folder of completions, under the name of the program."""
    place = tmp_path / "bash-completion" / "completions" / "crs-cli"
    place.parent.mkdir(parents=True)
    shutil.copy(SCRIPT, place)
    script = f"""
        source {shlex.quote(str(LOADER))}
        complete -p crs-cli 2>/dev/null && exit 8
        [[ $(complete -p -D) =~ -F\\ ([^ ]+) ]] || exit 9
        "${{BASH_REMATCH[1]}}" crs-cli
        complete -p crs-cli
        COMP_WORDS=(crs-cli purge clients "") COMP_CWORD=3 COMP_LINE="crs-cli purge clients " COMP_POINT=22
        _crs_cli
        printf '%s\\n' "${{COMPREPLY[@]}}"
    """
    environment = {
        "PATH": f"{program.parent}:/usr/bin:/bin",
        "CRS_HOME": str(server.home),
        "BASH_COMPLETION_USER_DIR": str(place.parent.parent),
        "HOME": str(tmp_path),
    }
    done = subprocess.run(
        ["bash", "--norc", "-c", script],
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == f"complete -F _crs_cli crs-cli\n{ACCOUNT}\n"


def test_without_a_server(program: Path, tmp_path: Path) -> None:
    shell = Shell(program, tmp_path)
    assert shell("crs-cli pur") == ["purge"]
    assert shell("crs-cli delete account ") == []
