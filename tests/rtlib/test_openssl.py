"""OpenSSL is loaded once in a process, so each case has a process of its own."""

import os
import subprocess
import sys

import pytest

SCRIPT = """
import os, sys
from rtlib import openssl
before = os.environ.get("OPENSSL_CONF")
print(openssl.load(), openssl.load(), os.environ.get("OPENSSL_CONF") == before)
"""


@pytest.mark.parametrize(
    ("first", "chosen", "printed"),
    [
        ("", {}, "True False True"),
        ("import OpenSSL", {}, "False False True"),
        ("", {"OPENSSL_CONF": "/dev/null"}, "False False True"),
    ],
    ids=["in-time", "too-late", "operator's"],
)
def test_it_is_loaded_once_and_leaves_the_environment(
    first: str, chosen: dict[str, str], printed: str
) -> None:
    environment = {name: value for name, value in os.environ.items() if name != "OPENSSL_CONF"} | chosen
    done = subprocess.run(
        [sys.executable, "-c", first + SCRIPT], env=environment, capture_output=True, text=True, timeout=60
    )
    assert done.stdout.strip() == printed, done.stderr
