"""`show tls`: the TLS sections, their certificates, and when these end."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated

import msgspec

from rtlib.command.registry import Role, command
from rtlib.command.render import Column

if TYPE_CHECKING:
    from haproxy.tls.context import Loaded
    from haproxy.tls.store import TlsStore


class TlsRow(msgspec.Struct, frozen=True):
    """One TLS section."""

    domain: Annotated[str, Column("DOMAIN", "tlsDomain")]
    role: Annotated[str, Column("ROLE", "tlsRole")]
    method: Annotated[str, Column("METHOD", "TLS versions")]
    verify: Annotated[str, Column("VERIFY", "tlsVerify")]
    certificate: Annotated[str, Column("CERTIFICATE", "file of the certificate")]
    names: Annotated[str, Column("NAMES", "the domains and addresses that the certificate proves")]
    expires: Annotated[str, Column("EXPIRES", "when it ends, or one between it and its authority")]
    days: Annotated[int, Column("DAYS", "days until then; negative once it is over")]
    state: Annotated[str, Column("STATE", "ok, or what is to be done")]


class TlsCommands:
    """Looks at the TLS sections."""

    def __init__(self, store: TlsStore | None, wall: Callable[[], float]) -> None:
        """`store` is None where TLS is not enabled; `wall` gives seconds of UTC."""
        self._store = store
        self._wall = wall

    @command("show tls", role=Role.viewer)
    def tls(self) -> list[TlsRow]:
        """Show the TLS sections, the expiry of their certificates, and what is wrong with them.

        Example: genproxy-cli show tls
        """
        if self._store is None:
            return []
        return [_row(self._store, loaded, self._wall()) for loaded in self._store]


def _row(store: TlsStore, loaded: Loaded, now: float) -> TlsRow:
    from haproxy.tls.identity import names_of

    section, end = loaded.section, loaded.end
    problems = [store.problem(section)]
    problems += [reminder.text for reminder in store.reminders(now) if reminder.section == section]
    return TlsRow(
        section.domain,
        section.role,
        section.method,
        section.verify,
        section.certificate.name,
        ", ".join(names_of(loaded.credential.certificate)),
        f"{end:%Y-%m-%d}",
        int((end.timestamp() - now) // 86400),
        "; ".join(problem for problem in problems if problem) or "ok",
    )
