"""A server, and the CMS of its account."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from crs.client.testing import CrsServer
from crs.cms.testing import Cms
from rtlib.testing.loop import installed_reactor


@pytest.fixture
def server(tmp_path: Path) -> Iterator[CrsServer]:
    with CrsServer(tmp_path / "crs") as running:
        yield running


@pytest.fixture
def cms(tmp_path: Path, server: CrsServer) -> Cms:
    return Cms(tmp_path / "cms", server)


@pytest.fixture
def reactor() -> Any:
    return installed_reactor()
