"""Stories of outbound registrations: entries of genproxy.toml, and what the proxy says of them."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from haproxy.testing.genproxy import Genproxy
from haproxy.testing.provider import PASSWORD, REALM, USER
from haproxy.testing.stage import SUBSCRIBERS
from rtlib.testing.daemon import wait_until


class Lines:
    """A proxy with registrations."""

    def __init__(self, proxy: Genproxy) -> None:
        self.proxy = proxy

    def __enter__(self) -> Lines:
        self.proxy.__enter__()
        return self

    def __exit__(self, *details: Any) -> None:
        self.proxy.__exit__(*details)

    @property
    def text(self) -> str:
        """Its log."""
        return self.proxy.daemon.text

    def rows(self) -> dict[str, dict[str, Any]]:
        """What `show registrations` says, by l_uuid."""
        found = self.proxy.reply("show registrations")
        return {row["uuid"]: row for row in found}

    def until(self, state: str, *uuids: str, timeout: float = 20) -> dict[str, dict[str, Any]]:
        """Wait until these registrations, or all, have a state; all rows."""

        def there() -> bool:
            rows = self.rows()
            return {rows[uuid]["state"] for uuid in uuids or rows} == {state}

        try:
            wait_until(there, timeout, f"{uuids or 'all registrations'} {state}")
        except AssertionError as error:
            raise AssertionError(f"{error}: {self.rows()}") from error
        return self.rows()

    def refresh(self, uuid: str) -> None:
        """Have it tried now, unless it is being tried."""
        try:
            said = self.proxy.cli("refresh", "registration", uuid)
        except subprocess.CalledProcessError as error:
            said = str(error.stderr)
        assert "is being tried" in said

    def configure(self, *entries: dict[str, Any]) -> str:
        """Have these registrations instead; what `reload` says."""
        text = self.proxy.config.read_text().partition("[[outbound_registrations]]")[0]
        for entry in entries:
            text += "[[outbound_registrations]]\n"
            text += "".join(f"{key} = {json.dumps(value)}\n" for key, value in entry.items())
        self.proxy.config.write_text(text)
        return self.proxy.cli("reload")


@pytest.fixture
def entry() -> Callable[..., dict[str, Any]]:
    """Makes a registration that a provider accepts, with changes."""

    def make(provider: Any, **changes: Any) -> dict[str, Any]:
        base = {
            "l_uuid": "line1",
            "l_username": "100",
            "l_domain": "home.test",
            "r_username": "alice",
            "r_domain": REALM,
            "realm": REALM,
            "auth_username": USER,
            "auth_password": PASSWORD,
            "auth_proxy": f"sip:{provider.host}",
        }
        return base | changes

    return make


@pytest.fixture
def lines(tmp_path: Path) -> Callable[..., Lines]:
    """Makes a proxy with these registrations; settings by table."""

    def make(*entries: dict[str, Any], tls: Any = (), host: str = "", **settings: Any) -> Lines:
        # The registrations last, so that `configure` finds them.
        tables: Any = {"tls": tls, "outbound_registrations": entries}
        folder = tmp_path / "proxy"
        proxy = Genproxy(folder, host=host, settings=settings, subscribers=SUBSCRIBERS, tables=tables)
        return Lines(proxy)

    return make
