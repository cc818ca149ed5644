"""From the settings to the accounts of outbound registrations, and to their rows in `uacreg` (guide 12.2)."""

from __future__ import annotations

from typing import Final

from haproxy.proxy.contact import OwnContact
from haproxy.proxy.hop import Hop, hop_of
from haproxy.proxy.side import Side, Sides
from haproxy.registrar.database import Rows
from haproxy.settings import Settings
from haproxy.settings.registration import OutboundRegistration
from haproxy.sip.flow import DEFAULT_PORT, Transport
from haproxy.sip.uri import escape_user
from haproxy.sip.uri import parse as parse_uri
from haproxy.uac.account import Account, Credentials
from rtlib import digest
from rtlib.address import join

ROUNDED: Final = 90
"""Seconds: `regRetryInterval` is a multiple of it (guide 7.1.9)."""


def accounts_of(settings: Settings, sides: Sides) -> list[Account]:
    """One account for each entry."""
    return [_account(entry, settings, sides) for entry in settings.outbound_registrations]


def contacts_of(settings: Settings, sides: Sides) -> list[OwnContact]:
    """Where calls of their registrars come to, and whom they are for."""
    return [
        OwnContact(
            parse_uri(_contact(entry, sides)), entry.l_username.encode(), _host(entry.l_domain).lower()
        )
        for entry in settings.outbound_registrations
    ]


def retry_of(settings: Settings) -> float | None:
    """Seconds between two attempts after a failure; None for never (guide 7.1.9)."""
    wished = settings.proxy.regRetryInterval
    return None if not wished else float(ROUNDED * max(1, (wished + ROUNDED // 2) // ROUNDED))


def rows_of(settings: Settings) -> Rows:
    """What Kamailio's table `uacreg` shows: for a password its hash, where the realm is known."""
    return [
        {
            "l_uuid": entry.l_uuid,
            "l_username": entry.l_username,
            "l_domain": entry.l_domain,
            "r_username": entry.r_username,
            "r_domain": entry.r_domain,
            "realm": entry.realm,
            "auth_username": _username(entry),
            "auth_password": "",
            "auth_ha1": _ha1(entry),
            "auth_proxy": bytes(entry.proxy).decode(),
            "expires": entry.expires,
            "flags": 0,
            "reg_delay": entry.reg_delay,
            "contact_addr": entry.reg_contact_addr,
            "socket": entry.socket or "",
        }
        for entry in settings.outbound_registrations
    ]


def _account(entry: OutboundRegistration, settings: Settings, sides: Sides) -> Account:
    way = entry.way(settings.system, tls=settings.proxy.enableTLS)
    scheme, domain = _scheme(entry), _host(entry.r_domain)
    return Account(
        uuid=entry.l_uuid,
        registrar=scheme + b":" + domain,
        aor=scheme + b":" + escape_user(entry.r_username.encode()) + b"@" + domain,
        contact=_contact(entry, sides),
        hop=_hop(entry, way.transport),
        side=_side(sides, way.side),
        credentials=Credentials(_username(entry), entry.realm, entry.auth_password, entry.auth_ha1.lower()),
        proxy=entry.auth_proxy,
        expires=entry.expires,
        delay=float(entry.reg_delay),
    )


def _scheme(entry: OutboundRegistration) -> bytes:
    """sips: for all of a registration where auth_proxy is one (RFC 3261 section 8.1.1.8), else sip:."""
    return entry.proxy.scheme


def _hop(entry: OutboundRegistration, transport: Transport) -> Hop:
    return hop_of(entry.proxy)._replace(transport=transport)


def _side(sides: Sides, name: str) -> Side:
    """The side of that name; the only one where one socket stands for both networks."""
    return next((side for side in sides if side.name == name), list(sides)[-1])


def _contact(entry: OutboundRegistration, sides: Sides) -> bytes:
    """l_uuid at reg_contact_addr, or else at the public address, with its port unless it is the usual one."""
    scheme = _scheme(entry)
    place = entry.reg_contact_addr.encode() or _public(_side(sides, "public"), secure=scheme == b"sips")
    return scheme + b":" + escape_user(entry.l_uuid.encode()) + b"@" + place


def _public(side: Side, *, secure: bool) -> bytes:
    if not secure:
        port, usual = side.shown_port, DEFAULT_PORT["udp"]
    else:
        port, usual = side.shown_tls_port or side.tls_port or DEFAULT_PORT["tls"], DEFAULT_PORT["tls"]
    return _host(side.shown_host) if port == usual else join(side.shown_host, port).encode()


def _host(host: str) -> bytes:
    return (f"[{host}]" if ":" in host else host).encode()


def _username(entry: OutboundRegistration) -> str:
    return entry.auth_username or entry.r_username


def _ha1(entry: OutboundRegistration) -> str:
    if entry.auth_password:
        return digest.ha1(_username(entry), entry.realm, entry.auth_password) if entry.realm else ""
    return entry.auth_ha1.lower()
