"""sipsak (Debian's 0.9.8), the operator's ping: sends one request from a shell, and tells what came back."""

from __future__ import annotations

import re
import subprocess


def sipsak(*arguments: str, timeout: float = 60) -> str:
    """What it prints; each response begins with SIP/2.0. Raises subprocess.TimeoutExpired."""
    done = subprocess.run(
        ["sipsak", "-vvv", *arguments], capture_output=True, text=True, timeout=timeout, check=False
    )
    return done.stdout + done.stderr


def register(
    domain: str,
    user: str,
    *,
    password: str = "",
    login: str = "",
    contact: str = "",
    server: str = "",
    expires: int = 100,
) -> str:
    """The last response to a REGISTER of user@domain, with credentials where they are asked for.

    `login` is the user name for them if not `user`; `contact` a SIP URI, that of sipsak's own socket where
    empty; `server` is HOST:PORT if not `domain`.
    """
    words = ["-U", "-i", "-s", f"sip:{user}@{domain}", "-x", str(expires)]
    words += ["-u", login or user, "-a", password]
    words += ["-C", contact] if contact else []
    words += ["-p", server] if server else []
    return last_response(sipsak(*words))


def last_response(output: str) -> str:
    """The last response in what sipsak has printed; "" where there is none."""
    found = re.findall(r"^SIP/2\.0 .*?\n\n", output, re.MULTILINE | re.DOTALL)
    return str(found[-1]) if found else ""
