"""All TLS sections as they are now: found by address and name, read again when their files change."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from cryptography import x509

from haproxy.tls.context import Accepting, Connecting, Loaded, build
from haproxy.tls.credential import Signature, signature_of
from haproxy.tls.error import TlsError
from haproxy.tls.section import DEFAULT, Role, TlsSection

SOON: Final = 30
"""Days before its end from which on a certificate is warned about."""


@dataclass(frozen=True, slots=True)
class Reminder:
    """Something that an operator must do about a section, now or soon."""

    section: TlsSection
    about: str
    """What of the section: the text about it may be another one each day."""
    text: str


@dataclass(frozen=True, slots=True)
class Update:
    """A section whose files have changed: what became of it."""

    section: TlsSection
    signature: Signature
    loaded: Loaded | None
    """None where the new files are no good: the old ones stay in use."""
    reason: str = ""


class TlsStore:
    """The sections of one configuration."""

    def __init__(self, sections: Iterable[TlsSection]) -> None:
        """Read all files. Raises TlsError. Blocks."""
        self._take(_load(sections))

    def __iter__(self) -> Iterator[Loaded]:
        return iter(self._loaded.values())

    def replace(self, sections: Iterable[TlsSection]) -> None:
        """Take other sections. Raises TlsError, and then nothing has changed. Blocks."""
        self._take(_load(sections))

    def server(self, host: str, port: int) -> Accepting:
        """What `TLSMemoryBIOFactory` needs to accept connections at an address of ours."""
        return Accepting(
            lambda: self._find("server", (host, port)),
            lambda name: self._named("server", name, port),
        )

    def client(self, host: str, port: int, name: str = "", known: str = "") -> Connecting:
        """What `TLSMemoryBIOFactory` needs to connect to an address; `name` is the name that led there.

        Where there is none, the peer has to prove the address, or `known`: a name that led there before.
        """
        name, others = (name, ()) if name else (known, (host,))
        named = self._named("client", name, port) if name else None
        names = tuple(each for each in (name, *others) if each)
        return Connecting(named or self._find("client", (host, port)), names)

    def problem(self, section: TlsSection) -> str:
        """Why a section's new files are not in use; empty where they are."""
        return self._problems.get((section.domain, section.role), "")

    def changed(self) -> list[Update]:
        """Look at the files, and read those that have changed. Blocks; changes nothing."""
        found = []
        for key, loaded in list(self._loaded.items()):
            signature = signature_of(loaded.section.files)
            if signature != self._signatures[key]:
                found.append(_update(loaded.section, signature))
        return found

    def apply(self, updates: Iterable[Update]) -> None:
        """Use what `changed` has read for connections to come; those that are open go on."""
        for update in updates:
            key = update.section.domain, update.section.role
            current = self._loaded.get(key)
            if current is None or current.section != update.section:
                continue  # a reload came between
            self._signatures[key] = update.signature
            self._problems[key] = update.reason
            if update.loaded is not None:
                self._loaded[key] = update.loaded

    def reminders(self, now: float) -> list[Reminder]:
        """What ends soon or has ended; `now` in seconds of UTC."""
        found = []
        for loaded in self:
            chain, section = loaded.credential.chain, loaded.section
            found += [Reminder(section, str(each.serial_number), validity(each, now)) for each in chain]
            found += [Reminder(section, str(crl.issuer), _crl_validity(crl, now)) for crl in loaded.crls]
            found += [Reminder(section, text, text) for text in loaded.warnings]
        return [each for each in found if each.text]

    def _take(self, entries: Mapping[tuple[str, Role], tuple[Loaded, Signature]]) -> None:
        self._loaded = {key: loaded for key, (loaded, _) in entries.items()}
        self._signatures = {key: signature for key, (_, signature) in entries.items()}
        self._problems: dict[tuple[str, Role], str] = {}

    def _find(self, role: Role, place: tuple[str, int]) -> Loaded:
        host, port = place
        found = self._named(role, host, port)
        return found or self._loaded[DEFAULT, role]

    def _named(self, role: Role, host: str, port: int) -> Loaded | None:
        shown = f"[{host}]" if ":" in host else host
        return self._loaded.get((f"{shown}:{port}".lower(), role)) or self._loaded.get((host.lower(), role))


def validity(certificate: x509.Certificate, now: float) -> str:
    """What is to be said of a certificate's time; empty where all is well."""
    name = certificate.subject.rfc4514_string() or "without a name"
    moment = datetime.fromtimestamp(now, UTC)
    begin, end = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    if moment < begin:
        return f"the certificate {name} is not valid before {begin:%Y-%m-%d}"
    if moment > end:
        return f"the certificate {name} has expired on {end:%Y-%m-%d}"
    left = (end - moment).days
    return f"the certificate {name} expires in {left} days, on {end:%Y-%m-%d}" if left < SOON else ""


def _crl_validity(crl: x509.CertificateRevocationList, now: float) -> str:
    end = crl.next_update_utc
    if end is None or datetime.fromtimestamp(now, UTC) < end:
        return ""
    return (
        f"the revocation list of {crl.issuer.rfc4514_string()} is out of date since {end:%Y-%m-%d}: "
        "every certificate of this authority is refused"
    )


def _load(sections: Iterable[TlsSection]) -> dict[tuple[str, Role], tuple[Loaded, Signature]]:
    entries = {}
    problems = []
    for section in sections:
        signature = signature_of(section.files)
        try:
            entries[section.domain.lower(), section.role] = build(section), signature
        except TlsError as error:
            problems.append(str(error))
    if problems:
        raise TlsError("\n".join(problems))
    return entries


def _update(section: TlsSection, signature: Signature) -> Update:
    try:
        return Update(section, signature, build(section))
    except TlsError as error:
        return Update(section, signature, None, str(error))
