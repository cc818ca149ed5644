from __future__ import annotations

import sys

import pytest
from twisted.internet.testing import MemoryReactorClock
from twisted.logger import LogLevel, capturedLogs

from rtlib.media import choice, native_forwarder
from rtlib.media.native_forwarder import NativeForwarder
from rtlib.media.reactor_forwarder import ReactorForwarder


@pytest.mark.skipif(not native_forwarder.available(), reason="the native forwarder was not built")
def test_the_native_one_where_it_was_built() -> None:
    with capturedLogs() as logs:
        assert isinstance(choice.forwarder(MemoryReactorClock()), NativeForwarder)
    assert [event["log_level"] for event in logs] == [LogLevel.info]


def test_python_elsewhere_and_the_log_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "rtlib.media._forwarder", None)
    with capturedLogs() as logs:
        assert isinstance(choice.forwarder(MemoryReactorClock()), ReactorForwarder)
    assert [event["log_level"] for event in logs] == [LogLevel.warn]
    assert "install a C compiler" in logs[0]["log_format"]
