"""SIPp calls while the proxy is held up: what waits when it goes on is more than it can carry at once."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from endurance.caller import Caller, Tally
from haproxy.testing.genesis import Genesis
from haproxy.testing.genproxy import Genproxy
from rtlib.testing.daemon import wait_until

REFUSED = "INVITE was answered 503 Service Unavailable"
OVER = "the overload is over"


@pytest.fixture
def proxy(tmp_path: Path) -> Iterator[Genproxy]:
    with Genproxy(tmp_path / "proxy", subscribers={"genesis_a": "secret"}) as proxy:
        with Genesis(tmp_path, (proxy.host, proxy.port), "genesis_a"):
            yield proxy
        assert "Traceback" not in proxy.daemon.text


def log(proxy: Genproxy) -> str:
    return proxy.log.read_text()


def judge(proxy: Genproxy, tally: Tally, folder: Path) -> int:
    """All others than those refused are complete, and the proxy takes calls again; how many were refused."""
    reasons = [tally.end(call).reason for call in tally.lost()]
    assert set(reasons) <= {REFUSED}
    wait_until(lambda: OVER in log(proxy), 30, "the end of the overload")
    assert "overload: messages have waited" in log(proxy)
    # A refusal that is lost on its way is one more when the INVITE comes again.
    assert proxy.metric("overload_refused_total") >= len(reasons)
    assert proxy.metric("overloads_total") >= 1
    assert proxy.metric("overloaded") == 0
    with Caller(folder / "after", proxy, 0.0, "-r", "20", "-m", "20") as caller:
        assert caller.finish(60).lost() == []
    return len(reasons)


def test_a_proxy_that_was_held_up_lets_calls_end_and_refuses_new_ones(
    tmp_path: Path, proxy: Genproxy
) -> None:
    with Caller(tmp_path / "run", proxy, 1.0, "-r", "150", "-m", "600") as caller:
        caller.go_on(time.monotonic() + 2.0)
        proxy.daemon.process.send_signal(signal.SIGSTOP)
        try:
            caller.go_on(time.monotonic() + 1.0)
        finally:
            proxy.daemon.process.send_signal(signal.SIGCONT)
        tally = caller.finish(60)
    refused = judge(proxy, tally, tmp_path)
    assert 0 < refused < len(tally.begun)
    assert proxy.metric("decisions_total", 'kind="failovers"') == 0
