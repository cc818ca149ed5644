"""sipsak, the operator's ping, against a real genproxy."""

import subprocess
from pathlib import Path

import pytest

from haproxy.testing.genproxy import Genproxy

pytestmark = pytest.mark.peer("sipsak")

HERE = "127.0.0.1"


@pytest.mark.parametrize(
    ("lists", "code", "answer"),
    [
        ({"allowList": [HERE]}, 0, "SIP/2.0 200 OK"),
        ({"proxyList": ["127.0.0.0/24"]}, 0, "SIP/2.0 200 OK"),
    ],
)
def test_who_may_ask(tmp_path: Path, lists: dict[str, list[str]], code: int, answer: str) -> None:
    with Genproxy(tmp_path / "proxy", settings={"proxy": {**lists}}) as proxy:
        done = ask(proxy)
        assert (done.returncode, answer in done.stdout) == (code, True), done


@pytest.mark.parametrize(
    "lists",
    [
        {"denyList": ["127.0.0.0/255.255.255.0"], "allowList": [HERE]},
        {"allowList": ["192.0.2.1"]},
    ],
)
def test_who_may_not_hears_nothing(tmp_path: Path, lists: dict[str, list[str]]) -> None:
    with Genproxy(tmp_path / "proxy", settings={"proxy": {**lists}}) as proxy:
        with pytest.raises(subprocess.TimeoutExpired) as silence:
            ask(proxy, timeout=2)
        assert b"SIP/2.0 " not in (silence.value.stdout or b"").partition(b"message received")[2]
        proxy.daemon.wait_until(lambda: proxy.metric("udp_received_total") >= 1)
        assert proxy.metric("udp_sent_total") == 0


def ask(proxy: Genproxy, timeout: float = 60) -> subprocess.CompletedProcess[str]:
    command = ["sipsak", "-vv", "-H", HERE, "-s", f"sip:{proxy.server}"]
    return subprocess.run(command, capture_output=True, text=True, timeout=timeout, check=False)
