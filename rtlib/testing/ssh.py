"""OpenSSH's client for a manhole behind a UNIX socket."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

PROXY = """\
import os, socket, sys, threading
s = socket.socket(socket.AF_UNIX)
s.connect(sys.argv[1])
def up():
    while data := os.read(0, 4096):
        s.sendall(data)
    # ssh has ended; the signal that it sends us is ignored where the suite runs under nohup.
    s.shutdown(socket.SHUT_RDWR)
threading.Thread(target=up, daemon=True).start()
while data := s.recv(4096):
    os.write(1, data)
"""


def make_key(path: Path) -> str:
    """A new key pair; the public key's line."""
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", path], check=True)
    return path.with_suffix(".pub").read_text()


def ssh(folder: Path, key: str, words: str, sock: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Type these words into the manhole at `sock` with the key of this name in `folder`."""
    (folder / "proxy.py").write_text(PROXY)
    command: list[str | Path] = ["ssh", "-tt", "-F", "none", "-i", folder / key]
    for option in (
        f"ProxyCommand={sys.executable} -S {folder}/proxy.py {sock or folder / 'manhole.sock'}",
        "StrictHostKeyChecking=no",
        f"UserKnownHostsFile={folder}/known",
        "IdentitiesOnly=yes",
        "IdentityAgent=none",
        "PreferredAuthentications=publickey,password,keyboard-interactive",
        "BatchMode=yes",
        "LogLevel=ERROR",
    ):
        command += ["-o", option]
    return subprocess.run(
        [*command, "crs"], input=words, capture_output=True, text=True, timeout=20, check=False
    )
