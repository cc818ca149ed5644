"""sipsak, the operator's ping, against a real genproxy."""

import subprocess
from pathlib import Path

import pytest

from haproxy.testing.genproxy import Genproxy
from haproxy.testing.sipsak import last_response, sipsak

pytestmark = pytest.mark.peer("sipsak")

HERE = "127.0.0.1"


@pytest.mark.parametrize(
    "lists",
    [
        {"allowList": [HERE]},
        {"proxyList": ["127.0.0.0/24"]},
    ],
)
def test_who_may_ask(tmp_path: Path, lists: dict[str, list[str]]) -> None:
    with Genproxy(tmp_path / "proxy", settings={"proxy": {**lists}}) as proxy:
        assert last_response(ask(proxy)).startswith("SIP/2.0 200 OK")


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


def ask(proxy: Genproxy, timeout: float = 60) -> str:
    return sipsak("-H", HERE, "-s", f"sip:{proxy.server}", timeout=timeout)
