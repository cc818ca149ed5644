"""What every test stands on: the asyncio reactor, and peers from Debian's packages."""

from __future__ import annotations

import os
import shutil
import signal
import sys

if "twisted.internet.reactor" not in sys.modules:
    from twisted.internet import asyncioreactor

    asyncioreactor.install()

import pytest
from hypothesis import HealthCheck, settings

# A shell has what it starts in the background ignore ctrl-c, and so would all the programs that tests start.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# Where containers forbid bytecode, each daemon of a test would compile us again: a third of its start.
sys.dont_write_bytecode = False
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

# The suite gives the same answer twice; `make fuzz` looks for new ones. Machines that run it are shared and
# slow at times: examples are bounded by number, not by time.
SLOW_IS_FINE = [HealthCheck.too_slow]
settings.register_profile(
    "suite", deadline=None, max_examples=60, derandomize=True, suppress_health_check=SLOW_IS_FINE
)
settings.register_profile("fuzz", deadline=None, max_examples=5000, suppress_health_check=SLOW_IS_FINE)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "suite"))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Those that are `long` come first: at the end of the suite the other workers would wait for them."""
    items.sort(key=lambda item: item.get_closest_marker("long") is None)


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip a test whose peer program is missing; fail it where peers are required (CI)."""
    for marker in item.iter_markers("peer"):
        for program in marker.args:
            if shutil.which(program) is None:
                reason = f"the program {program} is not installed"
                if os.environ.get("REQUIRE_PEERS"):
                    pytest.fail(reason)
                pytest.skip(reason)
