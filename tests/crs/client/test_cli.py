import subprocess
import sys
from base64 import b64encode
from pathlib import Path

import pytest
from click.testing import CliRunner

from crs import identity
from crs.client.cli import main
from rtlib.testing.daemon import ROOT, free_port

WHO = ["--uri", "+46", "--account", "demo"]


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    file = tmp_path / "secret"
    file.write_text(b64encode(b"secret").decode())
    return file


def invoke(*arguments: str | Path) -> tuple[int, str]:
    result = CliRunner().invoke(main, [str(argument) for argument in arguments])
    return result.exit_code, result.output


def test_key_is_derived(secret: Path) -> None:
    code, output = invoke("key", *WHO, "--secret-file", secret)
    assert (code, output.strip()) == (0, b64encode(identity.client_key(b"secret", "+46")).decode())


@pytest.mark.parametrize("command", ["attach", "send", "call", "listen", "key", "provision", "updates"])
def test_every_command_shows_an_example(command: str) -> None:
    code, output = invoke(command, "--help")
    assert code == 0
    assert f"crs-client {command}" in " ".join(output.split())


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["attach", "--account", "demo"], "--uri is missing"),
        (["attach", "--provisioning", "/none"], "--uri is missing"),
        (["attach", "--provisioning", "SECRET"], "this is no provisioning"),
        (["provision", "SECRET"], "this is no provisioning"),
        (["attach", *WHO], "either --key-file or --secret-file"),
        (["attach", "--uri", "+46", "--account", "d e m o", "--secret-file", "SECRET"], "no valid account"),
        (["attach", *WHO, "--key-file", "SECRET"], "32 bytes, not 6"),
        (["attach", *WHO, "--secret-file", "/none"], "does not exist"),
        (["attach", "--server", "host:port", *WHO, "--secret-file", "SECRET"], "not HOST:PORT"),
        (["call", "+47", "--wav", "SECRET", *WHO, "--secret-file", "SECRET"], "WAV"),
        (["nonsense"], "No such command"),
    ],
)
def test_usage_errors_exit_2(arguments: list[str], reason: str, secret: Path) -> None:
    code, output = invoke(*(secret if word == "SECRET" else word for word in arguments))
    assert code == 2
    assert reason in " ".join(output.split())


def test_no_server_exits_1_with_one_line(secret: Path) -> None:
    server = f"127.0.0.1:{free_port()}"
    words = ["attach", "--server", server, *WHO, "--secret-file", str(secret)]
    program = [sys.executable, "-c", "from crs.client.cli import main; main()"]
    done = subprocess.run([*program, *words], capture_output=True, text=True, timeout=20, cwd=ROOT)
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.startswith(f"crs-client: no answer at {server}: ")
    assert done.stderr.count("\n") == 1


def test_help_needs_no_twisted() -> None:
    """The command line starts in 0.25 s: what a command needs is imported when it runs."""
    program = "import sys; import crs.client.cli; sys.exit('twisted' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], cwd=ROOT).returncode == 0
