"""What an operator sees when genproxy cannot start."""

import socket
import subprocess
from pathlib import Path

import pytest

from haproxy.testing.genproxy import PORT, own_host
from rtlib.testing.daemon import ROOT, twistd

GOOD = """\
[system]
privateIP = "{host}"
privateSubnet = "8"
"""


def refusal(folder: Path, text: str | None) -> tuple[Path, list[str]]:
    """Start genproxy with this configuration file; the lines of stderr of a start that must fail."""
    path = folder / "genproxy.toml"
    if text is not None:
        path.write_text(text)
    command = twistd("-n", "--pidfile=", "genproxy", "--config", path, "--state-dir", folder / "state")
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1, done
    assert "Traceback" not in done.stderr + done.stdout
    lines = done.stderr.splitlines()
    assert lines
    assert all(line.startswith("genproxy: ") for line in lines), done.stderr
    return path, lines


@pytest.mark.parametrize(
    ("addition", "line", "words"),
    [
        ("privatPort = 5060\n", 4, ["privatPort", "privatePort"]),
        ("privatePort = 70000\n", 4, ["privatePort", "65535"]),
        ('privatePort = "many"\n', 4, ["privatePort"]),
        ("[proxy]\nenableRegAuth = 3\n", 5, ["enableRegAuth"]),
        ("[proxi]\n", 4, ["proxi", "proxy"]),
        ('[proxy]\ndispatchPriUser = "g"\ndispatchSecUser = "g"\n', None, ["dispatchSecUser"]),
        ('[[subscribers]]\nusername = "5000"\n', 4, ["domain"]),
        ("privatePort = \n", 4, []),
    ],
)
def test_a_bad_file_is_refused_by_file_line_and_key(
    tmp_path: Path, addition: str, line: int | None, words: list[str]
) -> None:
    path, lines = refusal(tmp_path, GOOD.format(host=own_host()) + addition)
    place = f"{path}:{line}:" if line else f"{path}:"
    matching = [text for text in lines if text.startswith(f"genproxy: {place}")]
    assert matching, lines
    assert all(word in matching[0] for word in words), matching


def test_all_problems_are_told_at_once(tmp_path: Path) -> None:
    path, lines = refusal(
        tmp_path, GOOD.format(host=own_host()) + "privatePort = 0\npublicPort = -1\nfoo = 1\n"
    )
    assert [text.partition(f"{path}:")[2][:2] for text in lines] == ["4:", "5:", "6:"], lines


def test_a_required_setting_that_is_missing_is_named(tmp_path: Path) -> None:
    _, lines = refusal(tmp_path, '[system]\nprivateSubnet = "8"\n')
    assert any("privateIP" in text for text in lines), lines


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    path, lines = refusal(tmp_path, None)
    assert any(str(path) in text for text in lines), lines


@pytest.mark.parametrize("kind", [socket.SOCK_DGRAM, socket.SOCK_STREAM])
def test_a_port_in_use_is_named_with_its_setting(tmp_path: Path, kind: socket.SocketKind) -> None:
    host = own_host()
    with socket.socket(socket.AF_INET, kind) as other:
        other.bind((host, PORT))
        if kind == socket.SOCK_STREAM:
            other.listen()
        _, lines = refusal(tmp_path, GOOD.format(host=host))
    assert lines == [f"genproxy: privatePort {host}:{PORT}: address already in use"]


def test_an_address_of_another_host_is_named_with_its_setting(tmp_path: Path) -> None:
    _, lines = refusal(tmp_path, GOOD.format(host="192.0.2.1"))
    assert lines == [f"genproxy: privatePort 192.0.2.1:{PORT}: this host does not have that address"]
