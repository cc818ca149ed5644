"""From the settings to targets of notifications (guide 7.1.10, 10.2)."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from haproxy.notification.target import Target, Url
from haproxy.settings import Settings
from haproxy.settings.notification import Notification

USER_AGENT = "Genesis Proxy"
"""Where `notifyUserAgent` is blank (guide 10.2.5)."""


def targets_of(settings: Settings) -> list[Target]:
    """Every target, with complete paths and a name of its own."""
    names: Counter[str] = Counter()
    targets = []
    for each in settings.notifications:
        name = each.notifyURL.partition("?")[0]
        names[name] += 1
        unique = name if names[name] == 1 else f"{name} ({names[name]})"
        targets.append(_target(each, unique, settings))
    return targets


def _target(given: Notification, name: str, settings: Settings) -> Target:
    folder, authorities = Path(settings.system.tlsKeyPath), settings.proxy.notifyCaCert
    key, certificate = given.notifyClientKey, given.notifyClientCert
    return Target(
        name=name,
        url=Url.of(given.notifyURL),
        redirect=given.notifyRedirect,
        user=given.notifyUser,
        password=given.notifyPassword,
        user_agent=given.notifyUserAgent or USER_AGENT,
        verify_peer=given.notifyVerifyPeer,
        verify_host=given.notifyVerifyHost,
        authorities=Path(authorities) if authorities else None,
        # One file may hold both.
        key=folder / (key or certificate) if key or certificate else None,
        certificate=folder / (certificate or key) if key or certificate else None,
        ciphers=given.notifyCipherList,
        method=given.notifyTlsVersion,
    )
