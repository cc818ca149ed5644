"""From the settings to who may control the dispatcher over HTTP (guide 7.1.25 to 7.1.29)."""

from __future__ import annotations

import secrets

from haproxy.dispatcher.control import Doorman, secrets_of
from haproxy.settings import Settings


def doorman_of(settings: Settings) -> Doorman | None:
    """Who may come in; None where everybody may."""
    proxy = settings.proxy
    if not proxy.dispatchAuthUser:
        return None
    known = secrets_of(
        proxy.dispatchAuthUser,
        proxy.dispatchAuthRealm,
        password=proxy.dispatchAuthPassword,
        ha1_hash=proxy.dispatchAuthHa1,
        ha1b_hash=proxy.dispatchAuthHa1b,
    )
    return Doorman(proxy.dispatchAuthRealm, known, secrets.token_bytes)
